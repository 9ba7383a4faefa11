"""One value beside a sample of draws: whether it lies beyond what another draw would be."""

import math
import statistics
from collections.abc import Sequence

from glu_prune.statistics.contrasts import Side

LEAST_DRAWS = 5
"""Fewer may all lie in one of two heaps, and then seem to be all there is."""
_MOST = 1000
"""Draws that nobody makes."""


def p_beyond(differences: Sequence[float], side: Side) -> float:
    """One-sided p against "the value is another such draw", from the value minus each draw; 1 for too few.

    Source: Crawford & Howell (1998), The Clinical Neuropsychologist 12, 482-486: Student's t of one case beside a
    sample, which is the prediction interval of another draw.
    """
    from scipy.special import stdtr

    draws = len(differences)
    if draws < LEAST_DRAWS:
        return 1.0
    surplus, spread = side * statistics.fmean(differences), statistics.stdev(differences)
    if spread == 0:
        return 0.0 if surplus > 0 else 1.0
    return float(stdtr(draws - 1, -surplus / (spread * math.sqrt(1 + 1 / draws))))


def draws_needed(differences: Sequence[float], side: Side, alpha: float) -> int | None:
    """How many draws in all would show it at `alpha`, should they lie and spread as these; None if none would."""
    from scipy.special import stdtrit

    if len(differences) < LEAST_DRAWS:
        return None
    surplus, spread = side * statistics.fmean(differences), statistics.stdev(differences)
    if surplus <= 0:
        return None
    for draws in range(LEAST_DRAWS, _MOST + 1):
        if surplus >= -float(stdtrit(draws - 1, alpha)) * spread * math.sqrt(1 + 1 / draws):
            return draws
    return None


def smallest_beyond(spread: float, draws: int, alpha: float, error: float = 0.0, power: float = 0.8) -> float | None:
    """How far beyond the mean of all draws a value must lie, that so many `draws` show it at `alpha` with `power`.

    Args:
        spread: Standard deviation between draws.
        draws: How many will be drawn; None comes back for fewer than show anything.
        alpha: Level of the one-sided test of `p_beyond`.
        error: Standard error of value minus draws over items.
        power: Probability.

    Source: `p_beyond`, whose statistic has a noncentral t distribution (Johnson & Welch 1940, Biometrika 31, 362-389).
    """
    from scipy.optimize import brentq
    from scipy.special import nctdtr, stdtrit

    if draws < LEAST_DRAWS:
        return None
    wobble = math.hypot(spread / math.sqrt(draws), error)
    if wobble == 0:
        return 0.0
    critical = -float(stdtrit(draws - 1, alpha)) * spread * math.sqrt(1 + 1 / draws) / wobble

    def lacking(away: float) -> float:
        return float(nctdtr(draws - 1, away, critical)) - (1 - power)

    return wobble * float(brentq(lacking, 0.0, 2 * critical + 10))
