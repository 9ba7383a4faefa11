"""How two short series go together: coefficients, without tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from glu_prune.errors import EvaluationError

LEAST_POINTS = 3
"""Of a trend: two points are always on a line."""


@dataclass(frozen=True)
class Correlation:
    """Of two series: along a line, and in rank. Each from -1 to 1; 0 where a series is constant."""

    pearson: float
    spearman: float


def correlation(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Pearson's and Spearman's coefficient of two series.

    Raises:
        EvaluationError: there are fewer than 3 points, or numbers that cannot be used.
    """
    import pandas as pd  # tables need it in any case; scipy.stats takes most of a second to import

    if len(x) != len(y) or len(x) < LEAST_POINTS:
        msg = f"a correlation needs two series of the same {LEAST_POINTS} or more points; found {len(x)} and {len(y)}"
        raise EvaluationError(msg)
    if not all(map(math.isfinite, (*x, *y))):
        msg = "a correlation needs finite numbers; found one that is not"
        raise EvaluationError(msg)
    if min(len(set(x)), len(set(y))) == 1:
        return Correlation(0.0, 0.0)
    both = pd.DataFrame({"x": x, "y": y})
    return Correlation(*(float(each.corr().to_numpy()[0, 1]) for each in (both, both.rank())))
