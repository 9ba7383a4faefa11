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
def test_the_workflow_judges_all_that_the_guide_adds(project):
    """The capability, its groups, the criterion, the column; at one ratio, by the workflow's own command."""
    workflow = yaml.safe_load((project / WORKFLOW).read_text())
    (command,) = (step["run"] for step in workflow["jobs"]["claims"]["steps"] if step.get("name") == "Judge")
    assert f"\n{command}\n" in GUIDE
    done = shell(
        project, f"export GITHUB_STEP_SUMMARY=summary.md; MODEL={workflow['env']['MODEL']}; {command} -k ratio_0.5"
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "6 passed" in done.stdout
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
    steps = workflow["jobs"]["claims"]["steps"]
    assert (project / "results" / "junit.xml").is_file()
    assert "sums_by_choice" in (project / "summary.md").read_text()
    paths = [step["with"]["path"] for step in steps if "path" in step.get("with", {})]
    assert paths == [".glu-prune", "results/"]
    assert all((project / path).is_dir() for path in paths)
    (fetch,) = (step for step in steps if step.get("name") == "Fetch the model")
    assert shell(project, f"MODEL=benchmarks; {fetch['run']}").returncode == 0


@pytest.mark.slow("imports all libraries in a process of its own")
def test_the_criterion_is_known_to_the_command_line(project):
    (command,) = re.findall(r"^glu-prune prune .*", GUIDE, re.MULTILINE)
    done = shell(project, command.replace("glu-prune", f"{sys.executable} -P -m glu_prune.cli", 1))
    assert done.returncode == 0, done.stderr
    assert "criteria:down_norm at ratio 0.5 keeps 320 of 640 neurons" in done.stdout
