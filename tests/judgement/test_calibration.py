"""How often the judge is wrong: whole verdicts under simulated effects of known size."""

import numpy as np
import pytest

from tests.helpers.examples import scaled
from tests.helpers.verdicts import case, found

RUNS = scaled(1500)
N = 120


def bound(rate: float) -> float:
    """The highest share that chance alone lets a true `rate` reach in so many runs (three standard errors)."""
    return rate + 3 * (rate * (1 - rate) / RUNS) ** 0.5


def pairs(rng, rate: float, shift: float = 0.0):
    """Right answers of two arms: the same items are hard for both; the second is right `shift` more often."""
    hard = rng.beta(2 * rate, 2 * (1 - rate), N)
    dense = (rng.random(N) < hard).astype(float)
    pruned = (rng.random(N) < np.clip(hard + shift, 0, 1)).astype(float)
    return list(dense), list(pruned)


@pytest.mark.parametrize("direction", ["up", "down"])
def test_no_effect_is_rarely_confirmed_or_refuted(direction):
    rng = np.random.default_rng(1)
    outcomes = [found(case(direction), *pairs(rng, 0.5)).outcome for _ in range(RUNS)]
    assert outcomes.count("confirmed") / RUNS <= bound(0.025)
    assert outcomes.count("refuted") / RUNS <= bound(0.025)


def test_a_claim_at_many_ratios_is_no_more_often_confirmed():
    """At any of five ratios, all without effect: at most 5 % of claims in either direction."""
    rng = np.random.default_rng(2)
    claim = case("down", ratios=5)
    wrong = sum(
        any(found(claim, *pairs(rng, 0.5)).outcome != "inconclusive" for _ in range(5)) for _ in range(RUNS // 5)
    )
    assert wrong / (RUNS // 5) <= 0.05 + 3 * (0.05 * 0.95 / (RUNS // 5)) ** 0.5


def tripled(rng) -> tuple[list[float], list[float]]:
    """Without effect, 130 items that come three times each."""
    dense, pruned = (rng.random((2, 130)) < 0.5).astype(float)
    return [*dense] * 3, [*pruned] * 3


def test_items_that_come_again_are_no_more_evidence():
    """Taken for 390 items, they give a direction in 23 % of runs without effect."""
    rng, runs = np.random.default_rng(12), RUNS // 5
    sources = [str(number % 130) for number in range(390)]
    drawn = [tripled(rng) for _ in range(runs)]
    verdicts = [found(case("up"), *each, sources=sources) for each in drawn]
    wrong = sum(verdict.outcome != "inconclusive" for verdict in verdicts) / runs
    assert wrong <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert {verdict.test for verdict in verdicts} == {"sign-flip permutation over 130 clusters"}
    assert sum(found(case("up"), *each).outcome != "inconclusive" for each in drawn) / runs > 0.15
    assert "items share texts: 130 sources of 390 items are the units" in verdicts[0].sentence


@pytest.mark.slow("simulates hundreds of runs")
def test_what_is_no_better_than_the_floor_is_rarely_confirmed():
    """A real rise to exactly the floor: the pruned model is confirmed to be above it in at most 5 % of runs."""
    rng = np.random.default_rng(3)
    outcomes = []
    for _ in range(RUNS):
        null = list((rng.random(N) < 0.5).astype(float))
        dense, pruned = pairs(rng, 0.1)[0], pairs(rng, 0.5)[1]
        outcomes.append(found(case("up"), dense, pruned, nulls={"word loop": null}).outcome)
    assert outcomes.count("confirmed") / RUNS <= bound(0.05)
    assert outcomes.count("artefact") / RUNS <= bound(0.05), "what it gained has nothing to do with these answers"


def above_the_floor(rng, excess: float, items: int):
    """A rise from 0.1 to `excess` above a floor of 0.16, item by item whatever the floor answers; and the floor."""
    null = (rng.random(items) < 0.16).astype(float)
    dense, draw = rng.random(items) < 0.1, rng.random(items)
    pruned = np.where(dense, draw < 0.9, draw < (null.mean() + excess - 0.09) / 0.9).astype(float)
    return list(dense.astype(float)), list(pruned), list(null)


@pytest.mark.slow("simulates hundreds of runs")
@pytest.mark.parametrize("items", [200, 541])
def test_a_rise_to_a_little_above_the_floor_is_rarely_called_an_artefact(items):
    """Called one wherever chance put the score below the floor, it was in 21 % of runs of 541 items, 33 % of 200."""
    rng, wrong = np.random.default_rng(7), 0
    for _ in range(RUNS // 3):
        dense, pruned, null = above_the_floor(rng, 0.02, items)
        wrong += found(case("up"), dense, pruned, nulls={"word loop": null}).outcome == "artefact"
    assert wrong / (RUNS // 3) <= 0.05 + 3 * (0.05 * 0.95 / (RUNS // 3)) ** 0.5


@pytest.mark.slow("simulates hundreds of runs")
def test_what_turns_into_the_floor_is_called_an_artefact():
    """The pruned model answers as the floor does, but for one item in twenty."""
    rng, seen = np.random.default_rng(8), 0
    for _ in range(RUNS // 5):
        dense, _, null = above_the_floor(rng, 0.0, 541)
        pruned = np.where(rng.random(541) < 0.95, null, dense)
        verdict = found(case("up"), dense, list(pruned), nulls={"word loop": null})
        seen += verdict.outcome == "artefact"
        assert verdict.outcome in ("artefact", "inconclusive")
    assert seen / (RUNS // 5) > 0.8


def test_a_change_as_large_as_the_margin_is_rarely_called_preserved():
    rng = np.random.default_rng(4)
    outcomes = [found(case("preserved", margin=0.1), *shifted(rng, 0.1)).outcome for _ in range(RUNS)]
    assert outcomes.count("confirmed") / RUNS <= bound(0.055)  # the score test is off by as much as half a percent
    assert outcomes.count("refuted") / RUNS <= bound(0.05)


def shifted(rng, loss: float):
    """Two arms of which the second loses items at rate `loss` more than it gains."""
    dense = (rng.random(N) < 0.6).astype(float)
    change = rng.random(N)
    pruned = np.where((dense == 1) & (change < (loss + 0.04) / 0.6), 0.0, dense)
    return list(dense), list(np.where((dense == 0) & (change < 0.04 / 0.4), 1.0, pruned))


def test_the_promised_number_of_items_decides_four_times_in_five():
    rng = np.random.default_rng(5)
    lost, gained = 14, 5
    first = [1.0] * lost + [0.0] * gained + [1.0] * (N - lost - gained)
    second = [0.0] * lost + [1.0] * gained + [1.0] * (N - lost - gained)
    verdict = found(case("down"), first, second)
    assert verdict.outcome == "inconclusive"
    shares = np.array([lost, gained, N - lost - gained]) / N
    decided = 0
    for down, up, same in rng.multinomial(N + verdict.needed, shares, size=600):
        dense = [1.0] * down + [0.0] * up + [1.0] * same
        pruned = [0.0] * down + [1.0] * up + [1.0] * same
        decided += found(case("down"), dense, pruned).outcome == "confirmed"
    assert 0.76 <= decided / 600 <= 0.9


def test_a_large_loss_is_found():
    rng = np.random.default_rng(6)
    outcomes = [found(case("down", ratios=5), *shifted(rng, 0.25)).outcome for _ in range(200)]
    assert outcomes.count("confirmed") / 200 > 0.95
