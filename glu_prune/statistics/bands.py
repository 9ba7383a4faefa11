"""Intervals of several differences that hold at once: at which confidence each of them must be taken."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from glu_prune.statistics.comparison import by_unit
from glu_prune.statistics.resampling import pivots

Array = NDArray[np.float64]


def independent_confidence(intervals: int, level: float = 0.95) -> float:
    """The confidence of each of several intervals that all hold at once with probability `level`, if independent.

    It suffices for normal estimates however they depend on each other.

    Source: Sidak (1967), JASA 62, 626-633.
    """
    return float(level ** (1 / intervals))


def joint_confidence(
    changes: Array,
    weights: Sequence[float],
    *,
    clusters: Sequence[str] | None = None,
    level: float = 0.95,
    seed: int,
) -> float:
    """The confidence of each of several intervals that all hold at once with probability `level`: a sup-t band.

    One resample of the units serves all series, as the same items answer in each; it is as far out as the series in
    which Student's t, with the error of the resample, is rarest. A series in which no two units differ, of which
    resamples say nothing, counts as independent of the others.

    Args:
        changes: (items, series): first minus second of each item, in each of the series.
        weights: How much each item counts; items that count nothing are left out.
        clusters: The name of the cluster of each item; without it every item is independent.
        level: The probability that all intervals hold.
        seed: Of what is resampled.

    Source: Montiel Olea & Plagborg-Moller (2019), J. Appl. Econometrics 34, 1-17; balanced, so that each interval is
    as likely to hold as any other, as in Beran (1988), JASA 83, 679-686; Student's t of each resample: Efron &
    Tibshirani (1993), An Introduction to the Bootstrap, section 12.5.
    """
    from scipy.stats import rankdata

    counts = np.asarray(weights, float)
    names = np.arange(len(counts)) if clusters is None else np.asarray(clusters)
    used = counts > 0
    parts = changes[used] * counts[used, None]
    sums = by_unit(np.column_stack([parts, counts[used]]), names[used])
    found = pivots(sums[:, :-1], sums[:, -1], seed)
    # Ranks, not t itself: where few items changed, a resample often draws none of them and has no error, so that one
    # critical value for all series would be infinite because of one of them.
    away = np.abs(2 * rankdata(found, axis=0) / (len(found) + 1) - 1)
    silent = np.ptp(found, axis=0) == 0
    away[:, silent] = np.random.default_rng(seed).random((len(found), int(silent.sum())))
    return max(level, float(np.quantile(away.max(axis=1), level, method="higher")))
