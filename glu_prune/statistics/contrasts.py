"""The questions that a comparison of two arms answers, and how a test of no difference joins a test of all others."""

from abc import ABC, abstractmethod
from typing import Literal, Protocol

Side = Literal[1, -1]
"""1 asks whether the difference is greater, -1 whether it is less."""


class Contrast(Protocol):
    """First minus second, with its uncertainty."""

    @property
    def difference(self) -> float:
        """In units of the values."""

    @property
    def test(self) -> str:
        """The name of the two-sided test of no difference."""

    @property
    def units(self) -> int:
        """How many independent units there are: items, or clusters of items."""

    @property
    def standard_error(self) -> float:
        """Of the difference as observed; 0 where no two units differ, infinite where one unit cannot tell."""

    def p_two_sided(self) -> float:
        """Of no difference."""

    def p_greater(self, shift: float = 0.0) -> float:
        """One-sided, against "the difference is at most `shift`"."""

    def p_less(self, shift: float = 0.0) -> float:
        """One-sided, against "the difference is at least `shift`"."""

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """All differences that neither one-sided test rejects at (1 - confidence) / 2."""


class OneSidedTests(ABC):
    """What follows from a contrast's one-sided tests alone."""

    @abstractmethod
    def _one_sided(self, side: Side, shift: float) -> float:
        """One-sided p against "the difference is not beyond `shift` on this side"."""

    def p_two_sided(self) -> float:
        """Twice the smaller one-sided p of no difference."""
        return min(1.0, 2 * min(self.p_greater(), self.p_less()))

    def p_greater(self, shift: float = 0.0) -> float:
        """One-sided p against "the difference is at most `shift`"."""
        return self._one_sided(1, shift)

    def p_less(self, shift: float = 0.0) -> float:
        """One-sided p against "the difference is at least `shift`"."""
        return self._one_sided(-1, shift)


class CoherentContrast(OneSidedTests):
    """A contrast with one test of "no difference" and another of all other differences, joined without contradiction.

    Source: Gabriel (1969), Ann. Math. Stat. 40, 224-250 (coherence).
    """

    # Exact tests (McNemar, sign flips) exist for "no difference" only; margins and intervals need an approximate test.
    # Taken side by side, the two may contradict each other near 0: "different" by one, 0 inside the interval of the
    # other. So the exact test decides on which side of 0 a limit lies, and p grows with the shift across both.

    @abstractmethod
    def _p_at_zero(self, side: Side) -> float:
        """One-sided p of no difference."""

    @abstractmethod
    def _p_elsewhere(self, side: Side, shift: float) -> float:
        """One-sided p of the difference `shift`, by the approximate test."""

    @abstractmethod
    def _limits(self, tail: float) -> tuple[float, float]:
        """Where `_p_elsewhere` is `tail`, on either side."""

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """All differences that neither one-sided test rejects at (1 - confidence) / 2."""
        tail = (1 - confidence) / 2
        low, high = self._limits(tail)
        low = max(low, 0.0) if self._p_at_zero(1) <= tail else min(low, 0.0)
        high = min(high, 0.0) if self._p_at_zero(-1) <= tail else max(high, 0.0)
        return low + 0.0, high + 0.0  # a limit of -0.0 is 0.0

    def _one_sided(self, side: Side, shift: float) -> float:
        at_zero = self._p_at_zero(side)
        if shift == 0:
            return at_zero
        there = self._p_elsewhere(side, shift)
        return max(there, at_zero) if side * shift > 0 else min(there, at_zero)


def smallest_possible_p(units: int) -> float:
    """The smallest one-sided p that `units` signs can give: all on one side, where both are equally likely."""
    return float(0.5**units)
