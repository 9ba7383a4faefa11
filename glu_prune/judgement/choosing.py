"""Chooses the cheapest of several prunings that keeps what is to be kept, with an error rate that is guaranteed.

The items are split once. On the first half every candidate gets a p-value against "it loses too much", and those on the
front of p-value and cost are put in order, from the safest to the cheapest. On the other half they are tested in that
order, each at the full level, and nothing is tested after the first that fails. So the probability that any that
passes loses too much is at most the level, however many there are and however the order was found.

Source: Angelopoulos et al. (2021), Learn then Test, arXiv:2110.01052 (fixed sequences); Laufer-Goldshtein et al.
(2022), Pareto Testing, arXiv:2210.07913 (the order from a half of its own).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from glu_prune.judgement.verdict import one_sided
from glu_prune.statistics.contrasts import Contrast

T = TypeVar("T")
FINALISTS = 6
"""At most so many are tested: each takes a run of the second half."""
HOPELESS = 0.5
"""A candidate with a larger p-value on the first half lost more than the margin there."""


@dataclass(frozen=True)
class Kept:
    """What one capability lost, beside what it may lose."""

    change: Contrast
    """Of the candidate from the dense model."""
    margin: float
    better: int
    """+1 where more is better, -1 where less is."""

    @property
    def p(self) -> float:
        """One-sided, against a loss of the margin or more."""
        return one_sided(self.change, self.better, -self.margin)

    @property
    def p_lost(self) -> float:
        """One-sided, against a loss of the margin or less."""
        return one_sided(self.change, -self.better, self.margin)


def p_of(kept: Mapping[str, Kept]) -> float:
    """Against "some capability loses its margin or more": all must be shown to lose less, each at the full level.

    Source: Berger (1982), Technometrics 24, 295-300 (intersection-union tests).
    """
    return max(each.p for each in kept.values())


@dataclass(frozen=True)
class Candidate(Generic[T]):
    """A pruning, its p-value on the first half, and what it costs."""

    arm: T
    p: float
    cost: float


def in_order(candidates: Iterable[Candidate[T]], most: int = FINALISTS) -> list[Candidate[T]]:
    """Those that no other beats in both p-value and cost, from the safest to the cheapest, and at most so many.

    Of more, the ends and what lies evenly between them.
    """
    front: list[Candidate[T]] = []
    for each in sorted(candidates, key=lambda each: (each.cost, each.p)):
        if each.p <= HOPELESS and (not front or each.p < front[-1].p):
            front.append(each)
    front.reverse()
    if len(front) <= most:
        return front
    places = dict.fromkeys(round(place * (len(front) - 1) / (most - 1)) for place in range(most))
    return [front[place] for place in places]


def certified(order: Sequence[T], p: Callable[[T], float], level: float) -> tuple[list[T], T | None]:
    """(those that pass, the one that does not): tested in their order, each at `level`, none after one that fails."""
    passed: list[T] = []
    for each in order:
        if p(each) > level:
            return passed, each
        passed.append(each)
    return passed, None
