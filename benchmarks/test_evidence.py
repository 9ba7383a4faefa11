"""One case per model and check of published figures: is the measurement itself sound?"""

from collections.abc import Callable

from glu_prune import Case


def test_evidence(glu_evidence: Case, glu_check: Callable[[Case], None]) -> None:
    """The check finds what the expectation file says that it finds, or nothing."""
    glu_check(glu_evidence)
