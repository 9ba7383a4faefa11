"""Bands over several ratios: what they are made of, and whether they hold at all ratios at once."""

import math

import numpy as np
import pytest
from scipy.special import ndtri

from glu_prune.statistics.bands import independent_confidence, joint_confidence
from glu_prune.statistics.comparison import contrast
from tests.helpers.examples import scaled

RATIOS = 6
BONFERRONI = 1 - 0.05 / RATIOS


def draw(items: int = 300, series: int = RATIOS, seed: int = 0):
    """Changes that have nothing to do with each other."""
    return np.random.default_rng(seed).normal(0.1, 1, (items, series))


def half_widths(confidence: float) -> float:
    """In standard errors of a normal estimate."""
    return float(ndtri((1 + confidence) / 2))


def test_one_interval_needs_no_more_than_its_own_level():
    assert independent_confidence(1) == 0.95
    assert joint_confidence(draw(series=1), [1.0] * 300, seed=0) == pytest.approx(0.95, abs=1e-3)


def test_unrelated_series_are_as_independent_ones():
    found = joint_confidence(draw(), [1.0] * 300, seed=0)
    assert found == pytest.approx(independent_confidence(RATIOS), abs=2e-3)


def test_series_that_move_as_one_are_one():
    changes = np.repeat(draw(series=1), RATIOS, axis=1) * [1, 2, 3, -1, -2, -3]
    assert joint_confidence(changes, [1.0] * 300, seed=0) == pytest.approx(0.95, abs=1e-3)


def test_the_band_is_a_bootstrap_by_hand():
    """The quantile of the largest t by the textbook, where all series have much the same distribution of t."""
    changes = np.cumsum(draw(200, 4), axis=1)
    weights = np.random.default_rng(1).integers(1, 9, 200).astype(float)

    def means_and_errors(chosen):
        x, w = changes[chosen] * weights[chosen, None], weights[chosen]
        mean = x.sum(axis=0) / w.sum()
        residuals = x - mean * w[:, None]
        return mean, np.sqrt((residuals**2).sum(axis=0) * 200 / 199) / w.sum()

    mean, _ = means_and_errors(slice(None))
    rng = np.random.default_rng(2)
    resamples = (means_and_errors(rng.integers(0, 200, 200)) for _ in range(6000))
    largest = [np.abs((m - mean) / e).max() for m, e in resamples]
    found = half_widths(joint_confidence(changes, weights, seed=0))
    assert found == pytest.approx(np.quantile(largest, 0.95), abs=0.06)


def test_a_series_in_which_nothing_changed_counts_as_independent():
    changed = draw(series=2)
    still = np.column_stack([changed, np.zeros((300, 4))])
    assert joint_confidence(still, [1.0] * 300, seed=0) == pytest.approx(independent_confidence(RATIOS), abs=2e-3)
    nothing = joint_confidence(np.zeros((300, RATIOS)), [1.0] * 300, seed=0)
    assert nothing == pytest.approx(independent_confidence(RATIOS), abs=2e-3)


def test_a_ratio_with_one_changed_item_opens_no_other_interval():
    """A third of all resamples lacks that item, and has no error there: a common critical value would be infinite."""
    changes = np.column_stack([draw(series=2), np.eye(300)[:, 0]])
    assert joint_confidence(changes, [1.0] * 300, seed=0) <= BONFERRONI


def test_items_of_a_cluster_are_drawn_together():
    """Tenfold copies carry no more information than one, and items that count nothing carry none."""
    changes, names = draw(50), [str(each) for each in range(50)]
    once = joint_confidence(changes, [1.0] * 50, seed=0)
    assert joint_confidence(np.tile(changes, (10, 1)), [1.0] * 500, clusters=names * 10, seed=0) == once
    more = np.concatenate([changes, draw(9, seed=3)])
    assert joint_confidence(more, [1.0] * 50 + [0.0] * 9, seed=0) == once


def test_an_item_that_counts_thrice_is_a_cluster_of_three():
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 9, 50)
    changes = np.cumsum(rng.integers(-8, 9, (50, RATIOS)) / 8, axis=1)
    names = np.repeat(np.arange(50), weights).astype(str)
    as_many = joint_confidence(np.repeat(changes, weights, axis=0), [1.0] * len(names), clusters=names, seed=0)
    assert joint_confidence(changes, weights.astype(float), seed=0) == as_many


def test_neither_the_order_of_items_nor_the_scale_matters():
    changes = draw(100)
    found = joint_confidence(changes, [1.0] * 100, seed=0)
    assert joint_confidence(changes[::-1], [1.0] * 100, seed=0) == found
    assert joint_confidence(changes * 4, [1.0] * 100, seed=0) == found


def right_or_wrong(rng, items: int = 150):
    """Items gained and lost at each ratio on top of the last, more lost; and the true changes."""
    right, share = rng.random(items) < 0.6, 0.6
    dense, pruned, truth = right, [], []
    for _ in range(RATIOS):
        lost, gained = 0.08, 0.06
        right = right ^ (rng.random(items) < np.where(right, lost, gained))
        share = share * (1 - lost) + (1 - share) * gained
        pruned.append(right)
        truth.append(share - 0.6)
    return np.stack(pruned).astype(float), dense.astype(float), np.ones(items), None, truth


def bounded(rng, items: int = 100):
    """Scores from 0 to 1 whose changes are skewed, the first ratio's the largest by far."""
    dense = rng.uniform(0.4, 0.7, items)
    scale = np.array([0.05, 0.01, 0.01, 0.01, 0.01, 0.01])[:, None]
    steps = scale * (rng.exponential(1, (RATIOS, items)) - 1) - 0.01
    return dense + np.cumsum(steps, axis=0), dense, np.ones(items), None, -0.01 * np.arange(1, RATIOS + 1)


def logs(rng, items: int = 100):
    """Nats per word of documents of any length."""
    dense = rng.gamma(4, 0.5, items)
    steps = rng.gamma(2, 0.1, (RATIOS, items)) - 0.18
    truth = 0.02 * np.arange(1, RATIOS + 1)
    return dense + np.cumsum(steps, axis=0), dense, rng.integers(5, 200, items).astype(float), None, truth


def clustered(rng, clusters: int = 57):
    """Right-or-wrong items whose changes depend on their cluster, as much so at each ratio."""
    names = np.repeat(np.arange(clusters), rng.integers(2, 15, clusters))
    drawn, lean = rng.random(len(names)), rng.uniform(-0.1, 0.1, clusters)[names]
    shares = np.array([0.15, 0.18, 0.2, 0.22, 0.25, 0.28])
    pruned = (drawn < shares[:, None] + lean).astype(float)
    dense = (rng.random(len(names)) < 0.2).astype(float)
    return pruned, dense, np.ones(len(names)), names.astype(str), shares - 0.2


def holds(drawn, *, ratio: bool, seed: int) -> bool:
    """Whether the band has the true change at every ratio."""
    pruned, dense, weights, clusters, truth = drawn
    rest = {"clusters": clusters, "seed": seed}
    confidence = joint_confidence((pruned - dense).T, weights, **rest)
    found = (contrast(each, dense, weights, ratio=ratio, **rest).interval(confidence) for each in pruned)
    return all(low <= true <= high for (low, high), true in zip(found, truth, strict=True))


def at_least(rate: float, runs: int) -> float:
    """Less three standard errors of simulation."""
    return rate - 3 * math.sqrt(rate * (1 - rate) / runs)


def covered(kind, runs: int) -> float:
    rng = np.random.default_rng(7)
    return sum(holds(kind(rng), ratio=kind is logs, seed=seed) for seed in range(runs)) / runs


def test_the_band_covers_all_changes_of_right_or_wrong_items():
    runs = scaled(60)
    assert covered(right_or_wrong, runs) >= at_least(0.95, runs)


@pytest.mark.slow("simulates hundreds of runs")
@pytest.mark.parametrize("kind", [right_or_wrong, bounded, logs, clustered])
def test_the_band_covers_all_true_changes_at_once(kind):
    runs = scaled(100)
    assert covered(kind, runs) >= at_least(0.95, runs)


def test_the_band_of_nested_ratios_is_narrower_than_bonferronis():
    """By 6 % on average where each ratio adds as much, by 17 % where the first does most of it."""
    rng = np.random.default_rng(5)
    assert width(right_or_wrong(rng)) < 0.97
    assert width(bounded(rng)) < 0.88


def width(drawn) -> float:
    """Of the band, as a share of Bonferroni's."""
    pruned, dense, weights, *_ = drawn
    return half_widths(joint_confidence((pruned - dense).T, weights, seed=0)) / half_widths(BONFERRONI)
