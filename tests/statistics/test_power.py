"""Whether the promised effect is found in four of five runs: by enumeration where that is possible, else simulated."""

import math

import numpy as np
import pytest
from scipy.stats import multinomial

from glu_prune.statistics.comparison import contrast
from glu_prune.statistics.draws import p_beyond, smallest_beyond
from glu_prune.statistics.power import smallest_found, smallest_margin, units_enough
from glu_prune.statistics.proportions import PairedProportions, chance_to_decide

PROMISED = 0.8


def off(runs: int) -> float:
    """Three standard errors of a simulated power."""
    return 3 * math.sqrt(PROMISED * (1 - PROMISED) / runs)


def enumerated(units: int, gained: float, lost: float, decides) -> float:
    """The probability that `decides` holds, over all tables of so many units."""
    counts = [(a, b, units - a - b) for a in range(units + 1) for b in range(units + 1 - a)]
    chances = multinomial.pmf(counts, units, [gained, lost, 1 - gained - lost])
    return sum(
        chance
        for (a, b, _), chance in zip(counts, chances, strict=True)
        if chance > 1e-9 and decides(PairedProportions(a, b, units))
    )


@pytest.mark.parametrize(("units", "gained", "lost"), [(20, 0.0, 0.3), (60, 0.1, 0.25), (60, 0.02, 0.02)])
def test_the_power_of_right_or_wrong_items_is_exact(units, gained, lost):
    loss = enumerated(units, gained, lost, lambda found: found.p_less() <= 0.025)
    assert chance_to_decide(units, gained, lost, 0.025) == pytest.approx(loss, abs=1e-5)
    kept = enumerated(units, gained, lost, lambda found: max(found.p_less(0.2), found.p_greater(-0.2)) <= 0.05)
    assert chance_to_decide(units, gained, lost, 0.05, 0.2) == pytest.approx(kept, abs=1e-5)


@pytest.mark.parametrize(("units", "changed"), [(50, 0.0), (100, 0.2), (400, 0.02), (400, 0.6)])
@pytest.mark.parametrize("alpha", [0.025, 0.025 / 6])
def test_right_or_wrong_items_show_what_is_promised(units, changed, alpha):
    """By McNemar's test on simulated items."""
    pilot = PairedProportions(round(changed * 5000), round(changed * 5000), 10_000)
    loss, rng, runs = smallest_found(pilot, alpha, units=units), np.random.default_rng(1), 4000
    shares = [changed / 2, changed / 2 + loss, 1 - changed - loss]
    tables = rng.multinomial(units, shares, size=runs)
    found = sum(PairedProportions(int(a), int(b), units).p_two_sided() <= 2 * alpha and b > a for a, b, _ in tables)
    assert found / runs == pytest.approx(PROMISED, abs=off(runs))


@pytest.mark.parametrize(("units", "changed"), [(100, 0.2), (400, 0.1), (400, 0.6)])
def test_a_margin_that_is_promised_is_confirmed_where_nothing_changes(units, changed):
    pilot = PairedProportions(round(changed * 5000), round(changed * 5000), 10_000)
    margin, rng, runs = smallest_margin(pilot, 0.05, units=units), np.random.default_rng(2), 4000
    tables = [
        PairedProportions(int(a), int(b), units)
        for a, b, _ in rng.multinomial(units, [changed / 2, changed / 2, 1 - changed], size=runs)
    ]
    kept = sum(max(found.p_greater(-margin), found.p_less(margin)) <= 0.05 for found in tables)
    assert kept / runs == pytest.approx(PROMISED, abs=0.03)


def bounded(rng, units: int, loss: float):
    """Shares of probability on the right answers, which all change a little."""
    return rng.normal(0, 0.2, units) - loss


def graded(rng, units: int, loss: float):
    """Parts of instructions obeyed: three items in ten change, by halves, and others besides lose a half."""
    changed = rng.random(units) < 0.3
    lost = ~changed & (rng.random(units) < loss / 0.5 / 0.7)
    return np.where(changed, rng.choice([-1, -0.5, 0.5, 1], units), 0.0) - 0.5 * lost


def nats(rng, units: int, loss: float):
    """Log-likelihoods per word, skewed to the right; a loss is found less easily than a gain."""
    return rng.gamma(4, 0.1, units) - 0.4 - loss


def mirrored(rng, units: int, loss: float):
    """As skewed to the left."""
    return -nats(rng, units, -loss)


def powers(draw, *, ratio: bool, units: int, alpha: float, runs: int) -> tuple[float, float]:
    """How often the promised loss is found, and the promised margin confirmed where nothing changes."""
    rng, zeros = np.random.default_rng(3), np.zeros(units)

    def compared(loss: float, seed: int):
        return contrast(draw(rng, units, loss), zeros, np.ones(units), ratio=ratio, seed=seed)

    pilot = contrast(draw(rng, 20_000, 0.0), np.zeros(20_000), np.ones(20_000), ratio=ratio, seed=0)
    loss, margin = smallest_found(pilot, alpha / 2, units=units, side=-1), smallest_margin(pilot, alpha, units=units)
    lost = [compared(loss, seed) for seed in range(runs)]
    kept = [compared(0.0, seed) for seed in range(runs)]
    found = sum(each.p_two_sided() <= alpha and each.difference < 0 for each in lost)
    confirmed = sum(max(each.p_greater(-margin), each.p_less(margin)) <= alpha for each in kept)
    return found / runs, confirmed / runs


@pytest.mark.slow("simulates 1000 runs of each kind")
@pytest.mark.parametrize(("draw", "ratio"), [(bounded, False), (graded, False), (nats, True), (mirrored, True)])
def test_other_scores_show_what_is_promised(draw, ratio):
    runs = 1000
    found, kept = powers(draw, ratio=ratio, units=100, alpha=0.05, runs=runs)
    assert found == pytest.approx(PROMISED, abs=off(runs))
    assert kept == pytest.approx(PROMISED, abs=off(runs))


@pytest.mark.parametrize(("draws", "error"), [(5, 0.0), (10, 0.0), (10, 0.03)])
def test_what_lies_as_far_beyond_draws_as_is_promised_is_shown(draws, error):
    rng, runs, spread = np.random.default_rng(4), 4000, 0.1
    beyond = smallest_beyond(spread, draws, 0.05, error)
    found = sum(
        p_beyond(list(beyond + rng.normal(0, error) - rng.normal(0, spread, draws)), 1) <= 0.05 for _ in range(runs)
    )
    assert found / runs == pytest.approx(PROMISED, abs=off(runs))


def test_too_few_draws_and_too_few_units_show_nothing():
    assert smallest_beyond(0.1, 4, 0.05) is None
    pilot = PairedProportions(0, 0, 100)
    assert smallest_found(pilot, 0.025, units=5) is None
    assert smallest_found(pilot, 0.025, units=6) <= 1
    assert smallest_margin(pilot, 0.05, units=4) is None
    assert smallest_found(contrast([0.5], [0.4], [1], seed=0), 0.05) is None
    many = contrast(np.linspace(-0.5, 0.5, 50), np.zeros(50), np.ones(50), seed=0)
    assert smallest_found(many, 1e-5) is None, "9,999 resamples show no p as small"


def test_more_units_show_less():
    pilots = [PairedProportions(10, 10, 100), contrast(np.linspace(-0.5, 0.5, 100), [0.0] * 100, [1] * 100, seed=0)]
    for pilot in pilots:
        for smallest in (smallest_found, smallest_margin):
            found = [smallest(pilot, 0.025, units=units) for units in (50, 100, 200, 800)]
            assert found == sorted(found, reverse=True)
            assert smallest(pilot, 0.025) == found[1], "as many as in the pilot"


def test_enough_units_are_the_fewest_to_one_percent():
    assert units_enough(lambda units: units >= 100, 3) == 100
    assert units_enough(lambda units: units >= 12_345, 100) == pytest.approx(12_345, rel=0.01)
    assert units_enough(lambda units: units >= 12_345, 100) >= 12_345
    assert units_enough(lambda _: False, 10) is None


def test_skewed_units_show_a_difference_towards_their_tail_more_easily():
    rng = np.random.default_rng(5)
    values, zeros, ones = nats(rng, 500, 0.0), np.zeros(500), np.ones(500)
    pilot, other = (contrast(sign * values, zeros, ones, ratio=True, seed=0) for sign in (1, -1))
    above, below = (smallest_found(pilot, 0.025, units=100, side=side) for side in (1, -1))
    assert below > 1.1 * above
    assert smallest_found(pilot, 0.025, units=100) == below
    assert [smallest_found(other, 0.025, units=100, side=side) for side in (-1, 1)] == pytest.approx([above, below])
    flips = contrast(values, zeros, ones, seed=0)
    assert smallest_found(flips, 0.025, units=100, side=1) > above, "sign flips must show it as well"
