"""What is said before a run, against whole verdicts on simulated items; and what a plan says cannot be answered."""

import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.experiment.record import FloorRecord
from glu_prune.judgement.across import judge_trend
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.kinds.trend import TrendCase, TrendClaim
from glu_prune.judgement.power import Known, is_planned, plan
from glu_prune.judgement.scores import PairedScores
from tests.helpers.examples import scaled
from tests.helpers.verdicts import HALF, case, found, recorded, scored, share

PROMISED = 0.8
RUNS = pytest.mark.parametrize("runs", [100, pytest.param(2000, marks=pytest.mark.slow("simulates 2000 runs"))])


def off(runs: int) -> float:
    """Three standard errors of a simulated power, or three percent if that is more."""
    return max(0.03, 3 * math.sqrt(PROMISED * (1 - PROMISED) / runs))


def known(items: int = 400, scores: PairedScores | None = None, at=None, nulls=None) -> Known:
    floors = None
    if nulls is not None:
        every = {name: {"acc": scored(values)} for name, values in nulls.items()}
        size = len(next(iter(nulls.values())))
        floors = FloorRecord(
            key="k", task="t", versions={}, created="now", items=tuple(map(str, range(size))), nulls=every
        )
    return Known(items=items, units=items, floors=floors, scores=scores, at=at)


def paired(capability, records: dict, nulls: dict | None = None) -> PairedScores:
    floors = FloorRecord(
        key="k", task="t", versions={}, created="now", items=records[DENSE].items,
        nulls={name: {"acc": scored(values)} for name, values in (nulls or {}).items()},
    )  # fmt: skip
    return PairedScores(capability, records, floors)


def arms(rng, items: int, changed: float, loss: float) -> tuple[list[float], list[float]]:
    """Items of which a share `changed` changes, half of it for the better, and others besides get lost."""
    draw = rng.random(items)
    gained, lost = draw < changed / 2, draw > 1 - changed / 2 - loss
    right = (draw < 0.75) & ~gained | lost
    return list(right.astype(float)), list(((right & ~lost) | gained).astype(float))


@pytest.mark.parametrize(("items", "ratios"), [(100, 1), (400, 5)])
def test_the_judge_finds_what_a_plan_promises(items, ratios):
    claim, rng, runs = case("down", ratios=ratios), np.random.default_rng(1), scaled(2000)
    planned = plan(claim, known(items), changed=0.2)
    assert (planned.tests, planned.spread, planned.answerable) == (ratios, "assumed 20 %", True)
    outcomes = [found(claim, *arms(rng, items, 0.2, planned.smallest)).outcome for _ in range(runs)]
    assert outcomes.count("confirmed") / runs == pytest.approx(PROMISED, abs=off(runs))


def test_the_judge_confirms_the_margin_that_a_plan_promises():
    rng, runs, items = np.random.default_rng(2), scaled(2000), 400
    planned = plan(case("preserved", margin=0.02), known(items), changed=0.2)
    claim = case("preserved", margin=planned.smallest)
    outcomes = [found(claim, *arms(rng, items, 0.2, 0.0)).outcome for _ in range(runs)]
    assert outcomes.count("confirmed") / runs == pytest.approx(PROMISED, abs=off(runs))


def test_the_items_that_a_margin_needs_confirm_it():
    planned = plan(case("preserved", margin=0.1), known(100), changed=0.2)
    assert planned.answerable is False
    assert planned.smallest > 0.1
    items = int(planned.remedy.removesuffix(" items"))
    enough = plan(case("preserved", margin=0.1), known(items), changed=0.2)
    assert (enough.answerable, enough.remedy) == (True, "")
    assert plan(case("preserved", margin=0.1), known(int(0.97 * items)), changed=0.2).answerable is False


def drawn(rng, items: int, rate: float, dense) -> list[float]:
    return list((dense & (rng.random(items) < rate)).astype(float))


@RUNS
def test_the_judge_finds_a_criterion_as_specific_as_a_plan_promises(runs):
    """Beside ten draws, whose rates differ as those of a pilot of as many draws, and more than items do."""
    claim, rng, items = case("down", draws=10, specific=True), np.random.default_rng(3), 200
    dense, spread = np.ones(items, bool), 0.08

    def answers(rate: float) -> list[float]:
        return drawn(rng, items, rate, dense)

    def exactly(rate: float) -> list[float]:
        return list((rng.permutation(items) < round(rate * items)).astype(float))

    # A pilot whose draws differ by what they do in truth, the luck of items included; drawn itself, it would be off.
    even = np.linspace(-1, 1, 10)
    rates = 0.6 + math.hypot(spread, math.sqrt(0.24 / items)) * even / even.std(ddof=1)
    pilot = {DENSE: recorded(list(dense.astype(float))), claim.arm: recorded(exactly(0.4))}
    pilot |= {Arm("random", HALF, seed): recorded(exactly(rate)) for seed, rate in enumerate(rates)}
    planned = plan(claim, known(items, paired(claim.capability, pilot), claim))
    assert (planned.draws, planned.answerable, planned.spread) == (10, True, "stored")
    confirmed = 0
    for _ in range(runs):
        random = [answers(min(1, 0.6 + rng.normal(0, spread))) for _ in range(10)]
        pruned = answers(0.6 - planned.beyond_draws)
        confirmed += found(claim, list(dense.astype(float)), pruned, random=random).outcome == "confirmed"
    assert confirmed / runs == pytest.approx(PROMISED, abs=off(runs))


def test_fewer_than_five_draws_cannot_show_that_a_claim_is_specific():
    planned = plan(case("down", draws=4, specific=True), known())
    assert (planned.draws, planned.answerable, planned.remedy) == (4, False, "5 draws")
    assert plan(case("down", draws=5, specific=True), known()).answerable is True


def test_so_few_items_that_no_p_reaches_alpha():
    planned = plan(case("down"), known(5))
    assert (planned.smallest, planned.answerable, planned.remedy) == (None, False, "6 items")
    assert plan(case("down", ratios=5), known(6)).answerable is False, "at 0.05 / 5 six items are too few"


def test_what_cannot_fall_far_enough():
    """The dense model is right on 3 of 400 items, and each may change."""
    claim = case("down")
    pilot = {DENSE: recorded(share(3, 400)), claim.arm: recorded(share(1, 400))}
    planned = plan(claim, known(400, paired(claim.capability, pilot), claim))
    assert planned.answerable is False
    assert planned.remedy.endswith(" items")
    up = case("up")
    assert plan(up, known(400, paired(up.capability, pilot), up)).answerable is True


def test_what_has_nothing_to_lose_and_what_has_little():
    claim = case("down")
    nulls = {"constant word": share(100, 400)}
    at_floor = {DENSE: recorded(share(100, 400)), claim.arm: recorded(share(90, 400))}
    planned = plan(claim, known(400, paired(claim.capability, at_floor, nulls), claim, nulls))
    assert (planned.answerable, planned.remedy) == (False, "dense above floor")
    beside = {DENSE: recorded(share(108, 400)[::-1]), claim.arm: recorded(share(20, 400)[::-1])}
    planned = plan(claim, known(400, paired(claim.capability, beside, nulls), claim, nulls))
    assert planned.above_floor > 8 / 400
    assert planned.answerable is False
    assert int(planned.remedy.removesuffix(" items")) > 1000


@RUNS
@pytest.mark.parametrize("excess", [1.0, 0.6])
def test_a_score_as_far_above_the_floor_as_a_plan_says_is_confirmed(excess, runs):
    """A rise from 0.05, on items that have nothing to do with the floor's; less far above it, it is confirmed less often."""
    rng, items = np.random.default_rng(5), 200
    null = (rng.permutation(items) < 32).astype(float)
    claim = case("up")
    planned = plan(claim, known(items, nulls={"word loop": list(null)}))
    assert planned.floor == pytest.approx(0.16)
    rate, confirmed = 0.16 + excess * planned.above_floor, 0
    for _ in range(runs):
        dense = (rng.random(items) < 0.05).astype(float)
        pruned = (rng.random(items) < rate).astype(float)
        confirmed += found(claim, list(dense), list(pruned), nulls={"word loop": list(null)}).outcome == "confirmed"
    if excess == 1:
        assert confirmed / runs == pytest.approx(PROMISED, abs=off(runs))
    else:
        assert confirmed / runs < 0.6


def test_metrics_that_no_assumption_fits_need_a_pilot():
    claim = case("down", higher=False, metric="bits_per_byte")
    planned = plan(claim, known(400))
    assert (planned.answerable, planned.remedy, planned.spread) == (None, "a pilot", "unknown")
    assert plan(case("down"), Known()).remedy == "the task's items"


def test_a_pilot_at_another_ratio_says_so():
    claim = case("down", ratios=2)
    near = replace(claim, key=Decimal("0.4"))
    records = {DENSE: recorded(share(80)), near.arm: recorded(share(60))}
    planned = plan(claim, known(100, paired(claim.capability, records), near))
    assert planned.spread == "stored at 0.4"
    assert plan(claim, known(400, paired(claim.capability, records), near)).spread == "pilot of 100 at 0.4"


def trend(*ratios: str, relation: str = "falling") -> TrendCase:
    claim = TrendClaim(trend="skill", relation=relation, why="because")
    experiment = Experiment(model="m", ratios=ratios, expect=(claim,))
    return TrendCase("f.yaml", 1, "m-skill", experiment, claim, (Capability("skill", "t", "acc", "a skill"),))


@RUNS
def test_the_judge_finds_a_line_that_a_plan_promises(runs):
    """A fifth of the items changes once, at any ratio alike; as many more get lost as make the line's change."""
    claim, rng, items = trend("0.2", "0.4", "0.6"), np.random.default_rng(6), 200
    planned = plan(claim, known(items), changed=0.2)
    assert (planned.ratio, planned.alpha, planned.spread) == (None, 0.05, "assumed 20 %")
    surplus = planned.smallest / 0.2  # weights are -0.9, -0.3, 0.3, 0.9: a change counts 1 on average over its ratio
    confirmed = 0
    for _ in range(runs):
        changes, lost = rng.random(items) < 0.2, rng.random(items) < (1 + surplus) / 2
        at = rng.integers(1, 4, items)
        places = [np.where(changes, lost != (place >= at), True).astype(float) for place in range(4)]
        records = {claim.arm(ratio): recorded(list(each)) for ratio, each in zip(claim.ratios, places, strict=True)}
        confirmed += judge_trend(claim, [paired(claim.capabilities[0], records)]).outcome == "confirmed"
    assert confirmed / runs == pytest.approx(PROMISED, abs=off(runs))


def test_what_is_assumed_of_a_line_follows_its_ratios():
    """A change at a random step moves an uneven line by 0.93 (root mean square), an even one over three ratios by 1."""
    even, uneven = (
        plan(trend(*ratios), known(400)).smallest for ratios in (("0.2", "0.4"), ("0.1", "0.2", "0.3", "0.9"))
    )
    assert uneven / even == pytest.approx(math.sqrt((2 * 1.08**2 + 0.9**2 + 0.54**2) / 4), abs=0.01)


def test_a_trend_over_two_ratios_needs_a_third():
    planned = plan(trend("0.5"), known())
    assert (planned.answerable, planned.remedy) == (False, "3 ratios")


def test_only_directions_and_lines_are_planned():
    assert is_planned(case("down"))
    assert is_planned(trend("0.2", "0.4", relation="rising"))
    pair = TrendClaim(trend=("a", "b"), relation="inverse", why="because")
    assert not is_planned(replace(trend("0.2", "0.4"), claim=pair))
