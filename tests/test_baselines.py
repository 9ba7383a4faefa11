"""Baselines as their users meet them: a project whose model gets worse, in real sessions and commands."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from glu_prune.cli import main
from glu_prune.models.source import load_tokenizer, locate
from tests.helpers.reports import fits
from tests.helpers.sessions import Sessions

CLAIMS = """\
model: {model}
ratios: [0.5]
expect:
  - capability: factual_recall
    direction: down
    why: of this test
"""
TEST = """\
def test_direction(glu_case, glu_check):
    glu_check(glu_case)
"""
ITEMS = 100


class Project:
    """A user's folder."""

    def __init__(self, folder: Path, sessions: Sessions) -> None:
        self.folder = folder
        self._sessions = sessions

    def claim(self, more: str = "", model: str = "model", ratios: str = "[0.5]") -> None:
        (self.folder / "expectations").mkdir(exist_ok=True)
        text = CLAIMS.format(model=model).replace("[0.5]", ratios)
        (self.folder / "expectations" / "claims.yaml").write_text(text + more)

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit status, and what was said."""
        log = self.folder / "log"
        items = () if "--glu-sequential" in arguments else (f"--glu-limit={ITEMS}",)
        code = self._sessions.wait(self._sessions.start(self.folder, log, *items, *arguments))
        return code, log.read_text()

    @property
    def pinned(self) -> dict[str, bytes]:
        return {each.name: each.read_bytes() for each in (self.folder / "baselines").iterdir()}

    @property
    def rows(self) -> list[dict]:
        return fits((self.folder / "results" / "report.json").read_text()).model_dump()["baseline"]


def save(model: LlamaForCausalLM, folder: Path) -> None:
    model.save_pretrained(folder)
    load_tokenizer(locate("tiny-base")).save_pretrained(folder)


@pytest.fixture(scope="module")
def first(tmp_path_factory, sessions) -> Project:
    """A project in which a baseline was asked for that was not there; nobody changes it."""
    project = Project(tmp_path_factory.mktemp("project"), sessions)
    (project.folder / "test_claims.py").write_text(TEST)
    (project.folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest\n")
    save(LlamaForCausalLM.from_pretrained(locate("tiny-base").folder), project.folder / "model")
    project.claim()
    project.first = project.run("--glu-compare=mine")
    return project


@pytest.fixture
def project(first, sessions, tmp_path) -> Project:
    shutil.copytree(first.folder, tmp_path / "copy")
    project = Project(tmp_path / "copy", sessions)
    project.claim()
    return project


def damage(project: Project) -> None:
    """The model loses its MLPs."""
    model = LlamaForCausalLM.from_pretrained(project.folder / "model")
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight.zero_()
    save(model, project.folder / "model")


def test_a_baseline_that_is_not_there_is_pinned_and_that_is_said_and_no_error(first):
    code, said = first.first
    assert code == 0
    assert re.search(
        r"baseline mine: there was none yet, so nothing was compared; 2 outcomes pinned in \S+mine\.json", said
    )
    assert "against mine" not in said
    text = json.loads(first.pinned["mine.json"])
    assert [(each["arm"], each["n"], each["comparable"]["part"]) for each in text["outcomes"]] == [
        ("dense", ITEMS, "0-100"), ("ppm-0.5", ITEMS, "0-100"),
    ]  # fmt: skip
    for each in text["outcomes"]:
        assert each["floor"] is not None
        assert each["band"]["run"] == "batches of 17, threads: 2"
        assert len(each["record"]) == 64


def test_a_run_is_unchanged_against_itself(project):
    before = project.pinned
    code, said = project.run("--glu-compare=mine")
    assert (code, "Against baseline mine: 2 unchanged." in said) == (0, True)
    assert "loading" not in said
    assert project.pinned == before


@pytest.mark.slow("starts two more workers")
def test_the_same_bytes_are_pinned_in_parallel(project):
    before = project.pinned
    code, said = project.run("--glu-save-baseline=mine", "-n", "2")
    assert (code, "baseline mine: 2 outcomes pinned in" in said) == (0, True)
    assert project.pinned == before


def test_a_model_that_got_worse_fails_with_what_it_lost(project):
    damage(project)
    code, said = project.run("--glu-compare=mine", "--glu-summary=page.md")
    assert code == 1
    (line,) = (line for line in said.splitlines() if line.startswith("expectations/claims.yaml:4: against baseline mine: "))  # fmt: skip
    assert re.search(r"dense factual_recall \(tiny_recall\) exact_match: regressed, other weights, 0\.9\d+ -> \S+, -0\.\d+ \(95 % -0\.\d+ to -0\.\d+\), \S.* p = ", line)  # fmt: skip
    assert re.search(
        r"\d+ items worse, \d+ better of 100; a loss of 0\.\d+ would have been found in four of five runs; worse: [0-9a-f]{8} \(#\d+\), ",
        line,
    )
    (dense,) = (row for row in project.rows if row["arm"] == "dense")
    assert dense["outcome"] == "regressed"
    assert dense["worse"] > 50
    page = (project.folder / "page.md").read_text()
    assert re.search(r"^\| dense +\| factual_recall .*\| regressed +\|", page, re.MULTILINE)
    assert "Against baseline mine: 2 regressed." in page
    case = json.loads((project.folder / "results" / "report.json").read_text())["cases"][0]
    assert case["result"] == "failed"
    assert "against baseline mine" in case["message"]
    assert "Traceback" not in said


@pytest.mark.slow("judges two models")
def test_what_got_worse_does_not_take_the_place_of_what_it_was_compared_with(project):
    before = project.pinned
    damage(project)
    code, said = project.run("--glu-compare=mine", "--glu-save-baseline=mine")
    assert code == 1
    assert (
        "baseline mine was not pinned: 1 case fails against it; it stays as it was: pin under another name, or" in said
    )
    assert project.pinned == before
    code, said = project.run("--glu-compare=mine", "--glu-save-baseline=other")
    assert (code, "baseline other: 2 outcomes pinned in" in said) == (1, True)
    assert project.pinned.items() > before.items()


def test_what_is_no_worse_takes_its_place_unless_the_session_stops_early(project):
    before = project.pinned
    (project.folder / "test_a.py").write_text("def test_bad():\n    assert 0\n")
    code, said = project.run("--glu-compare=mine", "--glu-save-baseline=mine", "-x")
    assert (code, "baseline mine was not pinned: the session stopped early" in said) == (1, True)
    assert project.pinned == before
    code, said = project.run("--glu-compare=mine", "--glu-save-baseline=mine")
    assert (code, "baseline mine: 2 outcomes pinned in" in said) == (1, True)


def test_what_got_better_passes_and_is_shown(project):
    damage(project)
    assert project.run("--glu-save-baseline=worse")[0] in (0, 1)
    shutil.rmtree(project.folder / "model")
    save(LlamaForCausalLM.from_pretrained(locate("tiny-base").folder), project.folder / "model")
    code, said = project.run("--glu-compare=worse")
    assert code == 0
    assert {row["outcome"] for row in project.rows if row["arm"] == "dense"} == {"improved"}
    assert re.search(r"^── .* dense against .*\n.*\n✓ improved +factual_recall ", said, re.MULTILINE)


@pytest.mark.slow("judges another model twice")
def test_a_margin_that_a_file_allows_is_no_regression(project):
    damage(project)
    project.claim("baseline_margins:\n  factual_recall: 1\n")
    said = project.run("--glu-compare=mine")[1]
    assert {row["outcome"] for row in project.rows} == {"allowed"}
    assert "regressed" not in said
    assert re.search(r"allowed +factual_recall .*\n +worse, within the margin of 1", said)
    project.claim("baseline_margins:\n  factual_recal: 1\n")
    code, said = project.run("--glu-compare=mine")
    assert code == 2
    assert re.search(r"claims\.yaml:\d+: .*factual_recal.* did you mean 'factual_recall'", said), said


@pytest.mark.slow("runs two more sessions")
def test_other_items_are_incomparable_and_strictly_an_error(project):
    project.run("--glu-limit=50", "--glu-compare=mine")
    assert {row["outcome"] for row in project.rows} == {"incomparable"}
    assert "50 items only before, 0 only now (of 100 before and 50 now)" in project.rows[0]["note"]
    code, said = project.run("--glu-limit=50", "--glu-compare=mine", "--glu-strict")
    assert (code, "incomparable" in said) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--glu-compare=../mine",), "baseline name '../mine' is not allowed"),
        (("--glu-compare=other", "--glu-strict"), "there is no baseline 'other' in "),
        (("--glu-compare=mine", "--glu-sequential"), "baselines are of all items of runs"),
        (("--glu-save-baseline=mine", "--glu-evidence=published"), "baselines are of all items of runs"),
    ],
)
def test_what_cannot_be_is_one_usage_line(project, arguments, why):
    before = project.pinned
    code, said = project.run(*arguments)
    assert (code, why in said) == (4, True), said
    assert "Traceback" not in said
    assert project.pinned == before


def test_a_baseline_that_was_edited_stops_the_run_before_it_begins(project):
    path = project.folder / "baselines" / "mine.json"
    path.write_text(path.read_text().replace('"n": 100', '"n": 99', 1))
    code, said = project.run("--glu-compare=mine")
    assert (code, "over 99 items, but" in said, "loading" in said) == (4, True, False)


@pytest.mark.slow("runs two more sessions")
def test_a_baseline_that_cannot_be_pinned_is_a_failure_and_said(project):
    (project.folder / "file").write_text("")
    code, said = project.run("--glu-save-baseline=mine", "--glu-baselines=file")
    assert (code, "baseline mine was not pinned: " in said) == (1, True)
    code, said = project.run("--glu-save-baseline=mine", "-k", "nothing_of_that_name")
    assert code == 5
    assert "mine.json" in project.pinned


MISSING = "against baseline mine: 2 pinned outcomes were not found: ./model dense factual_recall exact_match, "


@pytest.mark.parametrize("name", ["model", "./model", "model/", "FOLDER/model", "../copy/model"])
def test_a_model_is_compared_whichever_way_it_is_written(project, name):
    """Pinned by an expectation file that says `model`."""
    project.claim(model="any")
    code, said = project.run("--glu-compare=mine", f"--glu-model={name.replace('FOLDER', str(project.folder))}")
    assert (code, "Against baseline mine: 2 unchanged." in said) == (0, True), said


def test_a_loss_is_found_whichever_way_the_model_is_written(project):
    project.claim(model="any")
    damage(project)
    code, said = project.run("--glu-compare=mine", "--glu-model=./model")
    assert (code, "dense factual_recall (tiny_recall) exact_match: regressed, other weights, " in said) == (1, True), (
        said
    )
    assert {row["outcome"] for row in project.rows if row["arm"] == "dense"} == {"regressed"}
    assert all("other weights" in row["note"] or row["note"] == "other weights" for row in project.rows)


def test_weights_that_ran_under_another_name_are_pinned_by_the_name_they_have_now(project):
    (project.folder / "model").rename(project.folder / "my-llama")
    project.claim(model="any")
    code, said = project.run("--glu-save-baseline=two", "--glu-model=my-llama")
    assert (code, "loading" in said) == (0, False)
    text = json.loads(project.pinned["two.json"])
    assert {each["model"] for each in text["outcomes"]} == {"./my-llama"}
    assert {each["weights"] for each in text["outcomes"]} == {
        each["weights"] for each in json.loads(project.pinned["mine.json"])["outcomes"]
    }
    assert project.run("--glu-compare=two", "--glu-model=./my-llama")[0] == 0
    code, said = project.run("--glu-compare=mine", "--glu-model=./my-llama")
    assert (code, MISSING in said) == (1, True)


def test_what_is_pinned_and_not_found_fails_unless_it_is_allowed_by_name(project):
    """The model that claims are about is not on this machine."""
    shutil.rmtree(project.folder / "model")
    code, said = project.run("--glu-compare=mine")
    assert (code, MISSING in said, "Against baseline mine: 2 missing." in said) == (1, True, True)
    assert {row["outcome"] for row in project.rows} == {"missing"}
    for name in ("./model", "model", "factual_recall", "tiny_recall"):
        assert project.run("--glu-compare=mine", f"--glu-allow-missing={name}")[0] == 0
    assert project.run("--glu-compare=mine", "--glu-allow-missing=dense")[0] == 1
    assert project.run("--glu-compare=mine", "--glu-allow-missing=dense", "--glu-allow-missing=ppm-0.5")[0] == 0
    code, said = project.run("--glu-compare=mine", "--glu-allow-missing=modle")
    assert (code, "nothing of that name is pinned; there are: ./model, " in said) == (4, True)
    code, said = project.run("--glu-allow-missing=model")
    assert (code, "name that baseline with --glu-compare" in said) == (4, True)


def test_what_is_not_selected_is_not_missing_and_what_is_no_longer_claimed_is(project):
    project.claim(ratios="[0.3, 0.5]")
    for selection in ("-k=ratio_0.3", "test_claims.py::test_direction[model-ratio_0.3-factual_recall]"):
        code, said = project.run("--glu-compare=mine", selection)
        assert (code, "Against baseline mine: 1 unchanged, 1 incomparable." in said) == (0, True), said
    project.claim(ratios="[0.3]")
    code, said = project.run("--glu-compare=mine")
    assert code == 1
    assert "1 pinned outcomes were not found: ./model ppm-0.5 factual_recall exact_match; " in said


@pytest.mark.slow("starts workers")
def test_what_is_missing_is_known_where_workers_run(project):
    project.claim(ratios="[0.3, 0.5]")
    assert project.run("--glu-compare=mine", "-n=2", "-k=ratio_0.3")[0] == 0
    project.claim(ratios="[0.3]")
    code, said = project.run("--glu-compare=mine", "-n=2")
    assert (code, "1 pinned outcomes were not found" in said) == (1, True)


def test_a_session_without_claims_fails_unless_that_is_what_was_selected(project):
    (project.folder / "test_other.py").write_text("def test_other():\n    pass\n")
    for selection in (["test_other.py"], ["-k=other"], ["--deselect=test_claims.py"]):
        assert project.run("--glu-compare=mine", *selection)[0] == 0
    (project.folder / "test_claims.py").unlink()
    code, said = project.run("--glu-compare=mine")
    assert (code, MISSING in said) == (1, True)


def test_a_selection_of_claims_that_compares_nothing_fails(project):
    (project.folder / "test_none.py").write_text(
        "def test_none(glu_distance, glu_check):\n    glu_check(glu_distance)\n"
    )
    code, said = project.run("--glu-compare=mine", "test_none.py")
    assert (code, "against baseline mine: nothing was compared: no claim that was selected" in said) == (1, True)


def test_a_session_that_stops_early_misses_nothing(project):
    (project.folder / "test_a.py").write_text("def test_bad():\n    assert 0\n")
    code, said = project.run("--glu-compare=mine", "-x")
    assert (code, "missing" in said, "not found" in said) == (1, False, False)


def compare(*arguments: object) -> int:
    return main(["compare", *map(str, arguments)])


@pytest.mark.slow("judges another model and compares all ways")
def test_the_command_compares_stores_and_baselines(project, first, capsys):
    damage(project)
    project.run("--glu-store=worse")
    baseline = first.folder / "baselines" / "mine.json"
    store, worse = first.folder / ".glu-prune", project.folder / "worse"
    assert compare(baseline, store) == 0
    # what the claim was asked of besides, another draw among ties, is in the store alone
    assert f"Against {baseline}: 2 unchanged, 1 incomparable." in capsys.readouterr().out
    for place in (baseline, store):
        out = project.folder / "out.json"
        assert compare(place, worse, "--out", out) == 1
        said = capsys.readouterr().out
        assert re.search(r"^── \S+ dense ─+\n(?:outcome .*\n)?✗ regressed +factual_recall ", said, re.MULTILINE)
        (dense,) = (row for row in json.loads(out.read_text()) if row["arm"] == "dense")
        assert dense["band"] == 0.0
        assert len(dense["worse_items"]) == dense["worse"] > 50
    assert compare(worse, store) == 0
    assert compare(worse, store, "--fail-on", "change") == 1
    assert compare(baseline, worse, "--margin", "1") == 0
    for suffix in ("csv", "md"):
        assert compare(baseline, worse, "--out", project.folder / f"out.{suffix}") == 1
        assert "regressed" in (project.folder / f"out.{suffix}").read_text()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("BASE", "missing"), "missing cannot be read: No such file or directory; name a store folder"),
        (("BASE", "BASE", "--out", "x.txt"), "--out x.txt is not allowed: its name ends in .csv, .md, .json"),
        (("BASE", "BASE", "--out", "missing/x.md"), "missing/x.md cannot be written: No such file or directory"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_two(first, capsys, monkeypatch, tmp_path, arguments, why):
    monkeypatch.chdir(tmp_path)
    baseline = str(first.folder / "baselines" / "mine.json")
    assert compare(*(baseline if each == "BASE" else each for each in arguments)) == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"glu-prune: {why}")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("margin", ["-1", "nan", "inf", "x"])
def test_a_margin_is_a_number_of_at_least_0(margin, capsys):
    assert compare("a", "b", "--margin", margin) == 2
    assert "it is a number of at least 0" in capsys.readouterr().err
