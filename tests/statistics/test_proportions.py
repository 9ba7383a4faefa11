import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar

from glu_prune.statistics.proportions import PairedProportions, Share, tango_interval, tango_z

tables = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 80)).filter(sum)
"""Gained, lost, unchanged."""
shifts = st.floats(-0.95, 0.95).filter(lambda shift: abs(shift) > 1e-6)


def binary(gained: int, lost: int, unchanged: int) -> PairedProportions:
    return PairedProportions(gained, lost, gained + lost + unchanged)


@given(tables)
def test_mcnemar_equals_statsmodels(table):
    gained, lost, unchanged = table
    expected = reference_mcnemar([[unchanged, gained], [lost, 0]], exact=True).pvalue
    assert binary(*table).p_two_sided() == pytest.approx(min(1.0, expected))


def test_mcnemar_on_a_worked_example():
    """Agresti (2013), Categorical Data Analysis, table 11.1: 150 and 86 changed their minds; p is about 3e-5."""
    assert binary(86, 150, 1364).p_two_sided() == pytest.approx(3.7e-5, rel=0.1)


@given(tables, st.integers(0, 50))
def test_ties_do_not_change_mcnemar(table, ties):
    one, other = binary(*table), binary(*table[:2], table[2] + ties)
    assert one.p_two_sided() == other.p_two_sided()
    assert one.p_greater() == other.p_greater()


@pytest.mark.parametrize(
    ("gained", "lost", "units", "low", "high"),
    [
        # Airway hyper-responsiveness: Fagerland, Lydersen & Laake (2014), Stat. Med. 33, 2850-2875
        (1, 7, 21, -0.517, -0.026),
        # Complete response: the same authors' R package contingencytables, table cavo_2012
        (6, 16, 161, -0.124, -0.0054),
    ],
)
def test_tango_gives_the_published_intervals(gained, lost, units, low, high):
    found = tango_interval(gained, lost, units, 0.95)
    assert found == pytest.approx((low, high), abs=5e-4)


def test_tango_in_closed_form_where_every_item_or_none_changed():
    z2 = 1.959964**2
    assert tango_interval(0, 0, 50, 0.95) == pytest.approx((-z2 / (50 + z2), z2 / (50 + z2)), abs=1e-6)
    assert tango_interval(50, 0, 50, 0.95) == pytest.approx(((50 - z2) / (50 + z2), 1), abs=1e-6)
    assert tango_interval(0, 50, 50, 0.95) == pytest.approx((-1, -(50 - z2) / (50 + z2)), abs=1e-6)


@given(tables, shifts)
def test_the_score_uses_the_likelihood_restricted_to_the_shift(table, shift):
    """The closed form against numerical maximisation over the share that changed for the worse."""
    gained, lost, unchanged = table
    units = sum(table)

    def cost(share: float) -> float:
        cells = ((gained, share + shift), (lost, share), (unchanged, 1 - shift - 2 * share))
        return -sum(count * math.log(max(chance, 1e-300)) for count, chance in cells if count)

    bounds = (max(0.0, -shift), (1 - shift) / 2)
    share = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
    expected = (gained - lost - units * shift) / math.sqrt(units * (2 * share + shift - shift**2))
    assert tango_z(gained, lost, units, shift) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@given(tables, st.lists(st.floats(-1.2, 1.2), min_size=2, max_size=5).map(sorted))
def test_p_grows_with_the_shift(table, shifts):
    contrast = binary(*table)
    greater = [contrast.p_greater(shift) for shift in shifts]
    less = [contrast.p_less(shift) for shift in shifts]
    assert greater == sorted(greater)
    assert less == sorted(less, reverse=True)


@given(tables, shifts)
def test_swapping_the_arms_mirrors_everything(table, shift):
    one, other = binary(*table), binary(table[1], table[0], table[2])
    assert one.difference == -other.difference
    assert one.p_two_sided() == other.p_two_sided()
    assert one.p_greater(shift) == pytest.approx(other.p_less(-shift))
    low, high = one.interval()
    assert other.interval() == pytest.approx((-high, -low))


@given(tables, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_interval_holds_what_is_not_rejected(table, confidence):
    contrast = binary(*table)
    low, high = contrast.interval(confidence)
    tail = (1 - confidence) / 2
    assert -1 <= low <= contrast.difference <= high <= 1
    for p, limit in ((contrast.p_greater, low), (lambda shift: contrast.p_less(-shift), -high)):
        assert p(limit - 1e-6) <= tail + 1e-4 or limit == -1
        assert p(limit + 1e-6) >= tail - 1e-4


@given(tables, st.sampled_from([0.8, 0.9, 0.95, 0.99]))
def test_the_interval_never_contradicts_mcnemar(table, confidence):
    """Tango's alone does: 1 and 7 of 21 give p = 0.07 and an interval without 0."""
    contrast = binary(*table)
    low, high = contrast.interval(confidence)
    if low > 0 or high < 0:
        assert contrast.p_two_sided() <= 1 - confidence + 1e-12
    if low < 0 < high:
        assert contrast.p_two_sided() > 1 - confidence - 1e-12


@pytest.mark.parametrize("units", [1, 2])
@pytest.mark.parametrize("gained", [0, 1, 2])
def test_one_or_two_items_decide_nothing(units, gained):
    contrast = PairedProportions(min(gained, units), 0, units)
    for shift in (-0.9, -0.05, 0.0, 0.05):
        assert contrast.p_greater(shift) >= 0.25
        assert contrast.p_less(shift) >= 0.25
    assert contrast.interval() == (-1, 1)


counts = st.integers(1, 200).flatmap(lambda units: st.tuples(st.integers(0, units), st.just(units)))
bounds = st.floats(0.001, 0.999)


@given(counts, bounds)
def test_a_share_is_tested_as_scipy_does(count, bound):
    found = Share(*count)
    assert found.p_greater(bound) == pytest.approx(binomtest(*count, bound, "greater").pvalue)
    assert found.p_less(bound) == pytest.approx(binomtest(*count, bound, "less").pvalue)
    assert found.interval() == pytest.approx(tuple(binomtest(*count).proportion_ci(0.95, "exact")), abs=1e-9)


@pytest.mark.parametrize("bound", [0.05, 0.1, 0.5])
@pytest.mark.parametrize("units", [40, 59, 400])
def test_a_share_at_the_bound_is_decided_in_at_most_five_percent_each_way(units, bound):
    every = [(Share(count, units), binom.pmf(count, units, bound)) for count in range(units + 1)]
    assert sum(chance for each, chance in every if each.p_less(bound) <= 0.05) <= 0.05
    assert sum(chance for each, chance in every if each.p_greater(bound) <= 0.05) <= 0.05


@pytest.mark.parametrize(("count", "bound"), [(2, 0.05), (12, 0.1), (12, 0.25), (30, 0.1), (96, 0.9)])
def test_as_many_units_as_a_share_needs_have_the_power_promised(count, bound):
    pilot = Share(count, 100)
    needed = pilot.units_needed(bound, 0.05)
    rejected = [
        chance
        for each in range(needed + 1)
        for chance in [binom.pmf(each, needed, pilot.difference)]
        if (Share(each, needed).p_less(bound) if pilot.difference < bound else Share(each, needed).p_greater(bound))
        <= 0.05
    ]
    assert 0.8 <= sum(rejected) <= 0.9


def test_units_that_no_number_of_others_would_decide():
    assert Share(5, 100).units_needed(0.05, 0.05) is None
    assert Share(0, 10).units_needed(0.05, 0.05) == 59  # 0.95 ** 59 is just under 0.05
