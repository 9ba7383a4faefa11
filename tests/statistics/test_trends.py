import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.errors import EvaluationError
from glu_prune.statistics.trends import Correlation, correlation

MMLU = [0.5605, 0.4333, 0.2909, 0.2307, 0.2587, 0.2555, 0.2589]
MC2 = [0.3919, 0.3767, 0.4302, 0.439, 0.4484, 0.4391, 0.4574]
"""Llama-3.2-3B at seven ratios; arXiv:2512.22671."""


def test_the_study_s_series():
    found = correlation(MMLU, MC2)
    assert found.pearson == pytest.approx(-0.864, abs=5e-4)
    assert found.spearman == pytest.approx(scipy.stats.spearmanr(MMLU, MC2).statistic)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=9))
def test_reversing_a_series_mirrors(points):
    x, y = ([float(each) for each in side] for side in zip(*points, strict=True))
    one, other = correlation(x, y), correlation(x, [-each for each in y])
    assert (one.pearson, one.spearman) == pytest.approx((-other.pearson, -other.spearman))


def test_a_constant_goes_with_nothing():
    assert correlation([1, 2, 3], [5, 5, 5]) == Correlation(0.0, 0.0)


@pytest.mark.parametrize(
    ("x", "y", "complaint"),
    [
        ([1, 2], [1, 2], "found 2 and 2"),
        ([1, 2, 3], [1, 2], "found 3 and 2"),
        ([1, 2, float("nan")], [1, 2, 3], "finite"),
    ],
)
def test_what_is_no_series_is_refused(x, y, complaint):
    with pytest.raises(EvaluationError, match=complaint):
        correlation(x, y)
