"""What was run on real models, and lies in packs, is judged as declared; without these models."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKS = sorted(each.parent.name for each in (ROOT / "expectations" / "evidence").glob("*/glu-prune-store.json"))


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_is_judged_as_declared(name, tmp_path):
    environment = {**os.environ, "GLU_PRUNE_MODELS": str(tmp_path / "none"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "pytest", "benchmarks", "--glu-evidence", name, f"--glu-results={tmp_path}", "-p", "no:cacheprovider"]  # fmt: skip
    found = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout[-4000:]
    (passed,) = re.findall(r"(\d+) passed", found.stdout.splitlines()[-1])
    assert int(passed) >= 3


def test_there_is_a_pack():
    assert "smollm2-135m-instruct" in PACKS
