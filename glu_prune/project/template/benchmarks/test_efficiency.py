"""One case per model, ratio and claim about energy, speed, latency or memory."""

from collections.abc import Callable

from glu_prune import Case


def test_efficiency(glu_efficiency: Case, glu_check: Callable[[Case], None]) -> None:
    """The verdict on the claim is the one that its expectation file declares."""
    glu_check(glu_efficiency)
