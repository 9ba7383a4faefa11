from decimal import Decimal

import pytest

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.record import ScoreRecord
from glu_prune.judgement.expectation import Case, Expectation
from glu_prune.judgement.verdict import judge
from tests.experiment.test_store import record


def case(direction: str, *, margin: float | None = None, higher: bool = True, metric: str = "acc") -> Case:
    capability = Capability("skill", "tiny_recall", metric, "a skill", higher_is_better=higher)
    expectation = Expectation(capability="skill", direction=direction, margin=margin, why="because")
    return Case("f.yaml", 1, "m", None, "ppm", (), 0, Decimal("0.5"), capability, expectation, "m-ratio_0.5-skill")


def scored(values: list[float], metric: str = "acc"):
    scores = ScoreRecord(score=sum(values) / len(values), values=tuple(values), weights=(1.0,) * len(values))
    items = tuple(map(str, range(len(values))))
    return record(items=items, outputs=items, metrics={metric: scores})


def outcome(claim: Case, dense: list[float], pruned: list[float]) -> str:
    return judge(claim, scored(dense), scored(pruned)).outcome


MANY = [1.0] * 80 + [0.0] * 20
FEW = [1.0] * 30 + [0.0] * 70


@pytest.mark.parametrize(
    ("direction", "higher", "dense", "pruned", "expected"),
    [
        ("down", True, MANY, FEW, "confirmed"),
        ("up", True, MANY, FEW, "refuted"),
        ("up", True, FEW, MANY, "confirmed"),
        ("down", True, FEW, MANY, "refuted"),
        ("down", False, FEW, MANY, "confirmed"),
        ("up", False, FEW, MANY, "refuted"),
        ("up", True, MANY, MANY, "inconclusive"),
        ("down", True, MANY, MANY, "inconclusive"),
    ],
)
def test_directions_speak_of_the_capability(direction, higher, dense, pruned, expected):
    assert outcome(case(direction, higher=higher), dense, pruned) == expected


def test_a_small_change_is_inconclusive():
    pruned = MANY.copy()
    pruned[0] = 0.0
    assert outcome(case("down"), MANY, pruned) == "inconclusive"


@pytest.mark.parametrize(
    ("changed", "expected"), [(0, "confirmed"), (1, "confirmed"), (10, "inconclusive"), (60, "refuted")]
)
def test_preserved_means_within_its_margin(changed, expected):
    pruned = [0.0] * changed + MANY[changed:]
    assert outcome(case("preserved", margin=0.1), MANY, pruned) == expected


def test_preserved_does_not_care_which_way_it_left():
    assert outcome(case("preserved", margin=0.1), FEW, MANY) == "refuted"


def test_the_numbers_are_shown():
    verdict = judge(case("down"), scored(MANY), scored(FEW))
    assert (verdict.dense, verdict.pruned) == (0.8, 0.3)
    assert verdict.delta == pytest.approx(-0.5)
    assert (verdict.gained, verdict.lost, verdict.items) == (0, 50, 100)
    assert verdict.low < -0.5 < verdict.high < 0
    assert verdict.sentence.startswith("skill down: confirmed. acc 0.800 -> 0.300 (-0.500, 95 % interval -0.6")
    assert "of 100 items 0 got better, 50 worse; exact McNemar p = 1.8e-15" in verdict.sentence


def test_lower_is_better_counts_gains_the_other_way():
    verdict = judge(case("down", higher=False), scored(FEW), scored(MANY))
    assert (verdict.gained, verdict.lost) == (0, 50)


def test_records_of_different_items_cannot_be_paired():
    other = scored(FEW).model_copy(update={"items": tuple(f"x{i}" for i in range(100))})
    with pytest.raises(EvaluationError, match="different items"):
        judge(case("down"), scored(MANY), other)


def test_a_missing_metric_names_those_there_are():
    with pytest.raises(EvaluationError, match="no metric 'f1'; it has acc"):
        judge(case("down", metric="f1"), scored(MANY), scored(FEW))
