"""One case per claim across ratios: rising, falling, one against another, a knee, a best balance."""

from collections.abc import Callable

from glu_prune import Case


def test_trend(glu_trend: Case, glu_check: Callable[[Case], None]) -> None:
    """The verdict on the claim is the one that its expectation file declares."""
    glu_check(glu_trend)
