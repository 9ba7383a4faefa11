"""Two arms compared: the method that fits their values, how many units would have been enough, and many claims at once.

scipy and numpy do the arithmetic; this file chooses the test.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from glu_prune.errors import EvaluationError
from glu_prune.statistics.anytime import AnytimeContrast, AsymptoticSequence, BettingEProcess, boundary
from glu_prune.statistics.contrasts import Contrast, OneSidedTests, Side
from glu_prune.statistics.proportions import PairedProportions, Share
from glu_prune.statistics.resampling import ResampledLevel, ResampledMeans

__all__ = ["Contrast", "contrast", "holm", "items_needed", "items_needed_against", "level", "units_needed", "unpaired"]

Array = NDArray[np.float64]
_STEPS = 20
"""Steps of a search whose error shrinks at least tenfold with each."""
_SURE = 1e6
"""Ratio of standard errors from which the smaller one adds nothing."""


def contrast(
    first: Sequence[float],
    second: Sequence[float],
    weights: Sequence[float],
    *,
    clusters: Sequence[str] | None = None,
    ratio: bool = False,
    bounded: bool = True,
    anytime: bool = False,
    heaviest: float = 0.0,
    seed: int,
) -> Contrast:
    """First minus second, on the same items in the same order.

    Args:
        first: Values of one arm.
        second: Values of the other.
        weights: How much each item counts; items that count nothing are left out.
        clusters: The name of the cluster of each item; items of one cluster depend on each other. Without it every
            item is independent.
        ratio: Whether values are nats per unit and `weights` units, so that the difference is a logarithm of a ratio.
        bounded: Whether no value can differ by more than 1, or by more than the largest and smallest here do; if not,
            few units leave the interval open.
        anytime: Whether p-values and intervals must hold however often one looks while units come in; see `anytime`.
        heaviest: With `anytime`: the most that an item still to come may count; 0 where none counts more than these.
        seed: Of whatever is resampled.

    Raises:
        EvaluationError: lengths differ, there is no item, or a value or weight cannot be used.
    """
    one, other, counts = (np.asarray(each, float) for each in (first, second, weights))
    names = np.arange(len(one)) if clusters is None else np.asarray(clusters)
    _refuse_unusable(one, other, counts, len(names))
    used = counts > 0
    one, other, counts, names = one[used], other[used], counts[used], names[used]
    clustered = len(np.unique(names)) < len(names)
    values = np.concatenate([one, other])
    if anytime:
        within = bounded and not ratio and bool((values >= 0).all() and (values <= 1).all())
        return _anytime((one - other) * counts, counts, names, within, heaviest)
    if not (ratio or clustered) and (counts == counts[0]).all() and np.isin(values, (0.0, 1.0)).all():
        return PairedProportions(gained=int((one > other).sum()), lost=int((one < other).sum()), units=len(one))
    max_difference = math.inf if ratio or not bounded else max(1.0, float(np.ptp(values)))
    return _resampled((one - other) * counts, counts, names, max_difference, ratio=ratio, seed=seed)


def level(
    values: Sequence[float], weights: Sequence[float], *, clusters: Sequence[str] | None = None, share: bool, seed: int
) -> Contrast:
    """The weighted mean of values that are not negative, to be compared with bounds.

    Exact where it is a share of independent items; else by the bootstrap-t over items or clusters (`ResampledLevel`).

    Args:
        values: One per item; 0 or 1 where the mean is a share.
        weights: How much each item counts.
        clusters: As `contrast` takes them.
        share: Whether the mean is a share of items that count alike.
        seed: Of whatever is resampled.

    Raises:
        EvaluationError: lengths differ, there is no item, or a value or weight cannot be used.
    """
    found = contrast(values, [0.0] * len(values), weights, clusters=clusters, ratio=not share, seed=seed)
    if isinstance(found, PairedProportions):
        return Share(found.gained, found.units)
    assert isinstance(found, ResampledMeans)
    over = f" over {found.units} clusters" if found.units < len(values) else ""
    parts = (found.changes, found.weights, found.sign, found.max_difference, found.ratio, found.seed)
    return ResampledLevel(*parts, test=f"bootstrap-t{over}")


def _resampled(
    parts: Array, counts: Array, names: NDArray[np.generic], max_difference: float, *, ratio: bool, seed: int
) -> ResampledMeans:
    """Sign flips and the bootstrap, over items or clusters of them."""
    # Third powers break the tie of a sum of 0, so that exchanging the arms also exchanges the sign there.
    sign: Side = -1 if (math.fsum(parts), math.fsum(parts**3)) < (0, 0) else 1
    changes, sizes = by_unit(np.stack([sign * parts, counts], axis=1), names).T.copy()
    over = f" over {len(sizes)} clusters" if len(sizes) < len(counts) else ""
    return ResampledMeans(
        changes=changes,
        weights=sizes,
        sign=sign,
        max_difference=max_difference,
        ratio=ratio,
        seed=seed,
        test=f"sign-flip permutation{over}",
    )


def _anytime(
    parts: Array, counts: Array, names: NDArray[np.generic], within: bool, heaviest: float
) -> BettingEProcess | AsymptoticSequence:
    """Bets, which are exact, for items scored from 0 to 1; the asymptotic sequence for clusters and all others."""
    changes, sizes = by_unit(np.stack([parts, counts], axis=1), names).T.copy()
    if within and len(sizes) == len(counts):
        return BettingEProcess(changes / sizes, sizes / max(heaviest, float(sizes.max())))
    found = AsymptoticSequence(changes, sizes, max_difference=1.0 if within else math.inf)
    return replace(found, test=f"{found.test} over {len(sizes)} clusters") if len(sizes) < len(counts) else found


def _refuse_unusable(one: Array, other: Array, weights: Array, names: int) -> None:
    lengths = (len(one), len(other), len(weights), names)
    if len(set(lengths)) > 1:
        msg = "paired arms need as many values, weights and clusters each; found {}, {}, {} and {}".format(*lengths)
        raise EvaluationError(msg)
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        msg = "paired arms need finite values; found one that is not"
        raise EvaluationError(msg)
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        msg = "paired arms need at least one item that counts, and no weight below 0"
        raise EvaluationError(msg)


def by_unit(columns: Array, names: NDArray[np.generic]) -> Array:
    """(units, n): sums of `columns` (items, n) over clusters, in an order that does not depend on that of the items."""
    order = np.lexsort(columns.T[::-1])
    _, unit = np.unique(names[order], return_inverse=True)
    sums: Array = np.stack([np.bincount(unit, column) for column in columns[order].T], axis=1).astype(float)
    return sums[np.lexsort(sums.T[::-1])]


@dataclass(frozen=True)
class _Unpaired(OneSidedTests):
    """The difference of two independent, normal estimates."""

    difference: float
    standard_error: float
    units: int
    freedom: float = math.inf
    """Degrees of freedom of the standard error."""

    @property
    def test(self) -> str:
        """By the normal distribution, or by Student's where few units tell the standard error."""
        return "unpaired z" if math.isinf(self.freedom) else "unpaired t"

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """The difference and as many standard errors on either side as the confidence takes."""
        from scipy.special import ndtri, stdtrit

        level = (1 + confidence) / 2
        quantile = ndtri(level) if math.isinf(self.freedom) else stdtrit(self.freedom, level)
        half = float(quantile) * self.standard_error
        return self.difference - half, self.difference + half

    def _one_sided(self, side: Side, shift: float) -> float:
        from scipy.special import ndtr, stdtr

        surplus = side * (self.difference - shift)
        if self.standard_error == 0:
            return 0.0 if surplus > 0 else 1.0
        away = -surplus / self.standard_error
        return float(ndtr(away) if math.isinf(self.freedom) else stdtr(self.freedom, away))


def unpaired(
    first: float, first_se: float, second: float, second_se: float, units: int, first_freedom: float = math.inf
) -> Contrast:
    """First minus second, from independent estimates with their standard errors; `units` in all.

    `first_freedom` are the degrees of freedom of the first standard error, where few units told it; those of the
    difference follow from it.

    Source: Welch (1947), Biometrika 34, 28-35.

    Raises:
        EvaluationError: a number is not finite, or a standard error below 0.
    """
    if not all(map(math.isfinite, (first, first_se, second, second_se))) or min(first_se, second_se) < 0:
        msg = f"two estimates need finite standard errors; found {first} +- {first_se} and {second} +- {second_se}"
        raise EvaluationError(msg)
    error = math.hypot(first_se, second_se)
    freedom = first_freedom * min(error / first_se, _SURE) ** 4 if first_se > 0 else math.inf
    return _Unpaired(first - second, error, units, freedom)


def items_needed(c: Contrast, gap: float, alpha: float, power: float = 0.8) -> int | None:
    """How many units in all a one-sided test at `alpha` needs to see an effect of size `gap`, if they vary as these do.

    None where no number is enough, or where the units do not say how much they vary.

    Source: Connor (1987), Biometrics 43, 207-211, which holds as well for sign flips: both take the variance about 0
    for that of no effect. Correction of counts: Casagrande, Pike & Smith (1978), Biometrics 34, 483-486. For tests that
    hold at any number of units, their critical value at that number stands in place of the normal quantile.
    """
    spread = c.standard_error * math.sqrt(c.units)
    return units_needed(c, spread, gap, alpha, power) if 0 < gap < math.inf and 0 < spread < math.inf else None


def items_needed_against(c: Contrast, bound: float, alpha: float, power: float = 0.8) -> int | None:
    """How many units in all a one-sided test at `alpha` needs to see on which side of `bound` the difference is.

    None where no number is enough, or where the units do not say how much they vary.
    """
    if isinstance(c, Share):
        return c.units_needed(bound, alpha, power)
    return items_needed(c, abs(bound - c.difference), alpha, power)


def units_needed(c: Contrast, spread: float, gap: float, alpha: float, power: float) -> int:
    """`items_needed` of units with another spread than those of `c`, a standard deviation."""
    from scipy.special import ndtri

    def total(critical: float) -> float:
        return float((critical * math.hypot(spread, gap) + ndtri(power) * spread) / gap) ** 2

    # The critical value of a sequential test depends on the number of units, which depends on it: a fixed point.
    needed = total(ndtri(1 - alpha))
    if isinstance(c, AnytimeContrast):
        for _ in range(_STEPS):
            needed = total(boundary(alpha, max(needed, 1.0)))
    if isinstance(c, PairedProportions):  # an exact test of counts uses up less than its level
        needed *= (1 + math.sqrt(1 + 4 / (needed * gap))) ** 2 / 4
    return math.ceil(max(needed, -math.log2(alpha)))  # fewer signs than -log2(alpha) cannot reach alpha at all


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """p-values, adjusted for there being several: that one of the rejected is true has the level's probability at most.

    Args:
        p_values: One for each claim that was run.
        family: How many claims were made, if more; those not run count as if their p were 1.

    Source: Holm (1979), Scand. J. Stat. 6, 65-70.
    """
    claims = len(p_values) if family is None else family
    if claims < len(p_values):
        msg = f"a family of {claims} claims cannot have {len(p_values)} p-values"
        raise EvaluationError(msg)
    if not all(0 <= p <= 1 for p in p_values):
        msg = "a p-value lies from 0 to 1; found one that does not"
        raise EvaluationError(msg)
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    # The running maximum keeps the order of the p-values: a claim is not rejected after a smaller p was not.
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (claims - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted
