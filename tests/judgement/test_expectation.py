import dataclasses
import hashlib
import re
from decimal import Decimal
from pathlib import Path

import pytest

from glu_prune.errors import ExpectationError
from glu_prune.evidence.checks import CHECKS
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.expectation import (
    DirectionCase,
    EfficiencyCase,
    EvidenceCase,
    TrendCase,
    cases_about,
    read,
    refuse_repeats,
    told_apart,
)
from glu_prune.judgement.kinds.evidence import Flaw
from glu_prune.pruning.calibration_text import CalibrationText

GOOD = """\
model: tiny-base
ratios: [0.1, 0.5]
controls: [random]
expect:
  - capability: factual_recall
    direction: down
    specific: true
    why: facts live in neurons
  - capability: factual_recall
    direction: preserved
    margin: 0.05
    ratios: [0.1]
    verdict: inconclusive
    why: few are lost
  - capability: arithmetic
    direction: down
    verdict: {0.5: artefact}
    why: it is fragile
  - trend: [factual_recall, truthfulness]
    relation: inverse
    why: misconceptions are facts, too
  - trend: reading
    relation: knee
    margin: 0.02
    at: 0.1
    why: copying needs attention
  - efficiency: joules_per_token
    direction: down
    why: less is computed
"""
PUBLISHED = GOOD.replace(
    "controls: [random]",
    "controls: [random]\nevidence: evidence\nflaws:\n  - check: energy_unit\n    why: kg taken for kWh",
)


def cases(tmp_path: Path, text: str):
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return read(path)


def test_claims_become_cases_in_order_of_ratio(tmp_path):
    found = cases(tmp_path, GOOD)
    assert [case.id for case in found] == [
        "tiny-base-ratio_0.1-factual_recall",
        "tiny-base-ratio_0.1-factual_recall-preserved",
        "tiny-base-ratio_0.1-arithmetic",
        "tiny-base-ratio_0.1-joules_per_token",
        "tiny-base-ratio_0.5-factual_recall",
        "tiny-base-ratio_0.5-arithmetic",
        "tiny-base-ratio_0.5-joules_per_token",
        "tiny-base-factual_recall-truthfulness-inverse",
        "tiny-base-reading-knee",
    ]
    assert found[1].ratio == Decimal("0.1")
    assert found[1].claim.margin == 0.05
    assert found[1].line == 9
    assert found[0].capability.task == "tiny_recall"
    assert [type(case) for case in found[-3:]] == [EfficiencyCase, TrendCase, TrendCase]


def test_the_arms_of_a_case(tmp_path):
    found = cases(tmp_path, GOOD.replace("[random]", "[random, reversed]"))
    case, trend = found[0], found[-1]
    assert case.arm == Arm("ppm", Decimal("0.1"), 0)
    assert case.controls == {
        "random": (Arm("random", Decimal("0.1"), 0),),
        "reversed-ppm": (Arm("reversed-ppm", Decimal("0.1"), 0),),
    }
    assert trend.arm(Decimal(0)) == DENSE
    assert trend.ratios == (Decimal(0), Decimal("0.1"), Decimal("0.5"))


def test_a_trend_may_go_across_some_ratios_alone(tmp_path):
    text = GOOD.replace("ratios: [0.1, 0.5]", "ratios: [0.1, 0.3, 0.5]")
    one, other = cases(tmp_path, text.replace("relation: inverse", "relation: inverse\n    ratios: [0.5, 0.1]"))[-2:]
    assert one.ratios == (Decimal(0), Decimal("0.1"), Decimal("0.5"))
    assert one.id == "tiny-base-factual_recall-truthfulness-inverse-0.5-0.1"
    assert other.ratios == (Decimal(0), Decimal("0.1"), Decimal("0.3"), Decimal("0.5"))
    assert [str(arm.ratio) for needed in one.requirements() for arm in needed.arms] == ["0", "0.1", "0.5"] * 2


def test_controls_may_be_run_at_some_ratios_alone(tmp_path):
    text = GOOD.replace("    specific: true\n", "").replace("[random]", "[random, l2]\ncontrol_ratios: [0.5]")
    found = [case for case in cases(tmp_path, text) if isinstance(case, DirectionCase)]
    assert {case.ratio: tuple(case.controls) for case in found} == {
        Decimal("0.1"): (),
        Decimal("0.5"): ("random", "l2"),
    }


def test_criteria_that_look_at_activations_are_given_the_text(tmp_path):
    (tmp_path / "text.txt").write_text("Anna lives in Rome.\n")
    found = cases(tmp_path, GOOD.replace("[random]", "[random, wanda]\ncalibration: text.txt"))[0]
    (control,) = found.controls["wanda"]
    assert control.calibration == CalibrationText(tmp_path / "text.txt")
    assert control.calibration_digest == hashlib.sha256(b"Anna lives in Rome.\n").hexdigest()
    assert (found.arm.calibration, found.controls["random"][0].calibration) == (None, None)


def test_a_part_of_a_text_is_drawn_and_each_draw_is_a_unit_as_those_of_random(tmp_path):
    (tmp_path / "text.txt").write_text("Anna lives in Rome.\n")
    part = "[random, wanda]\ncontrol_seeds: 3\ncalibration: {file: text.txt, tokens: 4, seed: 7}"
    found = cases(tmp_path, GOOD.replace("[random]", part))[0]
    assert found.claim.specific
    shown = [arm.calibration for arm in found.controls["wanda"]]
    assert shown == [CalibrationText(tmp_path / "text.txt", 4, seed) for seed in (7, 8, 9)]
    assert [arm.seed for arm in found.controls["wanda"]] == [0, 0, 0]
    assert [arm.seed for arm in found.controls["random"]] == [0, 1, 2]
    assert len({arm.calibration_digest for arm in found.controls["wanda"]}) == 3


def test_items_that_are_asked_belong_to_what_is_declared(tmp_path):
    found = [cases(tmp_path, GOOD.replace("controls:", f"{items}controls:"))[0] for items in ("", "items: {tiny_recall: 9}\n", "items: {tiny_recall_mc: 9}\n")]  # fmt: skip
    assert [case.experiment.most_items(case.capability, limit) for case in found for limit in (None, 5)] == [None, 5, 9, 5, None, 5]  # fmt: skip
    assert found[0].family_digest == found[2].family_digest != found[1].family_digest


def test_verdicts_are_declared_for_all_ratios_or_by_ratio(tmp_path):
    declared = {case.id: case.declared for case in cases(tmp_path, GOOD)}
    assert declared["tiny-base-ratio_0.1-factual_recall-preserved"] == "inconclusive"
    assert declared["tiny-base-ratio_0.1-arithmetic"] == "confirmed"
    assert declared["tiny-base-ratio_0.5-arithmetic"] == "artefact"


def test_published_figures_are_checked_in_every_way_and_flaws_are_declared(tmp_path):
    found = [case for case in cases(tmp_path, PUBLISHED) if isinstance(case, EvidenceCase)]
    assert [case.check for case in found] == list(CHECKS)
    assert {case.check: case.declared for case in found} == dict.fromkeys(CHECKS, "clean") | {"energy_unit": "flawed"}
    assert found[0].where.endswith("model.yaml:6")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("capability: arithmetic", "capability: aritmetic", "model.yaml:15: capability 'aritmetic' does not exist; did you mean 'arithmetic'?"),
        ("capability: arithmetic", "capability: last_word", "model.yaml:15: capability last_word is of suite study, and this file is of suite embedded; say `suite: study`"),
        ("    direction: down\n    verdict: {", "    directoin: down\n    verdict: {", "model.yaml:16: expect.2.directoin: key 'directoin' does not exist; did you mean 'direction'?"),
        ("verdict: inconclusive", "verdikt: inconclusive", "model.yaml:13: expect.1.verdikt: key 'verdikt' does not exist; did you mean 'verdict'?"),
        ("verdict: inconclusive", "verdict: perhaps", "model.yaml:13: expect.1.verdict: .*'confirmed', 'refuted', 'inconclusive' or 'artefact'"),
        ("{0.5: artefact}", "{0.5: perhaps}", "model.yaml:17: expect.2.verdict.*'artefact'"),
        ("{0.5: artefact}", "{0.3: artefact}", r"model.yaml:17: ratio 0.3 is not among the ratios of this claim \(0.1, 0.5\)"),
        ("ratios: [0.1, 0.5]", "ratios: [0.1, 1.2]", r"model.yaml:2: ratios.1: ratio 1.2 is not allowed; .*0 <= ratio < 1"),
        ("ratios: [0.1, 0.5]", "ratios: [0.1, 0]", "model.yaml:2: ratios.1: ratio 0 is the dense model"),
        ("ratios: [0.1, 0.5]", "ratios: [0.1, 0.10]", "model.yaml:2: ratios: 0.1 occurs more than once"),
        ("ratios: [0.1, 0.5]", "ratios: []", "model.yaml:2: ratios"),
        ("ratios: [0.1]", "ratios: [0.3]", "model.yaml:12: ratio 0.3 is not among the ratios of this file"),
        ("direction: preserved", "direction: sideways", "model.yaml:10: expect.1.direction: .*'up', 'down', 'preserved' or 'kept'.*found 'sideways'"),
        ("    margin: 0.05\n", "", "model.yaml:9: expect.1: direction preserved needs margin"),
        ("margin: 0.05", "margin: -1", "model.yaml:11: expect.1.margin: it is above 0"),
        ("    why: it is fragile\n", "", "model.yaml:15: expect.2.why is missing"),
        ("controls: [random]", "controls: [magic]", "model.yaml:3: controls.0: .*found 'magic'"),
        ("controls: [random]\n", "", "model.yaml:1: the file: a claim that is specific needs controls"),
        ("model: tiny-base", "model: [", "model.yaml:[23]: not YAML"),
        ("model: tiny-base\n", "", "model.yaml:1: model is missing"),
        ("direction: preserved\n    margin: 0.05", "direction: down", "model.yaml:9: tiny-base-ratio_0.1-factual_recall down is claimed a second time; the first is in line 5"),
        ("truthfulness]", "truthfulnes]", "model.yaml:19: capability 'truthfulnes' does not exist; did you mean 'truthfulness'?"),
        ("[factual_recall, truthfulness]", "[factual_recall]", r"model.yaml:19: expect.3: relation inverse is about 2 capabilities \(found 1\)"),
        ("relation: inverse", "relation: sideways", "model.yaml:20: expect.3.relation: .*'rising'"),
        ("relation: inverse", "relation: inverse\n    at: 0.1", "model.yaml:19: expect.3: relation inverse takes no at"),
        ("    at: 0.1\n", "", "model.yaml:22: expect.4: relation knee needs at"),
        ("    margin: 0.02\n", "", "model.yaml:22: expect.4: relation knee needs margin"),
        ("at: 0.1", "at: 0.3", "model.yaml:25: ratio 0.3 is not among the ratios of this file"),
        ("relation: inverse", "relation: inverse\n    ratios: [0.1, 0.3]", r"model.yaml:21: ratio 0.3 is not among the ratios of this file \(0, 0.1, 0.5\)"),
        ("relation: inverse", "relation: inverse\n    ratios: [0.1]", "model.yaml:21: expect.3.ratios"),
        ("    at: 0.1\n", "    at: 0.2\n    ratios: [0.1, 0.5]\n", r"model.yaml:25: ratio 0.2 is not among the ratios of this claim \(0, 0.1, 0.5\)"),
        ("relation: inverse", "relation: inverse\n    ratios: [0.1, 0.5]\n    arms: [one, two]", "model.yaml:19: expect.3: a trend goes across ratios or across arms"),
        ("joules_per_token", "joules", "model.yaml:27: expect.5.efficiency: measure 'joules' does not exist; there are time_to_first_token"),
        ("controls: [random]", "controls: [ppm]", "model.yaml:1: the file: control 'ppm' chooses as the criterion 'ppm'"),
        ("controls: [random]", "controls: [maw]", "model.yaml:1: the file: control 'ppm' chooses as"),
        ("controls: [random]", "controls: [reversed, reversed-ppm]", "control 'reversed-ppm' chooses as"),
        ("controls: [random]", "criterion: reversed-l2\ncontrols: [reversed, l2]", "control 'l2' chooses as"),
        ("controls: [random]", "controls: [random]\ncontrol_ratios: [0.3]", "control_ratios: 0.3 is not among the ratios of the file"),
        ("controls: [random]", "controls: [random]\ncontrol_ratios: [0.1]", "a claim that is specific needs controls at ratio 0.5"),
        ("controls: [random]", "controls: [random]\nitems: {tiny_recal: 5}", "model.yaml:4: task 'tiny_recal' does not exist; did you mean 'tiny_recall'?"),
        ("controls: [random]", "controls: [random]\nitems: {tiny_recall: 0}", "model.yaml:4: items.tiny_recall: "),
        ("controls: [random]", "controls: [wanda]", "criterion 'wanda' looks at activations; give it text with `calibration: FILE`"),
        ("controls: [random]", "controls: [random]\ncalibration: model.yaml", "calibration: no criterion of this file looks at activations"),
        ("controls: [random]", "controls: [wanda]\ncalibration: {tokens: 3}", "model.yaml:4: .*calibration.*file"),
        ("controls: [random]", "controls: [wanda]\ncalibration: {file: model.yaml, tokens: 0}", "model.yaml:4: .*tokens"),
        ("controls: [random]", "controls: [wanda]\ncalibration: none.txt", "model.yaml:4: .*none.txt is no file; name one with a text per line"),
        ("margin: 0.05", "margin: .inf", "model.yaml:11: expect.1.margin: .*finite number"),
        ("    why: few are lost\n", "    why: few are lost\n    why: again\n", "model.yaml:15: key 'why' occurs a second time"),
        ("{0.5: artefact}", "{0.5: artefact, 0.5: refuted}", "model.yaml:17: key '0.5' occurs a second time"),
        ("trend: reading\n    relation: knee\n    margin: 0.02", "trend: [reading, story_modelling]\n    relation: equilibrium", "model.yaml:22: capability story_modelling is no share of right answers"),
        ("specific: true", "specific: true\n    margin: 0.1", "model.yaml:5: expect.0: direction down takes no margin"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_that_names_file_line_and_value(tmp_path, old, new, complaint):
    assert old in GOOD
    with pytest.raises(ExpectationError, match=complaint) as caught:
        cases(tmp_path, GOOD.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ExpectationError, match=r"absent\.yaml: No such file or directory"):
        read(tmp_path / "absent.yaml")


@pytest.mark.parametrize("text", ["", "- a\n", "just words\n", "\xff\xfe"])
def test_what_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(ExpectationError):
        cases(tmp_path, text)


def test_yaml_cannot_run_code(tmp_path):
    with pytest.raises(ExpectationError, match="not YAML"):
        cases(tmp_path, GOOD.replace("tiny-base", "!!python/object/apply:os.getcwd []"))


def test_ratios_are_read_as_they_are_written(tmp_path):
    found = cases(tmp_path, GOOD.replace("0.5", "0.29"))
    assert found[4].ratio == Decimal("0.29")


def test_checks_and_flaws_are_checked(tmp_path):
    with pytest.raises(ExpectationError, match=r"model.yaml:6: check 'energy_units' does not exist; did you mean 'en"):
        cases(tmp_path, PUBLISHED.replace("energy_unit", "energy_units"))
    with pytest.raises(
        ExpectationError, match=r"model.yaml:7: flaws.0.wy: key 'wy' does not exist; did you mean 'why'"
    ):
        cases(tmp_path, PUBLISHED.replace("    why: kg", "    wy: kg"))


def test_flaws_without_evidence_are_refused(tmp_path):
    with pytest.raises(ExpectationError, match="flaws are about published figures; name their folder with evidence"):
        cases(tmp_path, PUBLISHED.replace("evidence: evidence\n", ""))


def test_two_files_cannot_make_the_same_claim(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(GOOD)
    both = [case for name in ("a.yaml", "b.yaml") for case in read(tmp_path / name)]
    with pytest.raises(
        ExpectationError, match=r"b.yaml:5: tiny-base-ratio_0.1-.* second time; the first is in .*a.yaml:5"
    ):
        refuse_repeats(both)


def test_files_about_models_of_one_name_are_told_apart(tmp_path):
    texts = {"a": GOOD, "b": GOOD.replace("ratios: [0.1, 0.5]", "criterion: l2\nratios: [0.1, 0.5]")}
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    found = told_apart([case for name in texts for case in read(tmp_path / f"{name}.yaml")])
    assert len({case.id for case in found}) == len(found)
    assert found[0].id == "tiny-base-ppm-ratio_0.1-factual_recall"
    assert found[-1].id == "tiny-base-l2-reading-knee"
    assert [found[0].subject, found[-1].subject] == ["tiny-base (ppm)", "tiny-base (l2)"]


def test_a_model_with_its_chat_template_is_told_apart(tmp_path):
    for name, text in {"a": GOOD, "b": f"{GOOD}\nchat_template: true\n"}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    found = told_apart([case for name in "ab" for case in read(tmp_path / f"{name}.yaml")])
    assert found[-1].id == "tiny-base-ppm-chat-reading-knee"
    assert [found[0].subject, found[-1].subject] == ["tiny-base", "tiny-base (chat)"]


def test_a_file_about_any_model_is_about_the_one_that_is_named_unless_another_file_is(tmp_path):
    for name, text in {"a": GOOD, "b": GOOD.replace("model: tiny-base", "model: any")}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    both = told_apart([case for name in "ab" for case in read(tmp_path / f"{name}.yaml")])
    own, any_model = both[: len(both) // 2], both[len(both) // 2 :]
    assert cases_about(both, "tiny-base") == own
    found = cases_about(both, "some/folder")
    assert [case.where for case in found] == [case.where for case in any_model]
    assert {case.experiment.model for case in found} == {"some/folder"}
    assert found[0].id == "folder-ratio_0.1-factual_recall"
    assert cases_about(own, "some/folder") == ()


def test_a_folder_is_the_same_however_it_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELS", str(tmp_path))
    found = cases(tmp_path, GOOD.replace("model: tiny-base", "model: $MODELS/mine"))
    assert found[0].id == "mine-ratio_0.1-factual_recall"
    for name in (tmp_path / "mine", f"{tmp_path}/mine/", "$MODELS/mine", "${MODELS}/mine"):
        assert cases_about(found, str(name)) == found
    assert cases_about(found, str(tmp_path)) == ()


@pytest.mark.parametrize(
    ("about", "found", "outcome"),
    [
        (None, (), "clean"),
        (None, ("x",), "flawed"),
        (("x", "y"), ("y", "x"), "flawed"),
        (("x",), ("x", "y"), "flawed also in y"),
        (("x", "y"), ("y",), "not flawed in x"),
        (("x",), ("y",), "flawed also in y; not flawed in x"),
        (("x",), (), "clean"),
    ],
)
def test_known_flaws_are_the_ones_that_must_be_found(tmp_path, about, found, outcome):
    (case,) = (c for c in cases(tmp_path, PUBLISHED) if isinstance(c, EvidenceCase) and c.check == "energy_unit")
    case = dataclasses.replace(case, flaw=Flaw(check="energy_unit", about=about, why="w"))
    assert case.outcome(found) == outcome
    assert dataclasses.replace(case, flaw=None).outcome(found) == ("flawed" if found else "clean")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("seed: 1", "seed: true"), "seed: true and false are for switches only"),
        (("margin: 0.05", "margin: yes"), "margin: true and false are for switches only"),
        (("chat_template: false", "chat_template: 1"), "chat_template: it is true or false (found 1)"),
        (("chat_template: false", "chat_template: 'no'"), "chat_template: it is true or false (found 'no')"),
        (("chat_template: false", "chat_template:"), "chat_template: it is true or false (found missing or empty)"),
        (("seed: 1", "seed: 0.5"), "seed: it is a whole number (found 0.5)"),
        (("ratios: [0.5]", "ratios: 0.5"), "ratios: it is a list, `[a, b]` (found 0.5)"),
        (("ratios: [0.5]", "ratios: []"), "ratios: it has at least 1 items"),
        (("margin: 0.05", "margin: -1"), "margin: it is above 0 (found -1)"),
        (("direction: preserved", "direction: left"), "direction: it is 'up', 'down', 'preserved' or 'kept' (found 'left')"),
        (("{capability: reading", "[capability, reading"), "not YAML"),
        (("seed: 1", "evidence: {a: 1}"), "evidence: it is a text"),
    ],
)  # fmt: skip
def test_what_is_allowed_is_said_in_the_words_of_the_file(tmp_path, change, says):
    text = "model: tiny-base\nratios: [0.5]\nseed: 1\nchat_template: false\nexpect:\n  - {capability: reading, direction: preserved, margin: 0.05, why: x}\n"
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    assert read(path)
    path.write_text(text.replace(*change))
    with pytest.raises(ExpectationError) as error:
        read(path)
    assert says in str(error.value)
    assert not re.search("Input should|valid (dict|string|integer)|instance of", str(error.value))


@pytest.mark.parametrize("text", ["", "1", "[]", "x"])
def test_a_file_that_is_no_mapping_is_told_so(tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(ExpectationError, match=r"the file: it is a mapping, `a: b`"):
        read(path)
