"""`glu-prune choose`, the function, and the claim in a file: from a need to a pruning that CI guards."""

import re
from pathlib import Path

import pytest
import yaml

import glu_prune
from glu_prune.cli import main
from glu_prune.errors import ExpectationError
from glu_prune.evaluation.capability import SUITES
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.subset import halves
from glu_prune.judgement.expectation import ChoiceCase, read
from glu_prune.models.source import load, locate
from tests.helpers.commands import environment, run

CHOICE = ["--among", "ppm,l2", "--ratios", "0.05:0.2:0.05", "--multiple-of", "16"]
FILE = """\
model: tiny-instruct
expect:
  - choose: {reading: 0.1, arithmetic: 0.15}
    ratios: 0.05:0.15:0.05
    watch: [factual_recall]
    why: w
"""


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """A folder in which a choice was made; half of the answers come from a store that later tests share."""
    folder = tmp_path_factory.mktemp("chosen")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        keep = ["--keep", "reading:0.1", "arithmetic:0.15", "--watch", "factual_recall"]
        assert main(["choose", "tiny-instruct", *keep, *CHOICE, "--out", "small"]) == 0
    return folder


def test_the_chosen_model_is_written_with_its_certificate_and_claims(chosen):
    small = chosen / "small"
    model, _ = load(locate(str(small)), "float32", "cpu")
    assert model.config.intermediate_size in (608, 576, 544)
    card = (small / "README.md").read_text()
    assert "## Certificate" in card
    assert "is not known from this card" not in card
    assert "given up: factual_recall" in card
    claims = yaml.safe_load((small / "expectations.yaml").read_text())
    assert claims["arms"]["chosen"]["multiple_of"] == 16
    assert [(each["capability"], each["direction"], each["margin"]) for each in claims["expect"]] == [
        ("reading", "kept", 0.1),
        ("arithmetic", "kept", 0.15),
    ]
    assert [case.id for case in read(small / "expectations.yaml")] == [
        "tiny-instruct-chosen-reading",
        "tiny-instruct-chosen-arithmetic",
    ]


def test_the_same_choice_is_made_of_what_is_stored(chosen, monkeypatch, capsys):
    monkeypatch.chdir(chosen)
    found = glu_prune.choose(
        "tiny-instruct",
        {"reading": 0.1, "arithmetic": 0.15},
        among=("ppm", "l2"),
        ratios="0.05:0.2:0.05",
        multiple_of=16,
    )
    assert f"criterion: {found.chosen.partition(',')[0]}" in (chosen / "small" / "expectations.yaml").read_text()
    states = {each.arm: each.state for each in found.candidates}
    assert states[found.chosen] == "chosen"
    for each in found.candidates:
        assert bool(each.certification) == (each.state in ("chosen", "certified", "failed"))
        assert {row.items for row in each.search} == {210} or each.state == "lost too much"
    lost = [each for each in found.candidates if each.state == "lost too much"]
    assert {row.items for each in lost for row in each.search} < {64, 128, 210}  # no more than show it
    tested = [each for each in found.candidates if each.certification]
    assert all(max(row.p for row in each.certification) <= 0.05 for each in tested if each.state != "failed")
    assert all(max(row.p for row in each.certification) > 0.05 for each in tested if each.state == "failed")


def test_the_chosen_one_is_held_against_items_that_neither_half_has(chosen, monkeypatch, capsys):
    monkeypatch.chdir(chosen)
    asked = ["--keep", "reading:0.2", "--among", "l2", "--ratios", "0.05", "--limit", "200", "--check", "100"]
    assert main(["choose", "tiny-instruct", *asked]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "on items that neither half has, it holds: reading (exact_match)" in said
    assert "n = 100)" in said


def test_what_pins_a_choice_asks_the_items_of_both_halves(chosen, monkeypatch):
    monkeypatch.chdir(chosen)
    asked = ["--keep", "reading:0.2", "--among", "l2", "--ratios", "0.05", "--limit", "200", "--out", "few"]
    assert main(["choose", "tiny-instruct", *asked]) == 0
    assert yaml.safe_load((chosen / "few" / "expectations.yaml").read_text())["items"] == {"tiny_reading": 200}
    assert "items" not in yaml.safe_load((chosen / "small" / "expectations.yaml").read_text())


def test_halves_share_no_item():
    capability = SUITES["embedded"]["reading"]
    documents = {task: list(entry.eval_docs) for task, entry in Evaluator().tasks("tiny_reading", None, None).items()}
    first, second = (half.documents(documents) for half in halves(capability))
    (one,), (other,) = first.values(), second.values()
    assert not set(one) & set(other)
    assert len(one) + len(other) == sum(map(len, documents.values()))


def test_a_need_that_nothing_meets_is_an_answer(chosen, monkeypatch, capsys):
    monkeypatch.chdir(chosen)
    asked = ["--keep", "reading:0.001", "--among", "ppm", "--ratios", "0.1", "--out", "none"]
    assert main(["choose", "tiny-instruct", *asked]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "nothing is certified" in said
    assert "of the safest, ppm-0.1, reading lost" in said
    assert not (chosen / "none").exists()


def test_what_is_at_its_floor_cannot_be_kept(chosen, monkeypatch, capsys):
    monkeypatch.chdir(chosen)
    assert main(["choose", "tiny-instruct", "--keep", "truthfulness:0.05", "--among", "ppm", "--ratios", "0.1"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "keeping it would promise nothing" in said


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--keep", "reading"], "write CAPABILITY:MARGIN, such as reading:0.02"),
        (["--keep", "reading:0"], "'0' is no margin; it is a number above 0"),
        (["--keep", "reading:x"], "'x' is no margin"),
        (["--keep", "readin:0.1"], "neither a capability nor a task of lm-eval called 'readin'; did you mean 'reading'?"),
        (["--keep", "reading:0.1", "reading:0.2"], "reading is given twice"),
        (["--keep", "reading:0.1", "--watch", "reading"], "name one capability twice"),
        (["--keep", "reading:0.1", "--ratios", "0.6:0.1:0.1"], "'0.6:0.1:0.1' is no range"),
        (["--keep", "reading:0.1", "--ratios", "0.1:0.5"], "write FIRST:LAST:STEP"),
        (["--keep", "reading:0.1", "--ratios", "1.5"], "ratio '1.5' is not allowed"),
        (["--keep", "reading:0.1", "--among", "pmp"], "pmp"),
        (["--keep", "reading:0.1", "--among", "wanda"], "criterion wanda looks at activations; give text with --calibration"),
        (["--keep", "reading:0.1", "--among", "wanda", "--calibration", "none.txt"], "none.txt is no file"),
        (["--keep", "reading:0.1", "--among", "ppm", "--calibration", "none.txt"], "leave out --calibration"),
        (["--keep", "reading:0.1", "--confidence", "1"], "--confidence"),
        (["--keep", "reading:0.1", "--check", "50"], "--check is about items that --limit leaves; give both"),
        (["--keep", "reading:0.1", "--multiple-of", "100000", "--ratios", "0.1"], "multiple_of 100000 is not allowed for a width of 640"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_runs_nothing(tmp_path, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(tmp_path)
    assert main(["choose", "tiny-instruct", *arguments]) != 0
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / ".glu-prune").exists() or not list((tmp_path / ".glu-prune").rglob("*.parquet"))


def test_a_folder_that_is_there_is_refused_before_anything_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    assert main(["choose", "tiny-instruct", "--keep", "reading:0.1", "--out", "there"]) == 1
    assert "there exists" in capsys.readouterr().err
    assert not (tmp_path / ".glu-prune").exists()


def cases(tmp_path: Path, text: str):
    path = tmp_path / "choice.yaml"
    path.write_text(text)
    return read(path)


def test_a_file_claims_a_choice(tmp_path):
    (case,) = cases(tmp_path, FILE)
    assert isinstance(case, ChoiceCase)
    assert case.id == "tiny-instruct-reading-arithmetic-bytes"
    assert [[arm.label for arm in group] for group in case.candidates] == [["ppm-0.05", "ppm-0.1", "ppm-0.15"]]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("reading: 0.1", "readin: 0.1", r":3: capability 'readin' does not exist; did you mean 'reading'"),
        ("reading: 0.1", "reading: 0", r":3: expect.0.choose.reading: it is above 0"),
        ("watch: [factual_recall]", "watch: [reading]", r":5: reading is to be kept already"),
        ("ratios: 0.05:0.15:0.05", "ratios: 0.05:0.15:0", r":4: .*is no range"),
        ("why: w", "minimise: watts\n    why: w", r":6: expect.0.minimise"),
        ("why: w", "check: 50\n    why: w", r"check is about items that neither half has; leave some out with `items`"),
        ("why: w", "among: [wanda]\n    why: w", r"criterion 'wanda' looks at activations"),
    ],
)
def test_each_mistake_in_a_file_is_one_line(tmp_path, old, new, complaint):
    with pytest.raises(ExpectationError, match=complaint):
        cases(tmp_path, FILE.replace(old, new))


@pytest.mark.slow("measures two models in turns")
def test_a_cost_that_has_to_be_measured_is_measured_of_what_passes(chosen, monkeypatch, capsys):
    monkeypatch.chdir(chosen)
    asked = ["--keep", "reading:0.2", "--among", "l2", "--ratios", "0.05,0.1", "--limit", "200"]
    assert main(["choose", "tiny-instruct", *asked, "--minimise", "time_per_output_token"]) == 0
    said = capsys.readouterr().out
    percent = r"[-+]\d+\.\d"
    change = rf"{percent} % time_per_output_token\s\(95 %\sinterval {percent} to {percent} %\)"
    assert re.search(rf"tiny-instruct: l2-0.05, {change}", said)
    assert re.search(r"l2 0.1 +- ", said)  # what fails is not measured


@pytest.mark.slow("two sessions that answer whole tasks with several models, as CI would")
def test_ci_guards_what_was_promised(chosen, tmp_path):
    """The file that was written passes; a file that claims the choice passes, and fails once another one is declared."""
    env = environment(tmp_path)
    (chosen / "test_claims.py").write_text(
        "def test_direction(glu_case, glu_check):\n    glu_check(glu_case)\n\n\n"
        "def test_choice(glu_choice, glu_check):\n    glu_check(glu_choice)\n"
    )
    guarded = run(["-m", "pytest", "test_claims.py", "--glu-expectations", "small/expectations.yaml"], chosen, env)
    assert guarded.returncode == 0, guarded.stdout
    assert "2 passed" in guarded.stdout
    by_l2 = FILE.replace("    ratios:", "    among: [l2]\n    ratios:")
    (chosen / "choice.yaml").write_text(by_l2)
    asked = ["-m", "pytest", "test_claims.py", "--glu-expectations", "choice.yaml"]
    claimed = run(asked, chosen, env)
    assert "1 passed" in claimed.stdout, claimed.stdout
    (chosen / "choice.yaml").write_text(by_l2.replace("    why: w", "    chosen: l2-0.15\n    why: w"))
    other = run(asked, chosen, env)
    assert "declared to be l2-0.15" in other.stdout
    assert other.returncode == 1
