import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from glu_prune.judgement.statistics import Paired, interval, mcnemar, p_value, pair, sign_flip

counts = st.tuples(*[st.integers(0, 40)] * 4).filter(sum)


def binary(both: int, lost: int, gained: int, neither: int) -> Paired:
    dense = [1] * both + [1] * lost + [0] * gained + [0] * neither
    pruned = [1] * both + [0] * lost + [1] * gained + [0] * neither
    return pair(dense, pruned, [1.0] * len(dense))


@given(counts)
def test_mcnemar_equals_statsmodels(table):
    both, lost, gained, neither = table
    expected = reference_mcnemar([[both, lost], [gained, neither]], exact=True).pvalue
    assert mcnemar(binary(*table)) == pytest.approx(min(1.0, expected))


def test_mcnemar_on_a_worked_example():
    """Agresti (2013), Categorical Data Analysis, table 11.1: 150 and 86 changed their minds; p is about 3e-5."""
    assert mcnemar(binary(794, 150, 86, 570)) == pytest.approx(3.7e-5, rel=0.1)


@given(counts, st.integers(0, 50))
def test_ties_do_not_change_mcnemar(table, ties):
    both, lost, gained, neither = table
    assert mcnemar(binary(*table)) == mcnemar(binary(both + ties, lost, gained, neither + ties))


@given(counts)
def test_swapping_the_arms_mirrors_everything(table):
    one = binary(*table)
    other = Paired(one.pruned, one.dense, one.weights)
    assert one.difference == -other.difference
    assert mcnemar(one) == mcnemar(other)
    low, high = interval(one, 0)
    assert interval(other, 0) == pytest.approx((-high, -low))


def test_sign_flips_agree_with_scipy():
    rng = np.random.default_rng(0)
    dense, effect = rng.normal(size=60), rng.normal(0.25, 1, 60)
    paired = pair(dense, dense + effect, np.ones(60))
    expected = scipy.stats.permutation_test(
        (dense + effect, dense),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).pvalue
    assert sign_flip(paired, 0) == pytest.approx(expected, abs=0.01)


def test_no_difference_is_no_evidence():
    paired = pair([0.5, 0.1], [0.5, 0.1], [1, 1])
    assert sign_flip(paired, 0) == 1.0
    assert interval(paired, 0) == (0.0, 0.0)


def test_the_interval_agrees_with_scipy():
    rng = np.random.default_rng(0)
    difference = rng.exponential(1.0, 80)
    expected = scipy.stats.bootstrap(
        (difference,), np.mean, method="percentile", n_resamples=9999, rng=np.random.default_rng(1)
    ).confidence_interval
    found = interval(pair(np.zeros(80), difference, np.ones(80)), 0)
    assert found == pytest.approx((expected.low, expected.high), abs=0.02)


def test_weights_count():
    paired = pair([0, 0], [1, 0], [3, 1])
    assert paired.difference == 0.75
    assert not paired.binary


def test_the_test_fits_the_items():
    assert p_value(binary(1, 2, 3, 4), 0)[1] == "exact McNemar"
    assert p_value(pair([0.1], [0.2], [1.0]), 0)[1] == "sign-flip permutation"


def test_false_alarms_and_coverage_are_as_promised():
    """Simulation under no effect: at most 5 % of p-values below 0.05; the 95 % interval holds 0 about 95 % of the time."""
    rng = np.random.default_rng(7)
    runs = 300
    alarms = covered = 0
    for seed in range(runs):
        values = rng.normal(size=(2, 100))
        paired = pair(values[0], values[1], np.ones(100))
        alarms += sign_flip(paired, seed) <= 0.05
        low, high = interval(paired, seed)
        covered += low <= 0 <= high
    assert alarms / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert covered / runs >= 0.95 - 3 * (0.05 * 0.95 / runs) ** 0.5 - 0.01
