"""Arms that a file gives names: how they are declared, what they are, and what they are judged by."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from glu_prune.errors import EvaluationError, ExpectationError
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.experiment.record import FloorRecord, SizeRecord
from glu_prune.judgement.expectation import read
from glu_prune.judgement.scores import PairedScores
from glu_prune.judgement.sources import Evaluation
from glu_prune.pruning.target import Target
from tests.helpers.commands import environment, run
from tests.helpers.records import record
from tests.helpers.verdicts import scored

FILE = """\
model: tiny-instruct
ratios: [0.2]
arms:
  aligned: {ratio: 0.3, multiple_of: 16}
  layered: {criterion: l2, layers: {0: keep, 1-2: 0.3, -1: 0.5}}
  other: {checkpoint: tiny-base}
expect:
  - capability: reading
    direction: preserved
    margin: 0.1
    verdict: {0.2: refuted, aligned: refuted}
    why: w
  - capability: factual_recall
    direction: up
    arms: [other]
    against: aligned
    why: w
"""


def cases(tmp_path: Path, text: str = FILE):
    path = tmp_path / "arms.yaml"
    path.write_text(text)
    return read(path)


def test_each_arm_is_a_case_that_is_called_by_its_name(tmp_path):
    found = cases(tmp_path)
    assert [case.id for case in found] == [
        "tiny-instruct-ratio_0.2-reading",
        "tiny-instruct-aligned-reading",
        "tiny-instruct-layered-reading",
        "tiny-instruct-other-reading",
        "tiny-instruct-other-factual_recall-vs-aligned",
    ]
    assert [case.declared for case in found] == ["refuted", "refuted", "confirmed", "confirmed", "confirmed"]
    assert [case.tests for case in found] == [4, 4, 4, 4, 1]


def test_an_arm_is_what_it_says_and_not_what_it_is_called(tmp_path):
    arms = [case.arm for case in cases(tmp_path)[:4]]
    aligned, layered = Target.of(0.3, multiple_of=16), Target.of(0, layer_ratios={0: 0, 1: 0.3, 2: 0.3, -1: 0.5})
    assert arms == [
        Arm("ppm", Decimal("0.2")),
        Arm("ppm", target=aligned),
        Arm("l2", target=layered),
        Arm(checkpoint="tiny-base"),
    ]
    assert [arm.name for arm in arms] == ["", "aligned", "layered", "other"]
    assert [arm.label for arm in arms[:2]] == ["ppm-0.2", "ppm, ratio 0.3, multiple of 16"]


def test_the_dense_model_gives_way_to_what_a_claim_is_against(tmp_path):
    plain, *_, against = cases(tmp_path)
    assert (plain.taken(DENSE), against.taken(DENSE).name) == (DENSE, "aligned")
    assert against.taken(against.arm) == against.arm


def test_controls_are_of_the_size_of_the_arm(tmp_path):
    text = FILE.replace("ratios: [0.2]", "ratios: [0.2]\ncontrols: [random, l2]\ncontrol_seeds: 2")
    found = cases(tmp_path, text)
    aligned = found[1].controls
    assert {name: [arm.target for arm in arms] for name, arms in aligned.items()} == {
        name: [found[1].arm.target] for name in ("random", "l2")
    }
    assert [*found[2].controls] == ["random"]  # l2 is what the arm itself is cut by
    assert found[3].controls == {}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("  aligned: {ratio: 0.3, multiple_of: 16}", "  aligned: {multiple_of: 16}", r":4: arms.aligned: an arm has one size .*; found none"),
        ("{ratio: 0.3, multiple_of: 16}", "{ratio: 0.3, width: 16}", r":4: arms.aligned: an arm has one size .*; found ratio and width"),
        ("{ratio: 0.3, multiple_of: 16}", "{ratio: 0.2}", r":4: aligned is the same model as 0.2; leave one of them out"),
        ("{ratio: 0.3, multiple_of: 16}", "{ratio: 0}", r":4: arms.aligned: ratio 0 is the dense model"),
        ("{ratio: 0.3, multiple_of: 16}", "{ratio: 1.5}", r":4: arms.aligned.ratio: ratio 1.5 is not allowed"),
        ("{checkpoint: tiny-base}", "{checkpoint: tiny-base, ratio: 0.2}", r":6: arms.other: a checkpoint is taken as it is; leave out ratio"),
        ("{checkpoint: tiny-base}", "{checkpoints: tiny-base}", r":6: arms.other.checkpoints: key 'checkpoints' does not exist; did you mean 'checkpoint'"),
        ("criterion: l2, ", "criterion: l3, ", r":5: arms.layered.criterion: .*l3"),
        ("criterion: l2, ", "criterion: wanda, ", r"criterion 'wanda' looks at activations; give it text"),
        ("criterion: l2, ", "criterion: wanda, calibration: none.txt, ", r":5: .*none.txt is no file"),
        ("{0: keep, 1-2: 0.3, -1: 0.5}", "{0: keep, 0-2: 0.3}", r":5: arms.layered.layers: layer 0 is named twice"),
        ("{0: keep, 1-2: 0.3, -1: 0.5}", "{two: 0.3}", r":5: arms.layered.layers: 'two' names no layers"),
        ("  aligned: {", "  dense: {", r":4: .*the name of an arm is a letter"),
        ("arms: [other]", "arms: [others]", r":15: arm others is not among the arms of this file \(aligned, layered, other\)"),
        ("against: aligned", "against: 0.4", r":16: ratio 0.4 is not among the ratios of this file \(0.2\)"),
        ("against: aligned", "against: other", r":16: other is compared with itself"),
        ("aligned: refuted}", "narrow: refuted}", r"arm narrow is not among the arms of this claim"),
        ("direction: up\n", "direction: up\n    specific: true\n", r"needs controls"),
        ("  - capability: factual_recall\n    direction: up\n", "  - efficiency: joules_per_token\n    direction: up\n", r":16: costs are measured in turns with the dense model"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line(tmp_path, old, new, complaint):
    text = FILE.replace(old, new)
    assert text != FILE
    with pytest.raises(ExpectationError) as caught:
        cases(tmp_path, text)
    said = str(caught.value)
    assert "\n" not in said
    assert re.search(complaint, said), said


def test_a_trend_needs_ratios(tmp_path):
    text = FILE.replace("ratios: [0.2]\n", "").replace("{0.2: refuted, aligned", "{aligned")
    with pytest.raises(ExpectationError, match="a trend goes across ratios, and this file has none"):
        cases(tmp_path, f"{text}  - {{trend: reading, relation: falling, why: w}}\n")


@pytest.mark.slow("three processes that load torch, two of which answer 30 items with five models")
def test_a_pruned_folder_and_the_same_cut_are_one_model(tmp_path):
    """`glu-prune prune` and an arm of the same size answer alike; a claim between the two is about no change."""
    env = environment(tmp_path)
    cut = ["prune", "tiny-instruct", "--ratio", "0.3", "--multiple-of", "16", "--out", "cut"]
    assert run(["-m", "glu_prune.cli", *cut], tmp_path, env).returncode == 0
    text = FILE.replace("checkpoint: tiny-base", "checkpoint: cut").replace(
        "{ratio: 0.3, multiple_of: 16}", "{ratio: 0.1}"
    )
    text = text.replace("  aligned:", "  same: {ratio: 0.3, multiple_of: 16}\n  aligned:").replace(
        "against: aligned", "against: same"
    )
    (tmp_path / "arms.yaml").write_text(text)
    (tmp_path / "test_claims.py").write_text("def test_direction(glu_case, glu_check):\n    glu_check(glu_case)\n")
    asked = ["-m", "pytest", "test_claims.py", "--glu-expectations", "arms.yaml", "--glu-limit", "30"]
    done = run([*asked, "--glu-results", "results", "--glu-save-baseline", "pinned"], tmp_path, env)
    report = json.loads((tmp_path / "results" / "report.json").read_text())
    rows = {(row["named"], row["capability"]): row for row in report["scores"]}
    same, other = rows["same", "reading"], rows["other", "reading"]
    assert (same["dense"], same["pruned"]) == (other["dense"], other["pruned"]), done.stdout
    assert same["pruned"] < same["dense"]
    between = rows["other", "factual_recall"]
    assert (between["against"], between["delta"], between["gained"], between["lost"]) == ("same", 0, 0, 0)
    pinned = json.loads((tmp_path / "baselines" / "pinned.json").read_text())
    assert {"other", "ppm, ratio 0.3, multiple of 16"} <= {each["arm"] for each in pinned["outcomes"]}
    again = run([*asked, "--glu-results", "results", "--glu-compare", "pinned"], tmp_path, env)
    assert "regressed" not in again.stdout


TEXTS = """\
model: tiny-instruct
calibration: {first: {file: a.txt, tokens: 50}, second: {file: b.txt}}
arms:
  one: {criterion: wanda, ratio: 0.2, calibration: first}
  two: {criterion: wanda, ratio: 0.2, calibration: second}
expect:
  - {capability: reading, direction: kept, margin: 0.1, why: w}
"""


def test_texts_can_have_names_that_arms_use(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text("A line.\n")
    one, two = (case.arm.calibration for case in cases(tmp_path, TEXTS))
    assert (one.file.name, one.tokens, two.file.name, two.tokens) == ("a.txt", 50, "b.txt", None)
    with pytest.raises(ExpectationError, match="calibration text 'second' is named by no arm"):
        cases(tmp_path, TEXTS.replace("calibration: second", "calibration: first, seed: 1"))
    only = TEXTS.replace("{first: {file: a.txt, tokens: 50}, second: {file: b.txt}}", "{first: {file: a.txt}}")
    one, two = (case.arm.calibration for case in cases(tmp_path, only.replace(", calibration: second", ", seed: 1")))
    assert one == two


ACROSS = FILE.replace(
    "expect:\n", "expect:\n  - {trend: reading, relation: falling, arms: [aligned, layered, other], why: w}\n"
)


class Measured:
    """Answers of arms of known sizes, of which more are wrong the smaller the arm."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes

    def scores(self, case, needed):
        items, whole = tuple(map(str, range(200))), self.sizes["dense"]
        records = {}
        for arm in needed.arms:
            parameters = self.sizes[arm.name or "dense"]
            right = [float(place < 180 * parameters / whole) for place in range(200)]
            size = SizeRecord(parameters=parameters, bytes=parameters, width=8, hidden=2, ties=0)
            records[arm] = record(items=items, outputs=items, metrics={"exact_match": scored(right)}, size=size)
        nulls = {"nothing": {"exact_match": scored([0.0] * 200)}}
        floors = FloorRecord(key="k", task="t", versions={}, created="now", items=items, nulls=nulls)
        yield Evaluation(PairedScores(needed.capability, records, floors), records, floors=floors)


def test_a_trend_goes_across_arms_by_their_size(tmp_path):
    (trend,) = (case for case in cases(tmp_path, ACROSS) if case.FIXTURE == "glu_trend")
    assert trend.id == "tiny-instruct-reading-falling-aligned-layered-other"
    found = trend.judge(Measured({"dense": 100, "aligned": 70, "layered": 90, "other": 50}))
    assert found.outcome == "confirmed"
    assert "from 0.0 to 0.5, over 4 ratios" in found.sentence
    assert found.tables.curves == ()
    with pytest.raises(EvaluationError, match=r"arms.yaml:8: aligned and other have as many parameters"):
        trend.judge(Measured({"dense": 100, "aligned": 70, "layered": 90, "other": 70}))


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("arms: [aligned, layered, other], why", "arms: [aligned, nobody], why", r":8: arm nobody is not among the arms of this file \(aligned, layered, other\)"),
        ("relation: falling, arms", "relation: knee, at: 0.2, margin: 0.1, arms", r":8: relation knee names a ratio, and arms have none"),
        ("arms: [aligned, layered, other], why", "arms: [aligned], why", r":8: expect.0.arms"),
    ],
)  # fmt: skip
def test_a_trend_across_arms_names_those_of_the_file(tmp_path, old, new, complaint):
    with pytest.raises(ExpectationError, match=complaint):
        cases(tmp_path, ACROSS.replace(old, new))
