"""Before a run: the smallest effect and the smallest margin that so many units show, if they vary as a pilot's do."""

import math
from collections.abc import Callable

import numpy as np

from glu_prune.statistics.comparison import Contrast, units_needed
from glu_prune.statistics.contrasts import Side, smallest_possible_p
from glu_prune.statistics.proportions import PairedProportions, chance_to_decide
from glu_prune.statistics.resampling import RESAMPLES, ResampledMeans

POWER = 0.8
"""Probability with which an effect is to be found, if nothing else is said."""
_TINIEST, _LARGEST = 0.1, 1000.0
"""Standard errors between which an effect is looked for that would be found."""
_HALVINGS = 14
"""Steps of a search by halves: its error is 1e-4 of where it began."""
_MOST_TIMES = 1 << 10
"""So many times the units, and no more, are tried."""


def smallest_found(
    c: Contrast, alpha: float, power: float = POWER, units: int | None = None, side: Side | None = None
) -> float | None:
    """The smallest effect that a one-sided test at `alpha` finds with `power` in `units`, if they vary as these do.

    At the least it is that of as many changes as show something, all one way, each as large as those seen (1 where
    none was). None where units do not tell.

    Args:
        c: A pilot: its spread counts, not its difference.
        alpha: Level of the one-sided test.
        power: Probability.
        units: How many there will be; as many as in the pilot if absent.
        side: 1 for a difference above 0, -1 for one below; skewed units do not show both alike. The larger if absent.

    Source: for right-or-wrong items `chance_to_decide`, where besides the changes that were seen, which balance, items
    change that make the effect; else `items_needed`, solved for the effect, and for few changes, the exact test of
    their signs and their Poisson distribution; for skewed units Hall (1988), Ann. Statist. 16, 927-953.
    """
    from scipy.optimize import brentq
    from scipy.special import gammaincinv

    units = units or c.units
    if not math.isfinite(c.standard_error) or _smallest_p(c, units) > alpha:
        return None
    spread = c.standard_error * math.sqrt(c.units)
    if isinstance(c, PairedProportions):
        return _least(lambda gap: _loss_found(units, spread**2, gap, alpha) >= power, 1.0)
    size, unchanged = _changes(c)
    least = float(gammaincinv(math.ceil(-math.log2(alpha)), power)) / units * size
    if spread == 0:
        return least if least <= 1 else None

    def lacking(gap: float) -> float:
        # An effect on units that did not change before makes them vary more.
        wider = math.sqrt(spread**2 + gap * size * unchanged)
        return units_needed(c, wider, gap, alpha, power) - units - 0.5

    error = spread / math.sqrt(units)
    low, high = _TINIEST * error, _LARGEST * error
    if lacking(high) > 0:
        return None
    longer = max(_skewed(c, alpha, power, units, each) for each in ((1, -1) if side is None else (side,)))
    return max(least, longer * float(brentq(lacking, low, high, rtol=1e-3)))


def smallest_margin(c: Contrast, alpha: float, power: float = POWER, units: int | None = None) -> float | None:
    """The smallest margin within which two one-sided tests at `alpha` show no change, if in truth there is none.

    As `smallest_found`, of which it takes the arguments; None where no margin would do.

    Source: for right-or-wrong items `chance_to_decide`; else Julious (2004), Stat. Med. 23, 1921-1986, equation 21
    (equivalence, where the difference is 0).
    """
    from scipy.special import stdtrit

    units = units or c.units
    if not math.isfinite(c.standard_error) or _smallest_p(c, units) > alpha:
        return None
    spread = c.standard_error * math.sqrt(c.units)
    if isinstance(c, PairedProportions):
        changed = spread**2
        return _least(lambda margin: chance_to_decide(units, changed / 2, changed / 2, alpha, margin) >= power, 1.0)
    if spread == 0:
        return float(1 - alpha ** (1 / units))  # the rule of three, as `ResampledMeans` has it
    # Unchanged units tell a bootstrap nothing of the spread: it knows as much as so many changed ones do.
    freedom = max(1.0, units * (1 - _changes(c)[1]) - 1)
    quantiles = stdtrit(freedom, 1 - alpha) + stdtrit(freedom, (1 + power) / 2)
    return float(quantiles) * spread / math.sqrt(units)


def units_enough(enough: Callable[[int], bool], units: int) -> int | None:
    """The smallest number of units, from `units` on, at which `enough` holds, as it does from there on.

    To one percent; None if it does not hold at a thousand times as many.
    """
    low = high = max(1, units)
    while not enough(high):
        low, high = high, 2 * high
        if high > _MOST_TIMES * max(1, units):
            return None
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _loss_found(units: int, changed: float, loss: float, alpha: float) -> float:
    """How often a loss is found, where a share of items changes besides, half of it for the better."""
    every = min(1.0, changed + loss)
    return chance_to_decide(units, (every - loss) / 2, (every + loss) / 2, alpha)


def _least(holds: Callable[[float], bool], most: float) -> float | None:
    """The smallest number up to `most` from which on `holds`; None if it does not at `most`."""
    if not holds(most):
        return None
    low, high = 0.0, most
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _skewed(c: Contrast, alpha: float, power: float, units: int, side: Side) -> float:
    """How many times as large an effect on `side` must be, since a bootstrap-t allows for the skew of the units."""
    from scipy.special import ndtri

    if not isinstance(c, ResampledMeans):
        return 1.0
    away = c.sign * (c.changes - c.changes.mean())
    tilt = side * float(np.mean(away**3) / np.mean(away**2) ** 1.5) / math.sqrt(units)
    critical, rest = float(ndtri(1 - alpha)), float(ndtri(power))
    # The critical value of Student's t by Cornish and Fisher; and the standard error varies with the mean.
    reached = critical - tilt * (2 * critical**2 + 1) / 6
    wobble = math.sqrt(max(0.0, 1 - tilt * critical))
    times = max(0.5, (reached + rest * wobble) / (critical + rest))
    return times if c.ratio else max(1.0, times)  # where units do not change, sign flips are the stricter


def _smallest_p(c: Contrast, units: int) -> float:
    """The smallest one-sided p that so many units can give, by their signs or by resampling."""
    resampled = 1 / (RESAMPLES + 1) if isinstance(c, ResampledMeans) else 0.0
    return max(smallest_possible_p(units), resampled)


def _changes(c: Contrast) -> tuple[float, float]:
    """The root mean square of what changed, in units of the effect, 1 if nothing did; and the share of unchanged units.

    What is known of no single unit counts as if all had changed.
    """
    if not isinstance(c, ResampledMeans):
        return 1.0, 0.0
    changes = c.changes[c.changes != 0] / c.weights.mean()
    return float(np.sqrt(np.mean(changes**2))) if len(changes) else 1.0, 1 - len(changes) / c.units
