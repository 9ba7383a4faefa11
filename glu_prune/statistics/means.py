"""Means of weighted items."""

import math
from collections.abc import Sequence


def spread(values: Sequence[float], weights: Sequence[float]) -> float:
    """A standard deviation such that, divided by the root of the number of items, it is the mean's standard error.

    In the unit of the values; for weighted means, that of a ratio of sums. NaN for a single item.

    Source: Cochran, Sampling Techniques (1977), equation 6.13.
    """
    size, total = len(values), math.fsum(weights)
    if size < 2:
        return math.nan
    pairs = list(zip(values, weights, strict=True))
    mean = math.fsum(value * weight for value, weight in pairs) / total
    squares = math.fsum((weight * size / total * (value - mean)) ** 2 for value, weight in pairs)
    return math.sqrt(squares / (size - 1))


def standard_error(values: Sequence[float], weights: Sequence[float]) -> float:
    """Of the weighted mean, in the unit of the values; NaN for a single item."""
    return spread(values, weights) / math.sqrt(len(values))
