"""One case per model, ratio and claim: what does pruning do to a capability?"""

from collections.abc import Callable

from glu_prune import Case


def test_direction(glu_case: Case, glu_check: Callable[[Case], None]) -> None:
    """The verdict on the claim is the one that its expectation file declares."""
    glu_check(glu_case)
