"""One case per model, ratio and claim about a distance: how far is the pruned model from the dense one?"""

from collections.abc import Callable

from glu_prune import Case


def test_distance(glu_distance: Case, glu_check: Callable[[Case], None]) -> None:
    """The verdict on the claim is the one that its expectation file declares."""
    glu_check(glu_distance)
