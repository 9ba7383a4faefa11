"""One case per model, ratio and claim about a distance: how far is the pruned model from the dense one?"""

from collections.abc import Callable

from glu_prune.judgement.expectation import Case, DistanceCase


def test_distance(glu_distance: DistanceCase, glu_check: Callable[[Case], None]) -> None:
    """The verdict on the claim is the one that its expectation file declares."""
    glu_check(glu_distance)
