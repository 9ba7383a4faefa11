"""One case per model, ratio and claim about energy, speed, latency or memory."""

from collections.abc import Callable

from glu_prune.judgement.expectation import Case, EfficiencyCase


def test_efficiency(glu_efficiency: EfficiencyCase, glu_check: Callable[[Case], None]) -> None:
    """The verdict on the claim is the one that its expectation file declares."""
    glu_check(glu_efficiency)
