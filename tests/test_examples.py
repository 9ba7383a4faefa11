"""The examples, run as docs/compare.md says, with fewer steps and items."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.helpers.commands import environment, run

FEW = ["--steps", "20", "--texts", "256", "--batch-size", "8"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with the examples and the three files that `compare.yaml` names."""
    folder = tmp_path_factory.mktemp("examples")
    for path in (ROOT / "examples").glob("*.*"):
        shutil.copy(path, folder)
    env = environment(folder)
    for arguments in (
        ["-m", "glu_prune.cli", "prune", "tiny-instruct", "--ratio", "0.4", "--out", "made/cut"],
        ["heal.py", "made/cut", "--teacher", "tiny-instruct", "--out", "made/healed", *FEW],
        ["int8.py", "tiny-instruct", "--out", "made/int8"],
        ["-m", "glu_prune.cli", "sensitivity", "tiny-instruct", "--criterion", "wanda", "--ratios", "0.25,0.75", "--calibration-tokens", "500", "--out", "made/sensitivity.json"],
    ):  # fmt: skip
        (folder / "made").mkdir(exist_ok=True)
        done = run(arguments, folder, env)
        assert done.returncode == 0, (sys.executable, arguments, done.stderr)
    return folder


@pytest.mark.slow("trains a model for 20 steps, and answers with eight of them")
def test_seven_ways_stand_in_one_table(made):
    (made / "test_claims.py").write_text(
        "def test_direction(glu_case, glu_check):\n    glu_check(glu_case)\n\n\n"
        "def test_distance(glu_distance, glu_check):\n    glu_check(glu_distance)\n"
    )
    env = environment(made)
    asked = ["-m", "pytest", "test_claims.py", "--glu-expectations", "compare.yaml", "--glu-limit", "24"]
    run(asked, made, env)
    report = json.loads((made / "results" / "report.json").read_text())
    arms = ["ppm", "l2", "active", "aligned", "by-layer", "healed", "int8"]
    assert list(dict.fromkeys(row["named"] for row in report["scores"])) == arms
    score = {row["named"]: row["pruned"] for row in report["scores"] if row["capability"] == "instruction_following"}
    assert score["healed"] > score["ppm"]  # what twenty steps bring already
    said = run(["-m", "glu_prune.cli", "comment", "results"], made, env).stdout
    heads = [line for line in said.splitlines() if line.startswith("| claim")]
    assert [each.strip() for each in heads[0].strip("|").split("|")[1:]] == arms


@pytest.mark.slow("imports torch in a process of its own")
@pytest.mark.parametrize("script", ["heal.py", "int8.py"])
def test_what_is_there_is_not_overwritten(made, script):
    teacher = ["--teacher", "tiny-instruct"] if script == "heal.py" else []
    done = run([script, "made/cut", *teacher, "--out", "made/int8"], made, environment(made))
    assert done.returncode != 0
    assert "made/int8 exists; name a new folder" in done.stderr
