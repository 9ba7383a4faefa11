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
