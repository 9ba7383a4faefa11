"""Claims across ratios, on records with known items."""

import numpy as np
import pytest

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.record import FloorRecord
from glu_prune.judgement.across import TrendVerdict, judge_trend
from glu_prune.judgement.expectation import TrendCase
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.kinds.trend import TrendClaim
from glu_prune.judgement.scores import PairedScores
from tests.helpers.examples import scaled
from tests.helpers.verdicts import recorded, scored, share

RATIOS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")
N = 400


def knee(dense, pruned) -> TrendVerdict:
    """The verdict on a knee with margin 0.1 at the last ratio, on answers item by item."""
    return found("knee", [list(map(float, each)) for each in (dense, *pruned)], margin=0.1, at="0.6")


def answers(right) -> list[float]:
    return share(right, N) if isinstance(right, int) else right


def found(relation: str, *series: list, floor: int | None = None, higher: bool = True, **claim: object) -> TrendVerdict:
    """The verdict on series of right answers, or of how many of 400 are right: dense, then one for each ratio."""
    names = tuple(f"c{index}" for index in range(len(series)))
    made = TrendClaim(trend=names, relation=relation, why="because", **claim)
    experiment = Experiment(model="m", ratios=RATIOS[: len(series[0]) - 1], expect=(made,))
    capabilities = tuple(Capability(name, "t", "acc", "a skill", higher_is_better=higher) for name in names)
    case = TrendCase("f.yaml", 1, "id", experiment, made, capabilities)
    arms = [case.arm(ratio) for ratio in case.ratios]
    nulls = {} if floor is None else {"word loop": {"acc": scored(share(floor, N))}}
    floors = FloorRecord(key="k", task="t", versions={}, created="now", items=recorded(share(1, N)).items, nulls=nulls)
    measured = [
        PairedScores(
            capability, {each: recorded(answers(right)) for each, right in zip(arms, rights, strict=True)}, floors
        )
        for capability, rights in zip(capabilities, series, strict=True)
    ]
    return judge_trend(case, measured)


FALL = [380, 300, 250, 200, 150, 100, 50]
RISE = FALL[::-1]
FLAT = [200, 190, 210, 195, 205, 192, 208]


@pytest.mark.parametrize(
    ("relation", "series", "expected"),
    [
        ("falling", FALL, "confirmed"),
        ("rising", FALL, "refuted"),
        ("rising", RISE, "confirmed"),
        ("falling", RISE, "refuted"),
    ],
)
def test_monotone_trends(relation, series, expected):
    assert found(relation, series).outcome == expected


def test_ups_and_downs_are_no_trend():
    assert found("falling", nested(np.random.default_rng(1))).outcome == "inconclusive"


def test_trends_speak_of_the_capability():
    assert found("falling", RISE, higher=False).outcome == "confirmed"


def test_the_change_along_the_line_is_shown():
    """By hand: 7 equally spaced ratios, scores of 0.95 to 0.125."""
    said = found("falling", FALL).sentence
    assert "change along the line from 0.0 to 0.6, over 7 ratios: -0." in said
    assert "sign-flip permutation p = 0.000" in said


def test_the_line_is_that_of_least_squares():
    scores = [right / N for right in FALL]
    slope, _ = np.polyfit([0.0, *map(float, RATIOS)], scores, 1)
    assert f"{0.6 * slope:+.3f}" in found("falling", FALL).sentence


def test_three_ratios_show_a_trend_if_items_do():
    assert found("falling", [380, 300, 200]).outcome == "confirmed"


def test_two_ratios_are_no_trend():
    with pytest.raises(EvaluationError, match=r"3 or more ratios, the dense model's among them; measured: 0.0, 0.1"):
        found("falling", [380, 300])


@pytest.mark.parametrize(("one", "other", "shown"), [(FALL, RISE, "-1.000"), (FALL, FALL, "+1.000")])
@pytest.mark.parametrize("relation", ["inverse", "positive"])
def test_correlations_are_described_and_decide_nothing(relation, one, other, shown):
    verdict = found(relation, one, other)
    assert verdict.outcome == "inconclusive"
    assert f"Spearman {shown} over 7 ratios; descriptive: two curves of one model" in verdict.sentence


def nested(rng: np.random.Generator, rate: float = 0.6, flips: float = 0.05) -> list[list[float]]:
    """Answers at ratios that build on each other: at each, some items change for good, as many one way as the other."""
    right = rng.random(N) < rate
    series = [right]
    for _ in RATIOS:
        lost = flips * right
        gained = flips * rate / (1 - rate) * ~right
        right = right ^ (rng.random(N) < lost + gained)
        series.append(right)
    return [each.astype(float).tolist() for each in series]


@pytest.mark.slow("simulates hundreds of runs")
def test_without_effect_a_trend_is_rarely_seen():
    """Ratios are nested: Mann-Kendall's test over them saw a trend in a third of such runs."""
    rng, runs = np.random.default_rng(3), scaled(400)
    seen = sum(found("rising", nested(rng)).outcome != "inconclusive" for _ in range(runs))
    assert seen / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_a_rise_under_the_floor_is_an_artefact():
    low = [20, 25, 30, 35, 40, 45, 50]
    verdict = found("rising", low, floor=100)
    assert verdict.outcome == "artefact"
    assert "c0: the pruned model is not above the floor of content-free answers (word loop 0.250)" in verdict.sentence
    verdict = found("rising", [60, 70, 80, 90, 95, 98, 99], floor=98)
    assert verdict.outcome == "artefact"
    assert (
        "it gained where these answers are right (p = 0.0001): +0.003 on the 302 items where they are not"
        in verdict.sentence
    )
    assert found("rising", low, floor=10).outcome == "confirmed"


def test_a_trend_is_refuted_only_where_the_opposite_would_be_confirmed():
    assert found("falling", [20, 25, 30, 35, 40, 45, 50], floor=100).outcome == "artefact"
    assert found("rising", [99, 90, 80, 70, 60, 50, 40], floor=100).outcome == "inconclusive"
    assert found("rising", [99, 90, 80, 70, 60, 50, 40], floor=20).outcome == "refuted"


@pytest.mark.parametrize(
    ("series", "at", "expected"),
    [
        ([380, 380, 378, 300, 200, 100, 50], "0.2", "confirmed"),
        ([380, 380, 378, 300, 200, 100, 50], "0.1", "refuted"),
        ([380, 380, 378, 300, 200, 100, 50], "0.3", "refuted"),
        ([380, 300, 250, 200, 150, 100, 50], 0, "confirmed"),
        ([380, 380, 360, 300, 200, 100, 50], "0.2", "inconclusive"),
        ([380, 380, 378, 360, 200, 100, 50], "0.2", "inconclusive"),
        ([380, 380, 380, 380, 380, 380, 380], "0.6", "confirmed"),
    ],
)
def test_the_knee_is_the_last_ratio_that_preserves(series, at, expected):
    assert found("knee", series, margin=0.05, at=at).outcome == expected


def test_a_gain_is_no_loss():
    assert found("knee", RISE, margin=0.05, at="0.6").outcome == "confirmed"


def test_the_best_balance_is_where_the_mean_is_highest():
    up, down = [100, 150, 200, 300, 220, 200, 150], [300, 290, 285, 280, 200, 100, 50]
    assert found("equilibrium", up, down, at="0.3").outcome == "confirmed"
    verdict = found("equilibrium", up, down, at="0.5")
    assert verdict.outcome == "refuted"
    assert "better at 0.3" in verdict.sentence
    assert found("equilibrium", FLAT, [210, *FLAT[1:]], at="0.2").outcome == "inconclusive"


def test_gains_under_the_floor_balance_nothing():
    up, down = [100, 150, 200, 300, 220, 200, 150], [300, 290, 285, 280, 200, 100, 50]
    verdict = found("equilibrium", up, down, at="0.3", floor=300)
    assert verdict.outcome == "inconclusive"
    assert "0.0: 0.750" in verdict.sentence


def test_a_fall_from_under_the_floor_had_nothing_to_lose():
    low = [99, 90, 80, 70, 60, 50, 40]
    assert found("falling", low, floor=100).outcome == "inconclusive"
    assert found("falling", low, floor=20).outcome == "confirmed"


def test_nothing_is_preserved_at_the_floor():
    verdict = found("knee", [60] * 7, margin=0.05, at="0.6", floor=300)
    assert verdict.outcome == "inconclusive"
    assert "at 0.1 the pruned model is not above the floor" in verdict.sentence


def test_knees_where_less_is_better():
    errors = [20, 20, 22, 100, 200, 300, 350]
    assert found("knee", errors, margin=0.05, at="0.2", higher=False).outcome == "confirmed"
    assert found("knee", errors, margin=0.05, at="0.3", higher=False).outcome == "refuted"


def test_a_loss_of_exactly_the_margin_rarely_refutes_a_knee():
    """About one run in twenty, however many ratios lie below the claimed one; the score test is a little liberal."""
    rng = np.random.default_rng(8)
    runs = scaled(400)
    refuted = 0
    for _ in range(runs):
        dense = rng.random(N) < 0.8
        pruned = [dense & ~((rng.random(N) < 0.1 / 0.8) & dense) for _ in RATIOS]
        refuted += knee(dense, pruned).outcome == "refuted"
    assert refuted / runs <= 0.06 + 3 * (0.06 * 0.94 / runs) ** 0.5
