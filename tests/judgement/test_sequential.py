"""Verdicts that are looked at after every part: how often they are wrong, and what waits for all items."""

import numpy as np
import pytest

from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.experiment.merging import restrict
from glu_prune.experiment.record import FloorRecord
from glu_prune.judgement.kinds.direction import judge
from glu_prune.judgement.scores import PairedScores
from glu_prune.judgement.verdict import Verdict
from tests.helpers.examples import scaled
from tests.helpers.verdicts import HALF, case, recorded, scored, share

RUNS, N = scaled(250), 400
LOOKS = (64, 128, 256, N)


def bound(rate: float) -> float:
    """Plus three standard errors of simulation."""
    return rate + 3 * (rate * (1 - rate) / RUNS) ** 0.5


def at(claim, units: int, dense, pruned, *, nulls=None, random=None) -> Verdict:
    """The verdict on the first `units` items."""
    draws = {Arm("random", HALF, seed): each for seed, each in enumerate(random or ())}
    values = {DENSE: dense, claim.arm: pruned, **draws}
    records = {arm: recorded(list(each[:units])) for arm, each in values.items()}
    floors = FloorRecord(
        key="k", task="t", versions={}, created="now", items=tuple(map(str, range(len(dense)))),
        nulls={name: {"acc": scored(list(each))} for name, each in (nulls or {}).items()},
    )  # fmt: skip
    return judge(claim, PairedScores(claim.capability, records, restrict(floors, records[DENSE].items), floors))


def decided(claim, *arms, **others) -> Verdict:
    """The first verdict that is not inconclusive, else the last."""
    for units in LOOKS:
        verdict = at(claim, units, *arms, **others)
        if verdict.outcome != "inconclusive":
            break
    return verdict


def answers(rng, *rates: float) -> list[np.ndarray]:
    """Right answers of several models, at their rates; the same items are hard for all."""
    hard = rng.random(N)
    return [((0.6 * hard + 0.4 * rng.random(N)).argsort().argsort() < rate * N).astype(float) for rate in rates]


def independent(rng, *rates: float) -> list[np.ndarray]:
    return [(rng.random(N) < rate).astype(float) for rate in rates]


@pytest.mark.parametrize("direction", ["up", "down"])
def test_no_effect_is_rarely_confirmed_or_refuted_at_any_look(direction):
    rng = np.random.default_rng(1)
    outcomes = [decided(case(direction), *independent(rng, 0.5, 0.5)).outcome for _ in range(RUNS)]
    assert outcomes.count("inconclusive") / RUNS >= 1 - bound(0.05)
    assert outcomes.count("confirmed") / RUNS <= bound(0.025)


def test_a_change_as_large_as_the_margin_is_rarely_called_preserved_or_refuted():
    rng = np.random.default_rng(2)
    outcomes = [decided(case("preserved", margin=0.1), *independent(rng, 0.3, 0.2)).outcome for _ in range(RUNS)]
    assert outcomes.count("confirmed") / RUNS <= bound(0.05)
    assert outcomes.count("refuted") / RUNS <= bound(0.05)


def test_what_is_no_better_than_the_floor_is_rarely_confirmed_nor_called_an_artefact():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(RUNS):
        dense, pruned, null = independent(rng, 0.1, 0.5, 0.5)
        found.append(decided(case("up"), dense, pruned, nulls={"word loop": null}))
    assert sum(verdict.outcome == "confirmed" for verdict in found) / RUNS <= bound(0.05)
    assert sum(verdict.outcome == "artefact" for verdict in found) / RUNS <= bound(0.05)


@pytest.mark.slow("simulates hundreds of runs")
def test_a_control_that_does_as_much_rarely_decides():
    rng = np.random.default_rng(4)
    claim = case("down", specific=True, draws=5)
    outcomes = []
    for _ in range(RUNS):
        dense, pruned, *random = independent(rng, 0.9, *rng.uniform(0.2, 0.6, 6))
        outcomes.append(decided(claim, dense, pruned, random=random).outcome)
    assert outcomes.count("confirmed") / RUNS <= bound(0.05)
    assert outcomes.count("artefact") / RUNS <= bound(0.05)


def test_a_score_at_its_floor_decides_nothing():
    """As many right answers as the floor has, but other ones: it is neither shown to be above nor below."""
    right, null = share(30, 64) + share(170, N - 64), share(32, 64)[::-1] + share(170, N - 64)[::-1]
    early, late = (at(case("up"), units, share(0, N), right, nulls={"word loop": null}) for units in (64, N))
    assert (early.outcome, early.note) == ("inconclusive", "under the floor")
    assert "not decided after 64 of 400 items, anytime-valid" in early.sentence
    assert (late.outcome, late.note) == ("inconclusive", "under the floor")


def test_a_score_far_below_its_floor_is_an_artefact_at_once():
    verdict = at(case("up"), 64, share(0, N), share(20, 64) + share(0, N - 64), nulls={"word loop": share(N, N)})
    assert (verdict.outcome, verdict.items, verdict.total_items) == ("artefact", 64, N)
    assert "decided after 64 of 400 items, anytime-valid" in verdict.sentence


def test_the_floor_is_that_of_the_null_that_is_best_on_all_items():
    """Chosen before any model answers: not the luckiest null of a look."""
    nulls = {"empty": share(64, 64) + share(0, N - 64), "word loop": share(0, 64) + share(200, N - 64)}
    verdict = at(case("down"), 64, share(60, 64) + share(0, N - 64), share(0, N), nulls=nulls)
    assert (verdict.floor_of, verdict.floor) == ("word loop", 0.0)


def test_being_at_chance_is_said_of_all_items_only():
    dense, pruned, uniform = (share(90, 100) * 4, share(50, 100) * 4, [0.5] * N)
    early, late = (at(case("down"), units, dense, pruned, nulls={"uniform": uniform}) for units in (200, N))
    assert (early.outcome, early.note) == ("confirmed", "")
    assert (late.outcome, late.note) == ("confirmed", "at chance")


def test_a_large_loss_takes_few_items():
    """Half of the items are lost at one of five ratios: on average few more than the first part."""
    rng = np.random.default_rng(5)
    found = [decided(case("down", ratios=5), *answers(rng, 0.9, 0.4)) for _ in range(50)]
    assert {verdict.outcome for verdict in found} == {"confirmed"}
    assert np.mean([verdict.items for verdict in found]) < 80


def test_ordinary_verdicts_say_nothing_about_looks():
    records = {DENSE: recorded(share(80)), case("down").arm: recorded(share(30))}
    floors = FloorRecord(key="k", task="t", versions={}, created="now", items=records[DENSE].items, nulls={})
    verdict = judge(case("down"), PairedScores(case("down").capability, records, floors))
    assert verdict.total_items is None
    assert "anytime" not in verdict.sentence
