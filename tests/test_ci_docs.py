"""The guide to CI says what is so."""

import re

import yaml

from glu_prune import cli
from glu_prune.judgement import yaml_file
from glu_prune.project.write import TEMPLATE
from glu_prune.results.report import VERSION
from tests.helpers import ROOT

GUIDE = (ROOT / "docs" / "ci.md").read_text()


def test_the_workflow_of_the_guide_is_the_one_that_init_writes():
    block = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)[0]
    assert block == (TEMPLATE / ".github" / "workflows" / "glu-prune.yml").read_text()


def test_our_own_workflow_runs_what_must_hold():
    job = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["make"]
    targets = re.findall(r"^make (\S+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert job["strategy"]["matrix"]["target"] == targets
    (step,) = (step for step in job["steps"] if "run" in step)
    assert (step["run"], step["env"]) == ('make "$TARGET"', {"TARGET": "${{ matrix.target }}"})


def test_inputs_of_the_action_are_told_and_no_others():
    (table,) = re.findall(r"\| input \| \|\n(.*?)\n\n", GUIDE, re.DOTALL)
    named = {name for row in table.splitlines()[1:] for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}
    assert named == set(yaml.safe_load((ROOT / "action.yml").read_text())["inputs"])


def test_the_workflow_that_comments_may_write_nothing_else():
    block = next(each for each in re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL) if "workflow_run" in each)
    workflow = yaml.safe_load(block)
    assert workflow["permissions"] == {}
    (job,) = workflow["jobs"].values()
    assert job["permissions"] == {"actions": "read", "pull-requests": "write"}
    assert [step["uses"] for step in job["steps"]] == ["glu-prune/glu-prune/comment@v@VERSION@"], "no code of the fork"


def test_limits_and_codes_are_those_of_the_code():
    assert (
        f"{yaml_file.MOST_BYTES // 1024} KiB, {yaml_file.MOST_NODES:,} entries, {yaml_file.MOST_DEPTH} levels" in GUIDE
    )
    assert f"`version` (now {VERSION})" in GUIDE
    for code in (0, 1, cli._UNUSABLE, cli._INTERRUPTED):
        assert re.search(rf"^\| (`glu-prune` )?\| {code} \|", GUIDE, re.MULTILINE)


def test_every_link_leads_somewhere():
    for target in re.findall(r"\]\(([^)#:]+)\)", GUIDE):
        assert (ROOT / "docs" / target).exists(), target
