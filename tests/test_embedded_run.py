"""The embedded models through the whole suite at one ratio, without a network."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers import ROOT
from tests.helpers.commands import BLOCKED

pytestmark = pytest.mark.slow("all that `make bench` runs, three times")

QUICK = ("--glu-rounds=4", "--glu-window=0.5")
"""Costs are measured as they should be by `make bench`; here they only have to be measured."""


def run(folder: Path, store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`pytest benchmarks` of this repository with every socket blocked; results go to `folder`."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(BLOCKED)
    places = (f"--glu-store={store}", f"--glu-results={folder}")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "benchmarks", *QUICK, *places, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(folder), "HF_HOME": str(folder / "hf")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    done = run(folder, folder / "store", "-k", "ratio_0.5")
    return folder, done


def test_every_declared_verdict_holds(first):
    folder, done = first
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "  loading tiny-base (float32 on cpu)\n" in done.stdout
    assert "  tiny-instruct ppm-0.5 tiny_recall: 480 items in " in done.stdout
    scores = pd.read_csv(folder / "scores.csv")
    assert set(scores["model"]) == {"tiny-base", "tiny-instruct"}
    assert not scores["verdict"].str.contains("declared").any()
    assert " failed" not in done.stdout
    open_ones = [line for line in done.stdout.splitlines() if line.startswith("INCONCLUSIVE ")]
    assert all("::test_efficiency[" in line for line in open_ones), "only costs depend on the machine and its load"


def test_a_second_run_computes_nothing(first, tmp_path):
    folder, _ = first
    before = {path: path.stat().st_mtime_ns for path in (folder / "store" / "cells").iterdir()}
    done = run(tmp_path / "second", folder / "store", "-k", "ratio_0.5")
    assert done.returncode == 0
    assert "\n  loading " not in done.stdout
    assert {path: path.stat().st_mtime_ns for path in (folder / "store" / "cells").iterdir()} == before
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "second" / "scores.csv"), pd.read_csv(folder / "scores.csv"))


def test_a_new_store_gives_identical_scores(first, tmp_path):
    folder, _ = first
    done = run(
        tmp_path / "again",
        tmp_path / "again" / "store",
        "-k",
        "ratio_0.5 and tiny-base and not instruction and not efficiency",
    )
    assert done.returncode == 0
    # The correction over all claims of a file depends on which of them ran, and decides nothing.
    scores = pd.read_csv(folder / "scores.csv").drop(columns="p, file")
    again = pd.read_csv(tmp_path / "again" / "scores.csv").drop(columns="p, file")
    known = scores.merge(again[["model", "ratio", "capability", "claim"]])
    pd.testing.assert_frame_equal(known, again)
