"""Whether two short series move together, or one rises or falls throughout: exact permutation tests of few points."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from glu_prune.errors import EvaluationError

Array = NDArray[np.float64]

EXACT_POINTS = 8
"""Up to so many points all pairings are tried: 8! are 40,320."""
PAIRINGS = 9999
_SEED = 20251222
_ROUNDING = 1e-9

Features = Callable[[Array], Array]
"""From series, (orders, points), to vectors whose cosine is the coefficient."""


@dataclass(frozen=True)
class Association:
    """How two series go together, and how rarely they would if either were in random order."""

    name: str
    coefficient: float
    """From -1 to 1; 0 where a series is constant."""
    p: float
    """Two-sided: twice the smaller tail."""
    smallest_p: float
    """The smallest p that any order of these points can give."""
    points: int


@dataclass(frozen=True)
class Correlation:
    """Whether two series move together: along a line, and in rank."""

    pearson: Association
    spearman: Association


def correlation(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Pearson's and Spearman's correlation of two series, with permutation p-values.

    Raises:
        EvaluationError: there are fewer than 3 points, or numbers that cannot be used.

    Source: Pitman (1937), Suppl. J. R. Stat. Soc. 4, 225-232.
    """
    one, other = _series(x, y)
    return Correlation(_associate("Pearson", _centred, one, other), _associate("Spearman", _ranks, one, other))


def monotone(x: Sequence[float], y: Sequence[float]) -> Association:
    """Kendall's tau-b, by which `y` rises or falls with `x`, however much each time: the Mann-Kendall trend test.

    Raises:
        EvaluationError: there are fewer than 3 points, or numbers that cannot be used.

    Source: Mann (1945), Econometrica 13, 245-259; ties: Kendall (1945), Biometrika 33, 239-251.
    """
    return _associate("Kendall", _signs, *_series(x, y))


def _series(x: Sequence[float], y: Sequence[float]) -> tuple[Array, Array]:
    one, other = np.asarray(x, float), np.asarray(y, float)
    if len(one) != len(other) or len(one) < 3:
        msg = f"a trend needs two series of the same 3 or more points; found {len(one)} and {len(other)}"
        raise EvaluationError(msg)
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        msg = "a trend needs finite numbers; found one that is not"
        raise EvaluationError(msg)
    return one, other


def _centred(series: Array) -> Array:
    # What is left of a constant series is rounding; divided by its own length it would look like a trend.
    centred = series - series.mean(axis=1, keepdims=True)
    return np.where(np.abs(centred) > _ROUNDING * np.abs(series).max(), centred, 0.0)


def _ranks(series: Array) -> Array:
    from scipy.stats import rankdata

    return _centred(rankdata(series, axis=1))


def _signs(series: Array) -> Array:
    """(orders, pairs of points): 1 where the later one is higher, -1 where it is lower."""
    earlier, later = np.triu_indices(series.shape[1], k=1)
    return np.sign(series[:, later] - series[:, earlier])


def _associate(name: str, features: Features, x: Array, y: Array) -> Association:
    """The coefficient of the series as given, with its place among those of all orders."""
    # With 7 ratios there are 5,040 orders: exact p-values are cheap, and no approximation holds for so few points. How
    # small p can become at all is kept too, because a short series may be unable to decide anything.
    coefficients = _cosines(features(x[None])[0], features(y[_orders(len(y))]))
    return Association(
        name=name,
        coefficient=float(coefficients[0]),
        p=_two_sided(coefficients, coefficients[0], coefficients[0]),
        smallest_p=_two_sided(coefficients, coefficients.max(), coefficients.min()),
        points=len(x),
    )


def _orders(points: int) -> NDArray[np.intp]:
    """(orders, points): all of them if points are few, else a seeded sample; the first is as given."""
    if points <= EXACT_POINTS:
        return np.array(list(itertools.permutations(range(points))))
    given = np.arange(points)
    drawn = np.random.default_rng(_SEED).permuted(np.tile(given, (PAIRINGS, 1)), axis=1)
    return np.vstack([given, drawn])


def _cosines(one: Array, others: Array) -> Array:
    """Of one vector and many of equal length; 0 where either has no length."""
    lengths = np.linalg.norm(one) * np.linalg.norm(others[0])
    return np.clip(others @ one / lengths, -1, 1) if lengths > 0 else np.zeros(len(others))


def _two_sided(coefficients: Array, high: float, low: float) -> float:
    """Twice the smaller of the shares at `high` or above, and at `low` or below."""
    above, below = (coefficients >= high - _ROUNDING).mean(), (coefficients <= low + _ROUNDING).mean()
    return min(1.0, 2 * float(min(above, below)))
