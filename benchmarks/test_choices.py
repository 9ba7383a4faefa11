"""One case per choice: is there a pruning that keeps what is to be kept, and is it the one that is known?"""

from collections.abc import Callable

from glu_prune import Case


def test_choice(glu_choice: Case, glu_check: Callable[[Case], None]) -> None:
    """The choice is the one that its expectation file declares."""
    glu_check(glu_choice)
