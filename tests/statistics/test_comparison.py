import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from glu_prune.errors import EvaluationError
from glu_prune.statistics.comparison import contrast, holm, items_needed, level, unpaired

BITS = ([1, 1, 0, 1, 0, 0], [1, 0, 0, 0, 0, 1])


@pytest.mark.parametrize(
    ("changed", "test"),
    [
        ({}, "exact McNemar"),
        ({"weights": [2] * 6}, "exact McNemar"),
        ({"weights": [1] * 5 + [0]}, "exact McNemar"),
        ({"clusters": list("abcdef")}, "exact McNemar"),
        ({"weights": [1] * 5 + [2]}, "sign-flip permutation"),
        ({"first": [0.5] * 6}, "sign-flip permutation"),
        ({"clusters": list("aabbcc")}, "sign-flip permutation over 3 clusters"),
        ({"ratio": True}, "sign-flip permutation"),
        ({"ratio": True, "clusters": list("aabbcc")}, "sign-flip permutation over 3 clusters"),
    ],
)
def test_the_test_fits_the_items(changed, test):
    given = {"first": BITS[0], "second": BITS[1], "weights": [1.0] * 6, **changed}
    assert contrast(given.pop("first"), given.pop("second"), given.pop("weights"), **given, seed=0).test == test


def test_weights_count():
    found = contrast([1, 0], [0, 0], [3, 1], seed=0)
    assert (found.difference, found.units) == (0.75, 2)


def test_an_item_without_weight_is_no_item():
    assert contrast([1, 0, 1], [0, 0, 0], [3, 1, 0], seed=0).units == 2


@pytest.mark.parametrize("ratio", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "weights", "clusters", "complaint"),
    [
        ([1], [1, 0], [1, 1], None, "found 1, 2, 2 and 1"),
        ([1, 0], [1, 0], [1], None, "found 2, 2, 1 and 2"),
        ([1, 0], [1, 0], [1, 1], ["a"], "found 2, 2, 2 and 1"),
        ([], [], [], None, "at least one item"),
        ([1, 0], [1, 0], [0, 0], None, "at least one item"),
        ([1, 0], [1, 0], [2, -1], None, "no weight below 0"),
        ([1, 0], [1, 0], [2, math.nan], None, "at least one item that counts"),
        ([1, math.nan], [1, 0], [1, 1], None, "finite values"),
        ([1, 0], [1, math.inf], [1, 1], None, "finite values"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(first, second, weights, clusters, complaint, ratio):
    with pytest.raises(EvaluationError, match=complaint) as caught:
        contrast(first, second, weights, clusters=clusters, ratio=ratio, seed=0)
    assert "\n" not in str(caught.value)


def test_unpaired_arms_differ_by_a_normal():
    found = unpaired(0.9, 0.03, 0.8, 0.04, 500)
    normal = scipy.stats.norm(0.1, 0.05)
    assert (found.difference, found.standard_error, found.units) == pytest.approx((0.1, 0.05, 500))
    assert found.interval() == pytest.approx(normal.interval(0.95))
    assert found.p_greater(0.02) == pytest.approx(normal.cdf(0.02))
    assert found.p_less(0.02) == pytest.approx(normal.sf(0.02))
    assert found.p_two_sided() == pytest.approx(2 * normal.cdf(0))
    assert found.test == "unpaired z"


def test_a_standard_error_that_few_units_told_has_tails_of_student():
    """Against Welch's test with all of the error in one of the two."""
    generator = np.random.default_rng(0)
    values = generator.normal(0.3, 1.0, 5)
    found = unpaired(float(values.mean()), float(values.std(ddof=1)) / 5**0.5, 0.0, 0.0, 5, 4)
    theirs = scipy.stats.ttest_1samp(values, 0.0)
    assert found.p_two_sided() == pytest.approx(theirs.pvalue)
    assert found.interval() == pytest.approx(tuple(theirs.confidence_interval(0.95)))
    assert found.test == "unpaired t"
    assert unpaired(0.3, 0.1, 0.0, 0.2, 5, 4).p_two_sided() < unpaired(0.3, 0.1, 0.0, 0.2, 5, 0.5).p_two_sided()


def test_a_standard_error_may_be_as_small_as_numbers_go():
    found = unpaired(0.3, 5e-324, 0.1, 0.1, 5, 4)
    assert found.interval() == pytest.approx(unpaired(0.3, 0, 0.1, 0.1, 5).interval())


def test_unpaired_arms_without_error():
    assert unpaired(0.5, 0, 0.5, 0, 1).p_two_sided() == 1.0
    assert unpaired(0.5, 0, 0.4, 0, 1).p_greater() == 0.0
    with pytest.raises(EvaluationError, match="finite standard errors"):
        unpaired(0.5, math.nan, 0.5, 0, 1)
    with pytest.raises(EvaluationError, match="finite standard errors"):
        unpaired(0.5, -0.1, 0.5, 0, 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(0, 5))
def test_holm_equals_statsmodels(p_values, absent):
    expected = multipletests(p_values + [1.0] * absent, method="holm")[1][: len(p_values)]
    assert holm(p_values, len(p_values) + absent) == pytest.approx(list(expected))


def test_holm_by_hand():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.01, 0.04], family=5) == pytest.approx([0.05, 0.16])
    assert holm([]) == []


def test_holm_refuses_what_is_no_family():
    with pytest.raises(EvaluationError, match="1 claims cannot have 2"):
        holm([0.1, 0.2], family=1)
    with pytest.raises(EvaluationError, match="from 0 to 1"):
        holm([math.nan])


def test_items_needed_on_a_worked_example():
    """20 % and 10 % change: without the correction of counts, 234 pairs by Connor's formula at 0.025 and 80 %."""
    found = contrast([1] * 20 + [0] * 80, [0] * 90 + [1] * 10, [1] * 100, seed=0)
    spread, gap = math.sqrt(0.3 - 0.01), 0.1
    plain = ((1.959964 * math.sqrt(0.3) + 0.841621 * spread) / gap) ** 2
    assert round(plain + 0.5) == 234
    assert items_needed(found, gap, 0.025) == math.ceil(plain / 4 * (1 + math.sqrt(1 + 4 / (plain * gap))) ** 2)


def test_a_smaller_gap_needs_more_items():
    rng = np.random.default_rng(0)
    found = contrast(rng.random(100), rng.random(100), rng.integers(1, 5, 100), seed=0)
    needed = [items_needed(found, gap, 0.05) for gap in (0.3, 0.1, 0.03)]
    assert needed == sorted(needed)
    assert items_needed(found, 0.1, 0.05, power=0.9) > items_needed(found, 0.1, 0.05)
    assert items_needed(found, 1e6, 0.025) == 6


@pytest.mark.parametrize("gap", [0, -0.1, math.inf, math.nan])
def test_no_number_of_items_shows_no_gap(gap):
    assert items_needed(unpaired(1, 0.1, 0, 0.1, 10), gap, 0.05) is None


def test_units_that_do_not_vary_do_not_say_how_many_are_needed():
    assert items_needed(contrast([1], [1], [1], seed=0), 0.1, 0.05) is None
    assert items_needed(contrast([0.5], [0.4], [1], seed=0), 0.1, 0.05) is None


@pytest.mark.parametrize("clusters", [None, [str(place // 4) for place in range(80)]])
def test_a_mean_below_a_bound_is_so_with_one_more_item_like_the_largest(clusters):
    values = np.random.default_rng(4).exponential(1, 80).tolist()
    plain = contrast(values, [0.0] * 80, [1.0] * 80, clusters=clusters, ratio=True, seed=1)
    found = level(values, [1.0] * 80, clusters=clusters, share=False, seed=1)
    assert found.difference == plain.difference
    assert found.p_greater(0.8) == plain.p_greater(0.8)
    for times in (1.1, 1.2, 1.4):
        assert plain.p_less(times * plain.difference) < found.p_less(times * plain.difference)
    assert found.interval()[0] == plain.interval()[0]
    assert found.interval()[1] > plain.interval()[1]
    limit = 1.3 * plain.difference
    assert found.interval(1 - 2 * found.p_less(limit))[1] == pytest.approx(limit, rel=0.01)
