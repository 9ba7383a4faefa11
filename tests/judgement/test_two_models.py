"""Claims about any two models, and the command that judges them."""

import json
import shutil

import pytest

from glu_prune.cli import main
from glu_prune.errors import EvaluationError, ExpectationError
from glu_prune.evaluation.capability import SUITES
from glu_prune.judgement.asked import capability_of
from glu_prune.judgement.two_models import cases_between, cases_of_file
from glu_prune.models.source import locate

EMBEDDED = SUITES["embedded"]


def test_each_capability_is_to_be_kept_and_its_answers_too():
    found = cases_between("/models/Small-2.0", "tiny-base", ["reading", "story_modelling"], 0.02, chat=False)
    assert [case.id for case in found] == [
        "Small-2.0-reading",
        "Small-2.0-reading-flips",
        "Small-2.0-story_modelling",  # a perplexity has no answers that could flip
    ]
    assert {case.arm.checkpoint for case in found} == {"/models/Small-2.0"}
    assert {case.tests for case in found} == {1}
    assert found[0].claim.margin == 0.02


@pytest.mark.parametrize(
    ("name", "called"), [("models/v2.1", "v2.1"), ("./_mine", "mine"), ("/a/2.5-b", "b"), ("/a/\N{CJK UNIFIED IDEOGRAPH-4E00}", "pruned")]
)  # fmt: skip
def test_an_arm_is_called_as_its_folder_as_far_as_that_can_be_a_name(name, called):
    (case, *_) = cases_between(name, "tiny-base", ["reading"], 0.05, chat=False)
    assert case.arm.name == called


def test_without_tasks_it_is_the_suite_of_the_model():
    embedded = {case.capability.name for case in cases_between("a", "tiny-base", [], 0.05, chat=False)}
    study = {case.capability.name for case in cases_between("a", "some/model", [], 0.05, chat=False)}
    assert embedded == set(EMBEDDED)
    assert study == set(SUITES["study"])


def test_what_is_asked_is_a_capability_a_task_or_a_task_and_its_metric():
    assert capability_of("reading", EMBEDDED) is EMBEDDED["reading"]
    assert capability_of("tiny_reading", EMBEDDED) is EMBEDDED["reading"]
    known = capability_of("arc_challenge", EMBEDDED)  # of another suite, which knows its chance and floor
    assert (known.task, known.metric) == ("arc_challenge", SUITES["study"]["science_questions"].metric)
    easy = capability_of("arc_easy", EMBEDDED)
    assert (easy.name, easy.metric, easy.higher_is_better) == ("arc_easy", "acc", True)
    normed = capability_of("arc_easy:acc_norm", EMBEDDED)
    assert (normed.name, normed.metric) == ("arc_easy_acc_norm", "acc_norm")


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ("readin", "neither a capability nor a task of lm-eval called 'readin'; did you mean 'reading'?"),
        ("arc_easy:f1", "task arc_easy has no metric 'f1'; it has acc, acc_norm"),
        ("hellaswagg", "lm-eval has no task 'hellaswagg'; did you mean"),
    ],
)
def test_what_does_not_exist_is_named(asked, complaint):
    with pytest.raises(EvaluationError) as caught:
        capability_of(asked, EMBEDDED)
    assert complaint in str(caught.value)


def test_one_capability_is_asked_once():
    with pytest.raises(ExpectationError, match="name one capability twice"):
        cases_between("a", "tiny-base", ["reading", "tiny_reading"], 0.05, chat=False)


def test_claims_of_a_file_are_about_these_two(tmp_path):
    path = tmp_path / "claims.yaml"
    text = """\
model: any
ratios: [0.1, 0.5]
controls: [random]
expect:
  - {capability: factual_recall, direction: down, specific: true, verdict: {0.5: artefact}, why: w}
  - {distance: flips, capability: reading, at_most: 0.2, verdict: refuted, why: w}
"""
    path.write_text(text)
    found = cases_of_file(path, "/m/small", "tiny-base")
    assert [(case.id, case.declared, case.tests) for case in found] == [
        ("small-factual_recall", "confirmed", 1),
        ("small-reading-flips", "refuted", 1),
    ]
    assert all(case.experiment.model == "tiny-base" for case in found)
    path.write_text(f"{text}  - {{efficiency: joules_per_token, direction: down, why: w}}\n")
    assert [case.measures for case in cases_of_file(path, "/m/small", "tiny-base")] == [False, False, True]
    path.write_text(f"{text}  - {{trend: reading, relation: falling, why: w}}\n")
    with pytest.raises(ExpectationError, match=r"claims.yaml:7: .*not about two models"):
        cases_of_file(path, "/m/small", "tiny-base")


@pytest.fixture(scope="module")
def copied(tmp_path_factory):
    """A copy of an embedded model under another name, which answers as the model itself does."""
    folder = tmp_path_factory.mktemp("models") / "copied"
    shutil.copytree(locate("tiny-base").folder, folder)
    return folder


def test_a_copy_loses_nothing_and_another_model_does(copied, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = ["--against", "tiny-base", "--tasks", "reading", "--limit", "40", "--out", "tables"]
    assert main(["judge", str(copied), *asked]) == 0
    row = json.loads((tmp_path / "tables" / "report.json").read_text())["scores"][0]
    assert (row["named"], row["delta"], row["gained"], row["lost"]) == ("copied", 0, 0, 0)
    assert "copied against " in capsys.readouterr().out
    other = ["--against", "tiny-base", "--tasks", "instruction_following", "--limit", "40"]
    assert main(["judge", "tiny-instruct", *other]) == 1
    assert "refuted" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonesuch", "--against", "tiny-base"], "model 'nonesuch' is not on this machine"),
        (["tiny-base"], "Missing option '--against'"),
        (["tiny-instruct", "--against", "tiny-base", "--margin", "0"], "it is a number above 0"),
        (["tiny-instruct", "--against", "tiny-base", "--limit", "0"], "it is a whole number of at least 1"),
        (["tiny-instruct", "--against", "tiny-base", "--claims", "c.yaml", "--tasks", "reading"], "leave out --tasks and --chat"),
        (["tiny-instruct", "--against", "tiny-base", "--claims", "c.yaml"], "c.yaml: No such file"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_runs_nothing(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    assert main(["judge", *arguments]) != 0
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / ".glu-prune").exists()
