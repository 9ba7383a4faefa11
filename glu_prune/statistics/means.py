"""Means of weighted items."""

import math
from collections.abc import Sequence


def mean(values: Sequence[float], weights: Sequence[float]) -> float:
    """Of values that count as much as their weights say."""
    return math.fsum(value * weight for value, weight in zip(values, weights, strict=True)) / math.fsum(weights)


def mean_or_none(values: Sequence[float | None], weights: Sequence[float]) -> float | None:
    """As `mean`; None if a value is missing or all weights are 0."""
    known = [value for value in values if value is not None]
    return mean(known, weights) if len(known) == len(values) and any(weights) else None


def spread(values: Sequence[float], weights: Sequence[float]) -> float:
    """A standard deviation such that, divided by the root of the number of items, it is the mean's standard error.

    In the unit of the values; for weighted means, that of a ratio of sums. NaN for a single item.

    Source: Cochran, Sampling Techniques (1977), equation 6.13.
    """
    size, total, centre = len(values), math.fsum(weights), mean(values, weights)
    if size < 2:
        return math.nan
    pairs = zip(values, weights, strict=True)
    squares = math.fsum((weight * size / total * (value - centre)) ** 2 for value, weight in pairs)
    return math.sqrt(squares / (size - 1))


def standard_error(values: Sequence[float], weights: Sequence[float]) -> float:
    """Of the weighted mean, in the unit of the values; NaN for a single item."""
    return spread(values, weights) / math.sqrt(len(values))


def student_interval(values: Sequence[float], confidence: float = 0.95) -> list[float]:
    """[mean, lower limit, upper limit] of repeated measurements, by Student's t; all three the same for a single one.

    Source: Georges, Buytaert & Eeckhout (2007), OOPSLA, 57-76 (repeated measurements of performance).
    """
    centre = math.fsum(values) / len(values)
    if len(values) == 1:
        return [centre] * 3
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * standard_error(values, [1.0] * len(values))
    return [centre, centre - half, centre + half]
