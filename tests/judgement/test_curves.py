"""Curves of capabilities over ratios, on records with known items."""

from decimal import Decimal

import numpy as np
import pytest

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.experiment.record import FloorRecord, ScoreRecord
from glu_prune.judgement.curves import curve
from glu_prune.judgement.scores import PairedScores
from glu_prune.results.curves import CurvePoint
from glu_prune.statistics.bands import independent_confidence
from tests.helpers.records import record
from tests.helpers.verdicts import RATIOS, scored, share

N = 200
ARMS = tuple(Arm("ppm", Decimal(ratio), 0) for ratio in RATIOS)
ITEMS = tuple(map(str, range(N)))


def points(
    pruned: list[list[float]], dense: list[float], *, metric: str = "acc", weights=None, cluster=None, arms=ARMS
) -> tuple[CurvePoint, ...]:
    """The curve of a skill, without the dense model; the items of a cluster follow each other, ten by ten."""

    def recorded(values):
        scores = ScoreRecord(score=float(np.mean(values)), values=tuple(values), weights=tuple(weights or [1.0] * N))
        fields = {"source": tuple((str(item // 10),) for item in range(N))}
        return record(items=ITEMS, outputs=ITEMS, fields=fields, metrics={metric: scores})

    records = {arm: recorded(values) for arm, values in zip((DENSE, *ARMS), (dense, *pruned), strict=False)}
    nulls = {"word loop": {metric: scored(share(20, N))}}
    floors = FloorRecord(key="k", task="t", versions={}, created="now", items=ITEMS, nulls=nulls)
    capability = Capability("skill", "t", metric, "a skill", chance=0.1, cluster=cluster)
    whole = curve("m", (DENSE, *arms), PairedScores(capability, records, floors))
    if whole:
        score = records[DENSE].metrics[metric].score
        expected = {
            "ratio": 0,
            "dense": score,
            "score": score,
            "delta": 0,
            "low": 0,
            "high": 0,
            "band_low": 0,
            "band_high": 0,
        }
        assert whole[0] == whole[1].model_copy(update=expected), "the dense model comes first"
    return whole[1:]


FALL = [share(right, N) for right in (170, 160, 130, 110, 90, 70)]


def test_each_point_is_the_change_beside_the_dense_model():
    found = points(FALL, share(180, N))
    assert [(str(each.ratio), each.score) for each in found] == [
        (ratio, sum(values) / N) for ratio, values in zip(RATIOS, FALL, strict=True)
    ]
    last = found[-1]
    assert (last.model, last.criterion, last.capability, last.metric) == ("m", "ppm", "skill", "acc")
    assert (last.dense, last.score, last.delta) == (0.9, 0.35, pytest.approx(-0.55))
    assert (last.floor, last.chance, last.items, last.units, last.ratios) == (0.1, 0.1, N, N, 6)


def test_the_band_holds_the_interval_and_stays_within_bonferronis():
    for each in points(FALL, share(180, N)):
        assert each.band_low < each.low < each.delta < each.high < each.band_high
    of_two = points(FALL[:2], share(180, N))
    assert of_two[0].band_low > points(FALL, share(180, N))[0].band_low, "fewer ratios need less"
    assert {each.ratios for each in of_two} == {2}


def test_where_nothing_changed_the_band_leaves_room_for_what_is_rare():
    """By the rule of three at the level of unrelated intervals, here of weighted items."""
    same = share(180, N)
    for each in points([same] * 6, same, weights=[2.0] * 199 + [3.0]):
        assert each.delta == 0
        rare = 1 - ((1 - independent_confidence(6)) / 2) ** (1 / N)
        assert each.band_high == pytest.approx(rare, rel=0.05)
        assert each.band_low == -each.band_high
        assert 0 < each.high < each.band_high


def test_one_unchanged_ratio_leaves_the_others_their_band():
    still = points([share(180, N), *FALL[1:]], share(180, N))
    assert still[0].delta == 0
    assert still[0].band_low < 0 < still[0].band_high < 0.05
    assert all(-1 < each.band_low < each.band_high < 0 for each in still[1:])


@pytest.mark.parametrize("missing", [1, 3, 4])
def test_ratios_that_were_not_measured_are_left_out(missing):
    measured = points(FALL[: 6 - missing], share(180, N))
    assert [str(each.ratio) for each in measured] == list(RATIOS[: 6 - missing])
    assert {each.ratios for each in measured} == {6 - missing}


def test_one_ratio_is_no_curve():
    assert points(FALL[:1], share(180, N)) == ()
    assert points([], share(180, N)) == ()


def test_clusters_are_drawn_whole():
    rng = np.random.default_rng(0)
    lean = np.repeat(rng.normal(0, 0.3, N // 10), 10)
    pruned = [(rng.random(N) < 0.5 + lean).astype(float).tolist() for _ in RATIOS]
    by_item, by_cluster = (points(pruned, share(100, N), cluster=cluster) for cluster in (None, "source"))
    assert {each.units for each in by_cluster} == {N // 10}
    assert {each.items for each in by_cluster} == {N}
    assert by_cluster[0].delta == by_item[0].delta
    for one, other in zip(by_cluster, by_item, strict=True):
        assert one.band_high - one.band_low > other.band_high - other.band_low
        assert wider(one) < wider(other) - 0.03, (
            "sources lean the same way at all ratios, so that fewer things can go wrong"
        )


def wider(point: CurvePoint) -> float:
    """How many times as wide the band is as the interval."""
    return (point.band_high - point.band_low) / (point.high - point.low)


def test_perplexities_change_by_logarithms_of_ratios():
    """Every word takes 0.1 nats more at each ratio, whatever there is of noise."""
    rng = np.random.default_rng(0)
    dense = rng.gamma(4, 0.5, N)
    pruned = [(dense + 0.1 * place + rng.normal(0, 0.02, N)).tolist() for place in range(1, 7)]
    words = rng.integers(5, 50, N).astype(float).tolist()
    found = points(pruned, dense.tolist(), metric="word_perplexity", weights=words)
    for place, each in enumerate(found, start=1):
        assert each.delta == pytest.approx(0.1 * place, abs=0.01)
        assert each.delta - 0.02 < each.band_low < each.low < each.high < each.band_high < each.delta + 0.02
    assert found == points(pruned, dense.tolist(), metric="word_perplexity", weights=words), "seeded"
