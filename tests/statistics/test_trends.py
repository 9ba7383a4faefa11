import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.errors import EvaluationError
from glu_prune.statistics.trends import correlation, monotone

MMLU = [0.5605, 0.4333, 0.2909, 0.2307, 0.2587, 0.2555, 0.2589]
MC2 = [0.3919, 0.3767, 0.4302, 0.439, 0.4484, 0.4391, 0.4574]
"""Llama-3.2-3B at seven ratios; arXiv:2512.22671."""

distinct = st.integers(3, 6).flatmap(lambda n: st.tuples(st.permutations(range(n)), st.permutations(range(n))))
tied = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=3, max_size=6)


def exhaustive(statistic, x, y) -> float:
    return scipy.stats.permutation_test(
        (y,), lambda order: statistic(x, order), permutation_type="pairings", n_resamples=np.inf
    ).pvalue


def test_the_study_s_series():
    found = correlation(MMLU, MC2)
    reference = scipy.stats.pearsonr(MMLU, MC2)
    assert found.pearson.coefficient == pytest.approx(-0.864, abs=5e-4)
    assert reference.pvalue == pytest.approx(0.012, abs=5e-4)  # what the study reports, from normal theory
    exact = scipy.stats.pearsonr(MMLU, MC2, method=scipy.stats.PermutationMethod(n_resamples=np.inf))
    assert found.pearson.p == pytest.approx(exact.pvalue)
    assert found.pearson.p == pytest.approx(0.063, abs=5e-4)
    assert found.spearman.coefficient == pytest.approx(scipy.stats.spearmanr(MMLU, MC2).statistic)
    ranks = (scipy.stats.rankdata(each) for each in (MMLU, MC2))
    of_ranks = scipy.stats.pearsonr(*ranks, method=scipy.stats.PermutationMethod(n_resamples=np.inf))
    assert found.spearman.p == pytest.approx(of_ranks.pvalue)


@given(distinct)
def test_monotone_equals_scipy(series):
    expected = scipy.stats.kendalltau(*series, method="exact")
    found = monotone(*series)
    assert found.coefficient == pytest.approx(expected.statistic)
    assert found.p == pytest.approx(expected.pvalue)


@given(tied)
def test_ties_are_shared(points):
    x, y = zip(*points, strict=True)
    if len(set(x)) == 1 or len(set(y)) == 1:
        return
    assert monotone(x, y).coefficient == pytest.approx(scipy.stats.kendalltau(x, y).statistic, abs=1e-12)
    found = correlation(x, y)
    assert found.spearman.coefficient == pytest.approx(scipy.stats.spearmanr(x, y).statistic, abs=1e-12)
    assert found.pearson.coefficient == pytest.approx(scipy.stats.pearsonr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize(("x", "y"), [([1, 2, 2, 3, 5], [1, 1, 4, 3, 3]), ([0, 0, 0, 1, 2, 3], [5, 4, 4, 2, 2, 1])])
def test_p_with_ties_is_that_of_all_orders(x, y):
    found = correlation(x, y)
    assert found.pearson.p == pytest.approx(exhaustive(lambda a, b: scipy.stats.pearsonr(a, b)[0], x, y))
    assert found.spearman.p == pytest.approx(exhaustive(lambda a, b: scipy.stats.spearmanr(a, b)[0], x, y))
    assert monotone(x, y).p == pytest.approx(exhaustive(lambda a, b: scipy.stats.kendalltau(a, b)[0], x, y))


@pytest.mark.parametrize(("points", "smallest"), [(3, 2 / 6), (4, 2 / 24), (5, 2 / 120), (7, 2 / 5040), (8, 2 / 40320)])
def test_few_points_can_only_show_so_much(points, smallest):
    rising = list(range(points))
    for found in (
        monotone(rising, rising),
        correlation(rising, rising).spearman,
        correlation(rising, MC2[:1] + rising[1:]).pearson,
    ):
        assert found.p == found.smallest_p == pytest.approx(smallest)
        assert found.points == points


@given(tied)
def test_no_p_is_below_the_smallest(points):
    x, y = zip(*points, strict=True)
    both = correlation(x, y)
    for found in (both.pearson, both.spearman, monotone(x, y)):
        assert 0 < found.smallest_p <= found.p <= 1
        assert -1 <= found.coefficient <= 1


@given(tied)
def test_reversing_a_series_mirrors(points):
    x, y = map(np.array, zip(*points, strict=True))
    assert monotone(x, -y).coefficient == -monotone(x, y).coefficient
    assert monotone(x, -y).p == monotone(x, y).p
    assert correlation(x, -y).pearson.coefficient == pytest.approx(-correlation(x, y).pearson.coefficient)
    assert correlation(x, -y).pearson.p == pytest.approx(correlation(x, y).pearson.p)


def test_many_points_are_sampled():
    rng = np.random.default_rng(0)
    x, y = rng.random(20), rng.random(20)
    found = correlation(x, y)
    assert found.pearson.p == pytest.approx(scipy.stats.pearsonr(x, y).pvalue, abs=0.02)
    assert monotone(x, y).p == pytest.approx(scipy.stats.kendalltau(x, y).pvalue, abs=0.02)
    assert found == correlation(x, y)
    assert monotone(x, x).p == monotone(x, x).smallest_p == pytest.approx(2 / 10_000)


def test_a_constant_goes_with_nothing():
    for found in (monotone([1, 2, 3], [0.1] * 3), *vars(correlation([0.1] * 4, [1, 2, 3, 4])).values()):
        assert (found.coefficient, found.p, found.smallest_p) == (0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("x", "y", "complaint"),
    [
        ([1, 2], [1, 2], "found 2 and 2"),
        ([1, 2, 3], [1, 2], "found 3 and 2"),
        ([1, 2, 3], [1, 2, float("nan")], "finite"),
    ],
)
def test_what_is_no_series_is_refused(x, y, complaint):
    for trend in (correlation, monotone):
        with pytest.raises(EvaluationError, match=complaint):
            trend(x, y)


def test_seven_points_take_milliseconds():
    correlation(MMLU, MC2)
    start = time.perf_counter()
    correlation(MMLU, MC2)
    assert time.perf_counter() - start < 0.5
