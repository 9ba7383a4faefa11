"""The guide to a repository of one's own, followed to the letter: its files are written, and its commands run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from glu_prune.cli import main
from glu_prune.judgement.declared import Declared
from tests.helpers import ROOT
from tests.helpers.actions import run_action

GUIDE = (ROOT / "docs" / "own.md").read_text()
FILES = {
    name: block
    for block in re.findall(r"```(?:yaml|python)\n(.*?)```", GUIDE, re.DOTALL)
    for name in re.findall(r"\A# (\S+)\n", block)
}
WORKFLOW = ".github/workflows/glu-prune.yml"


def shell(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """`command` as a user types it in `folder`, without a network."""
    here = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, **here},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_block_of_code_is_a_file():
    assert list(FILES) == [
        "expectations/sums.yaml",
        "tasks/sums.yaml",
        "tasks/sums.py",
        "criteria.py",
        "expectations/down_norm.yaml",
        "conftest.py",
    ]
    assert len(FILES) == len(re.findall(r"```(?:yaml|python)\n", GUIDE))


def test_every_key_of_a_capability_is_explained():
    (table,) = re.findall(r"\| key \| value \|\n(.*?)\n\n", GUIDE, re.DOTALL)
    assert set(Declared.model_fields) == {
        name for name in re.findall(r"`(\w+)`", table) if name in Declared.model_fields
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    assert main(["init", str(folder)]) == 0
    for name, text in FILES.items():
        path = folder / name
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.slow("judges six claims as the guide's workflow does")
def test_the_workflow_judges_all_that_the_guide_adds(project, monkeypatch):
    """The capability, its groups, the criterion, the column; at one ratio, by the scripts of the action."""
    (step,) = yaml.safe_load((project / WORKFLOW).read_text())["jobs"]["claims"]["steps"][1:]
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    given = {"model": step["with"]["model"], "select": "ratio_0.5"}
    github = {"github.run_id": "1", "runner.os": "Linux", "GITHUB_STEP_SUMMARY": "summary.md"}
    done = run_action(ROOT, project, given, github, skip=["Install"])
    assert done.code == 0, done.output
    assert "6 passed" in done.output["Judge"]
    scores = pd.read_csv(project / "results" / "scores.csv")
    assert list(scores.columns)[-1] == "kept, %"
    row = scores.set_index("capability").loc["sums_by_choice"]
    assert (row["items"], row["verdict"]) == (200, "confirmed")
    assert row["dense"] > 0.9
    (distance,) = pd.read_csv(project / "results" / "distances.csv").to_dict("records")
    assert (distance["capability"], distance["verdict"]) == ("sums_by_choice", "refuted")
    groups = pd.read_csv(project / "results" / "groups.csv")
    assert set(groups[groups["capability"] == "sums_by_choice"]["group"]) == {"True", "False"}
    mine = scores[scores["capability"] == "factual_knowledge"]
    assert len(mine) == 2
    assert mine["pruned"].nunique() == 2
    assert mine["ppm"].notna().sum() == 1
    assert row["kept, %"] == pytest.approx(100 * row["pruned"] / row["dense"], abs=0.06)
    assert (project / "results" / "junit.xml").is_file()
    assert "sums_by_choice" in (project / "summary.md").read_text()


@pytest.mark.slow("imports all libraries in a process of its own")
def test_the_criterion_is_known_to_the_command_line(project):
    (command,) = re.findall(r"^glu-prune prune .*", GUIDE, re.MULTILINE)
    done = shell(project, command.replace("glu-prune", f"{sys.executable} -P -m glu_prune.cli", 1))
    assert done.returncode == 0, done.stderr
    assert "criteria:down_norm at ratio 0.5 keeps 320 of 640 neurons" in done.stdout
