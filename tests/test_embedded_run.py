"""An embedded model through the suite at one ratio, without a network; `make bench` runs all claims about both."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from rich.cells import cell_len

from tests.helpers import ROOT
from tests.helpers.commands import BLOCKED

pytestmark = pytest.mark.slow("answers three tasks twice, in sessions of their own")

CHOSEN = ("-k", "ratio_0.5 and tiny-base and (recall or knowledge or arithmetic) and not efficiency")


def run(folder: Path, store: Path) -> subprocess.CompletedProcess[str]:
    """`pytest benchmarks` of this repository with every socket blocked; results go to `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(BLOCKED)
    places = (f"--glu-store={store}", f"--glu-results={folder}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks", *CHOSEN, *places],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder), "HF_HOME": str(folder / "hf"), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    done = run(folder, folder / "store")
    return folder, done


def test_every_declared_verdict_holds(first):
    folder, done = first
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "  loading tiny-base (float32 on cpu)\n" in done.stdout
    assert "  tiny-base ppm-0.5 tiny_recall: 480 items in " in done.stdout
    scores = pd.read_csv(folder / "scores.csv")
    assert set(scores["model"]) == {"tiny-base"}
    assert not scores["verdict"].str.contains("declared").any()
    assert " failed" not in done.stdout
    assert not re.search(r"\d inconclusive in", done.stdout)
    assert "NOT AS DECLARED" not in done.stdout
    assert max(map(cell_len, done.stdout.splitlines())) <= 100, "no line is wider than the window"


def test_a_second_run_computes_nothing(first, tmp_path):
    folder, _ = first
    before = {path: path.stat().st_mtime_ns for path in (folder / "store" / "cells").iterdir()}
    done = run(tmp_path / "second", folder / "store")
    assert done.returncode == 0
    assert "\n  loading " not in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (folder / "store" / "cells").iterdir()} == before
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "second" / "scores.csv"), pd.read_csv(folder / "scores.csv"))


def test_a_new_store_gives_identical_scores(first, tmp_path):
    folder, _ = first
    done = run(tmp_path / "again", tmp_path / "again" / "store")
    assert done.returncode == 0
    again = pd.read_csv(tmp_path / "again" / "scores.csv")
    pd.testing.assert_frame_equal(again, pd.read_csv(folder / "scores.csv"))
