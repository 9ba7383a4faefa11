"""Widths near those of a ratio that accelerators compute in whole pieces."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.errors import PlanError
from glu_prune.pruning.alignment import nearest, ratio_of
from glu_prune.pruning.target import round_width


@given(st.integers(1, 100_000).flatmap(lambda before: st.tuples(st.just(before), st.integers(1, before))))
def test_the_ratio_leaves_just_that_width_and_none_of_fewer_digits_does(widths):
    before, width = widths
    ratio = ratio_of(before, width)
    assert 0 <= ratio < 1
    assert round_width(before, Fraction(ratio) * before) == width
    digits = -ratio.as_tuple().exponent
    if digits > 1:
        steps = 10 ** (digits - 1)
        shorter = [Fraction(int(ratio * steps) + more, steps) for more in (0, 1)]
        assert all(round_width(before, each * before) != width for each in shorter if each < 1)


@pytest.mark.parametrize(("width", "multiple", "found"), [(7373, 64, 7360), (4916, 64, 4928), (4096, 64, 4096)])
def test_the_nearest_width_of_the_study_s(width, multiple, found):
    assert nearest(8192, width, multiple) == found


def test_a_multiple_above_the_width_is_refused():
    with pytest.raises(PlanError, match="multiple_of 128 is not allowed for a width of 100"):
        nearest(100, 60, 128)
