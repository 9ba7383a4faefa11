import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.statistics.means import spread, standard_error

VALUES = st.lists(st.floats(-100, 100), min_size=2, max_size=30)


@given(VALUES, st.floats(0.1, 10))
def test_the_spread_of_equal_items_is_the_usual_one(values, weight):
    assert spread(values, [weight] * len(values)) == pytest.approx(statistics.stdev(values), abs=1e-6)


def test_one_item_has_no_spread():
    assert math.isnan(spread([1.0], [1.0]))


def test_the_spread_gives_the_standard_error_of_a_weighted_mean():
    rng = random.Random(0)
    means, errors = [], []
    for _ in range(2000):
        weights = [rng.uniform(1, 9) for _ in range(60)]
        values = [rng.gauss(3, 1) + weight / 9 for weight in weights]
        means.append(math.fsum(v * w for v, w in zip(values, weights, strict=True)) / math.fsum(weights))
        errors.append(standard_error(values, weights))
    assert statistics.mean(errors) == pytest.approx(statistics.stdev(means), rel=0.05)
