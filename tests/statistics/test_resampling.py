import math
from itertools import pairwise, product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.statistics import resampling
from glu_prune.statistics.comparison import contrast
from glu_prune.statistics.resampling import RESAMPLES, _rarer_than, bootstrap, p_shuffled, sign_flips
from tests.helpers.examples import examples

values = st.integers(0, 10).map(lambda tenths: tenths / 10)
items = st.lists(st.tuples(values, values, st.integers(1, 5), st.sampled_from("abcdefg")), min_size=2, max_size=30)
few = examples(25)


def compare(rows, *, seed=0, ratio=False, clustered=True):
    first, second, weights, clusters = zip(*rows, strict=True)
    return contrast(first, second, weights, clusters=clusters if clustered else None, ratio=ratio, seed=seed)


def answers(found) -> list[float]:
    shifted = [p(shift) for p in (found.p_greater, found.p_less) for shift in (-0.1, 0.0, 0.1)]
    return [found.difference, found.standard_error, found.p_two_sided(), *shifted, *found.interval()]


@pytest.mark.parametrize("count", [9, 60])
def test_sign_flips_agree_with_scipy(count):
    differences = np.random.default_rng(0).normal(0.25, 1, count)
    expected = scipy.stats.permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=20_000, rng=np.random.default_rng(1)
    ).pvalue
    assert sign_flips(differences, 0)[0] == pytest.approx(expected, abs=1e-12 if count == 9 else 0.01)


def test_few_units_are_flipped_in_every_way():
    assert sign_flips(np.array([1.0, 2.0, 4.0]), 0) == (2 / 8, 0)
    assert sign_flips(np.array([1.0, 1.0, -1.0]), 0) == (1, 2 / 8)
    assert sign_flips(np.zeros(3), 0) == (1, 0)


@pytest.mark.parametrize("changes", [[1, 2, -3], [1, 1, -2, -3], [3, -1, 2, 2, 0], [0, 0, 0], [0.1, 0.2, -0.3]])
def test_one_sided_p_is_at_least_the_share_of_flips_that_go_as_far(changes):
    flips = [np.dot(signs, changes) for signs in product((-1, 1), repeat=len(changes))]
    found = contrast(np.array(changes) / 10, np.zeros(len(changes)), np.ones(len(changes)), seed=0)
    assert found.p_greater() >= np.mean(np.array(flips) >= sum(changes) - 1e-9)
    assert found.p_less() >= np.mean(np.array(flips) <= sum(changes) + 1e-9)


def test_sampled_flips_count_the_observed_one():
    assert sign_flips(np.ones(14), 0) in {(each / (RESAMPLES + 1), 0) for each in (1, 2, 3, 4)}


@pytest.mark.parametrize("count", [30, 200, 5000])
def test_what_no_sampled_flip_reaches_is_rarer_still(count):
    changes = np.abs(np.random.default_rng(0).normal(2, 1, count))
    assert 0 <= sign_flips(changes, 0)[0] < 1e-5
    assert sign_flips(changes, 0)[0] >= (2 / 2**count if count < 1000 else 0)


@given(st.lists(st.floats(-1, 1).filter(lambda change: abs(change) > 1e-3), min_size=1, max_size=13))
def test_the_bound_of_rare_flips_is_never_below_their_share(changes):
    exact, _ = sign_flips(np.array(changes), 0)
    assert _rarer_than(np.array(changes)) >= exact - 1e-12


def test_unchanged_items_do_not_matter_to_sign_flips():
    changes = np.random.default_rng(0).normal(0.1, 1, 100)
    assert sign_flips(changes, 3) == sign_flips(np.append(changes, np.zeros(50)), 3)


@pytest.mark.parametrize("confidence", [0.9, 0.95])
@pytest.mark.parametrize("weighted", [False, True])
def test_intervals_are_those_of_a_bootstrap_t_by_hand(weighted, confidence):
    rng = np.random.default_rng(0)
    changes, weights = rng.exponential(1.0, 80), rng.integers(1, 20, 80).astype(float) if weighted else np.ones(80)
    found = contrast(changes, np.zeros(80), weights, ratio=True, seed=0)

    def mean_and_error(chosen):
        x, w = changes[chosen] * weights[chosen], weights[chosen]
        mean = x.sum() / w.sum()
        return mean, math.sqrt(((x - mean * w) ** 2).sum() * 80 / 79) / w.sum()

    mean, error = mean_and_error(slice(None))
    other = np.random.default_rng(1)
    pivots = [(m - mean) / e for m, e in (mean_and_error(other.integers(0, 80, 80)) for _ in range(RESAMPLES))]
    low, high = np.quantile(pivots, [(1 - confidence) / 2, (1 + confidence) / 2])
    assert found.standard_error == pytest.approx(error)
    assert found.interval(confidence) == pytest.approx((mean - high * error, mean - low * error), abs=0.02)


@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("mean", [-1.0, 0.02, 0.5])
def test_p_is_the_level_of_the_limit(confidence, mean):
    rng = np.random.default_rng(4)
    found = contrast(rng.exponential(1.0, 50) - 1 + mean, np.zeros(50), rng.integers(1, 9, 50), ratio=True, seed=0)
    low, high = found.interval(confidence)
    tail = (1 - confidence) / 2
    # A limit of 0 is where sign flips do not show what the bootstrap would.
    assert found.p_greater(low) == pytest.approx(tail, rel=1e-6) or (low == 0 and found.p_greater(low) > tail)
    assert found.p_less(high) == pytest.approx(tail, rel=1e-6) or (high == 0 and found.p_less(high) > tail)
    assert (low > 0 or high < 0) == (found.p_two_sided() <= 1 - confidence)


@given(items, st.booleans(), st.booleans())
@few
def test_swapping_the_arms_mirrors_everything(rows, ratio, clustered):
    one = compare(rows, ratio=ratio, clustered=clustered)
    other = compare([(b, a, *rest) for a, b, *rest in rows], ratio=ratio, clustered=clustered)
    low, high = one.interval()
    assert other.interval() == (-high, -low)
    assert one.difference == -other.difference
    assert one.p_two_sided() == other.p_two_sided()
    for shift in (-0.1, 0.0, 0.1):
        assert one.p_greater(shift) == other.p_less(-shift)


@given(items, st.booleans(), st.randoms(use_true_random=False))
@few
def test_neither_the_order_of_items_nor_names_matter(rows, ratio, random):
    renamed = [(a, b, weight, f"{ord(cluster)}") for a, b, weight, cluster in rows]
    random.shuffle(renamed)
    assert answers(compare(renamed, ratio=ratio)) == answers(compare(rows, ratio=ratio))


@given(items, st.booleans())
@few
def test_every_answer_is_a_number_and_p_grows_with_the_shift(rows, ratio):
    found = compare(rows, ratio=ratio)
    assert not any(map(math.isnan, answers(found)))
    shifts = np.linspace(-1.1, 1.1, 23)
    assert all(a <= b for a, b in pairwise(map(found.p_greater, shifts)))
    assert all(a >= b for a, b in pairwise(map(found.p_less, shifts)))
    low, high = found.interval()
    assert low <= found.difference + 1e-12
    assert found.difference <= high + 1e-12


@given(items)
@few
def test_the_interval_never_contradicts_the_test(rows):
    found = compare(rows)
    low, high = found.interval()
    if low > 0 or high < 0:
        assert found.p_two_sided() <= 0.05 + 1e-12
    if low < 0 < high:
        assert found.p_two_sided() > 0.05 - 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_another_seed_changes_little(seed):
    rng = np.random.default_rng(0)
    rows = [(*rng.random(2), 1, str(i % 40)) for i in range(400)]
    assert answers(compare(rows, seed=seed)) == pytest.approx(answers(compare(rows, seed=9)), abs=0.02)


def test_items_of_a_cluster_count_as_one():
    """Tenfold copies carry no more information than one."""
    rng = np.random.default_rng(1)
    rows = [(*rng.random(2), 1, str(name)) for name in range(50)]
    once, tenfold = compare(rows), compare(rows * 10)
    assert (tenfold.units, once.units) == (50, 50)
    assert tenfold.interval() == pytest.approx(once.interval())
    assert tenfold.p_two_sided() == pytest.approx(once.p_two_sided())


def test_nothing_changed_leaves_room_for_what_is_rare():
    """The rule of three: of 300 items none changed, so at most about 1 % do."""
    found = contrast([0.5] * 300, [0.5] * 300, [1.0] * 300, seed=0)
    low, high = found.interval(0.9)
    assert (found.p_two_sided(), found.difference, found.standard_error) == (1.0, 0.0, 0.0)
    assert (low, high) == pytest.approx((-0.01, 0.01), abs=1e-4)
    assert found.p_greater(low) == pytest.approx(0.05)
    assert found.p_less(high) == pytest.approx(0.05)
    assert found.p_greater(0.1) == 1.0


def test_a_ratio_of_equals_is_known():
    found = contrast([3.0] * 20, [3.0] * 20, range(1, 21), ratio=True, seed=0)
    assert found.interval() == (0.0, 0.0)
    assert found.p_two_sided() == 1.0
    assert found.p_greater(-0.01) < 0.001 < 0.99 < found.p_greater(0.01)


@pytest.mark.parametrize("ratio", [False, True])
@pytest.mark.parametrize("change", [-0.1, 0.3])
def test_equal_changes_are_sure_if_they_are_many(change, ratio):
    found = contrast([0.5 + change] * 40, [0.5] * 40, range(1, 41), ratio=ratio, seed=0)
    assert found.interval() == pytest.approx((change, change))
    assert found.standard_error == 0.0
    assert found.p_two_sided() < 0.001
    toward = found.p_greater if change > 0 else found.p_less
    assert toward() < 0.001 < 0.99 < toward(2 * change)


def test_rounding_is_no_spread():
    """Means of equal changes differ in their last digit, by their weights; that says nothing."""
    weights = np.random.default_rng(1).random(40)
    one, other = (contrast([0.11] * 40, [0.0] * 40, each, ratio=True, seed=0) for each in (weights, np.ones(40)))
    assert one.standard_error == other.standard_error == 0.0
    assert max(one.p_greater(), other.p_greater()) < 0.001
    assert one.p_greater(0.2) == pytest.approx(other.p_greater(0.2))


@pytest.mark.parametrize("ratio", [False, True])
@pytest.mark.parametrize("second", [0.5, 0.2])
@pytest.mark.parametrize("units", [1, 2])
def test_one_or_two_units_decide_nothing(units, second, ratio):
    clusters = [str(i % units) for i in range(10)]
    found = contrast([0.5] * 10, [second] * 10, range(1, 11), clusters=clusters, ratio=ratio, seed=0)
    assert found.p_two_sided() >= 0.5
    assert all(p(shift) >= 0.25 for p in (found.p_greater, found.p_less) for shift in (-0.2, -0.05, 0.05, 0.2, 0.4))
    low, high = found.interval()
    assert low <= -0.8
    assert high >= 0.8


def test_batches_are_as_one():
    """Memory stays bounded: many units are resampled in parts."""
    changes, weights = np.random.default_rng(0).normal(size=3000), np.ones(3000)
    means, errors = bootstrap(changes[:, None], weights, 0)
    assert len(means) == len(errors) == RESAMPLES
    assert np.std(means) == pytest.approx(np.std(changes) / math.sqrt(3000), rel=0.03)
    assert np.mean(errors) == pytest.approx(np.std(changes) / math.sqrt(3000), rel=0.03)


@pytest.mark.parametrize(("some", "others"), [(30, 50), (5, 200), (200, 5)])
def test_shuffles_agree_with_scipy(some, others):
    rng = np.random.default_rng(0)
    one, other = rng.exponential(1.2, some), rng.exponential(1.0, others)
    expected = scipy.stats.permutation_test(
        (one, other), lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis), vectorized=True,
        alternative="greater", n_resamples=20_000, rng=rng,
    ).pvalue  # fmt: skip
    assert p_shuffled(one, other, 0) == pytest.approx(expected, abs=0.015)
    assert p_shuffled(one[::-1], other, 0) == p_shuffled(one, other, 0)


def test_shuffles_of_right_answers_are_fishers_exact_test():
    one, other = np.repeat([1.0, 0.0], [12, 8]), np.repeat([1.0, 0.0], [10, 20])
    expected = scipy.stats.fisher_exact([[12, 8], [10, 20]], alternative="greater").pvalue
    assert p_shuffled(one, other, 0) == pytest.approx(expected, abs=0.01)


def test_resamples_are_those_that_a_generator_draws_whether_they_are_kept_or_not(monkeypatch):
    """Of 300 units, by rows and kept, and by the definition: which units each resample holds."""
    generator = np.random.default_rng(5)
    values = generator.normal(size=(300, 2))
    drawn = np.random.default_rng(7).integers(0, 300, (resampling.RESAMPLES, 300))
    expected = np.stack([values[row].mean(axis=0) for row in drawn])
    means, errors = resampling.bootstrap(values, np.ones(300), 7)
    assert means == pytest.approx(expected, abs=1e-12)
    again, same = resampling.bootstrap(values, np.ones(300), 7)
    monkeypatch.setattr(resampling, "_MOST_KEPT", 0)
    afresh, too = resampling.bootstrap(values, np.ones(300), 7)
    assert all(np.array_equal(each, means) for each in (again, afresh))
    assert all(np.array_equal(each, errors) for each in (same, too))


def test_no_more_resamples_are_kept_than_memory_is_set_aside_for(monkeypatch):
    monkeypatch.setattr(resampling, "_kept", {})
    monkeypatch.setattr(resampling, "_MOST_KEPT", 100 * resampling.RESAMPLES)
    for units in (40, 50, 30, 101):
        resampling.bootstrap(np.ones((units, 1)), np.ones(units), 0)
    assert list(resampling._kept) == [(50, 0), (30, 0)]


@pytest.mark.parametrize(("largest", "unit"), [(1, 1), (55_001, 1), (2**24 + 1, 1), (10, 0.3)])
def test_sums_of_resamples_are_exact(largest, unit):
    """Whole numbers of which float32 holds every sum are multiplied as such, all others as float64."""
    columns = unit * np.random.default_rng(0).integers(0, largest, (301, 2), endpoint=True).astype(np.float64)
    columns[0] = unit * largest
    expected = np.concatenate(list(resampling._drawn(301, 7))).astype(np.float64) @ columns
    assert resampling._multiplied(resampling._drawn(301, 7), columns) == pytest.approx(expected, rel=1e-14)
