"""One value beside a sample of draws, against scipy and by simulation."""

import numpy as np
import pytest
import scipy.stats

from glu_prune.statistics.draws import draws_needed, p_beyond
from tests.helpers.examples import scaled

SEEN = [0.288, 0.157, 0.055, 0.240, 0.045, 0.129, 0.050, 0.002, 0.200, 0.262]
"""Arithmetic of tiny-base with 30 % of its neurons chosen at random, by seed."""


def test_p_is_that_of_a_prediction_interval():
    differences = [0.5 - each for each in SEEN]
    t = np.mean(differences) / (np.std(SEEN, ddof=1) * np.sqrt(1.1))
    assert p_beyond(differences, 1) == pytest.approx(scipy.stats.t.sf(t, 9))
    assert p_beyond(differences, 1) + p_beyond(differences, -1) == pytest.approx(1)


def test_few_draws_show_nothing_and_equal_ones_all():
    assert p_beyond([0.3] * 4, 1) == 1.0
    assert p_beyond([0.3] * 5, 1) == 0.0
    assert p_beyond([0.3] * 5, -1) == 1.0
    assert draws_needed([0.3] * 4, 1, 0.05) is None


def test_the_draws_needed_are_the_first_that_show_it():
    differences = [0.5 - each for each in SEEN]
    needed = draws_needed(differences, 1, 0.001)
    spread, surplus = np.std(SEEN, ddof=1), np.mean(differences)
    reached = [scipy.stats.t.sf(surplus / (spread * np.sqrt(1 + 1 / n)), n - 1) <= 0.001 for n in (needed - 1, needed)]
    assert reached == [False, True]
    assert draws_needed(differences, -1, 0.05) is None


@pytest.mark.parametrize("draws", [5, 10])
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng, size: rng.choice(SEEN, size),
        lambda rng, size: rng.normal(0.3, 0.05, size),
        lambda rng, size: np.where(rng.random(size) < 0.5, 0.25, 0.0) + rng.normal(0, 0.01, size),
    ],
    ids=["seen", "normal", "two heaps"],
)
def test_another_draw_is_rarely_beyond(draw, draws):
    """A criterion that is itself a draw; a test over items alone confirmed it in 17 to 38 %."""
    rng, runs = np.random.default_rng(1), scaled(4000)
    for side in (1, -1):
        wrong = sum(
            p_beyond(list(mine - others), side) <= 0.05
            for mine, *others in draw(rng, (runs, draws + 1)).tolist()
            for others in [np.array(others)]
        )
        assert wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
