"""Right-or-wrong items: of two arms McNemar tests no difference, Tango's score every other; of one, the binomial."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache
from typing import Literal

from glu_prune.statistics.contrasts import CoherentContrast, OneSidedTests, Side, smallest_possible_p

_EDGE = 1e-12
"""How close to -1, 1 and the observed difference limits are looked for."""
_MOST_UNITS = 1 << 40
"""More units than any benchmark has; a bound that takes more to tell from the share takes too many."""
_RARE = 1e-6
"""Numbers of changed items beyond which so little of their distribution lies are left out."""


@dataclass(frozen=True)
class PairedProportions(CoherentContrast):
    """The difference of two paired proportions."""

    gained: int
    """Items right in the first arm only."""
    lost: int
    """Items right in the second arm only."""
    units: int
    test: str = "exact McNemar"

    @property
    def difference(self) -> float:
        """The proportion of the first arm minus that of the second."""
        return (self.gained - self.lost) / self.units

    @property
    def standard_error(self) -> float:
        """That of the observed proportions; 0 where no item changed."""
        return math.sqrt((self.gained + self.lost) / self.units - self.difference**2) / math.sqrt(self.units)

    def p_two_sided(self) -> float:
        """How often the changed items would split so unevenly, were both ways as likely.

        Source: McNemar (1947), Psychometrika 12, 153-157; exact form: a binomial test on the discordant pairs.
        """
        return _binomial(self.gained, self.lost, "two-sided")

    def _p_at_zero(self, side: Side) -> float:
        return _binomial(self.gained, self.lost, "greater" if side == 1 else "less")

    def _p_elsewhere(self, side: Side, shift: float) -> float:
        # The score test is asymptotic and may promise more than any data of so few items can: hence the lower bound.
        from scipy.special import ndtr

        return max(
            float(ndtr(-side * tango_z(self.gained, self.lost, self.units, shift))), smallest_possible_p(self.units)
        )

    def _limits(self, tail: float) -> tuple[float, float]:
        if tail < smallest_possible_p(self.units):
            return -1.0, 1.0
        return tango_interval(self.gained, self.lost, self.units, 1 - 2 * tail)


@cache
def _binomial(gained: int, lost: int, alternative: Literal["two-sided", "greater", "less"]) -> float:
    from scipy.special import bdtr, bdtrc

    changed = gained + lost
    if alternative == "two-sided":  # both tails of Binomial(n, 1/2) are alike
        return min(1.0, 2 * float(bdtr(min(gained, lost), changed, 0.5))) if changed else 1.0
    if alternative == "less":
        return float(bdtr(gained, changed, 0.5)) if changed else 1.0
    return float(bdtrc(gained - 1, changed, 0.5)) if gained else 1.0


def tango_z(gained: int, lost: int, units: int, shift: float) -> float:
    """The score statistic of the hypothesis that the difference is `shift`; it falls as `shift` grows.

    Source: Tango (1998), Stat. Med. 17, 891-908.
    """
    # Unlike Wald's, which takes the observed variance and finds an interval of no width where no item changed, a score
    # test takes the variance that the hypothesis implies. `only_second` is the maximum likelihood estimate, under the
    # hypothesis, of the share of items that only the second arm gets right: the root of a quadratic equation.
    if abs(shift) >= 1:
        return -math.copysign(math.inf, shift)
    linear = (2 * units - gained + lost) * shift - gained - lost
    root = math.sqrt(max(0.0, linear**2 + 8 * units * lost * shift * (1 - shift)))
    only_second = (root - linear) / (4 * units)
    variance = units * (2 * only_second + shift * (1 - shift))
    surplus = gained - lost - units * shift
    return surplus / math.sqrt(variance) if variance > 0 else surplus and math.copysign(math.inf, surplus)


def tango_interval(gained: int, lost: int, units: int, confidence: float) -> tuple[float, float]:
    """All differences that the score test does not reject; of some width even where no item changed.

    Source: Tango (1998), Stat. Med. 17, 891-908; recommended by Fagerland, Lydersen & Laake (2014), Stat. Med. 33,
    2850-2875.
    """
    return -_upper_limit(lost, gained, units, confidence), _upper_limit(gained, lost, units, confidence)


def _upper_limit(gained: int, lost: int, units: int, confidence: float) -> float:
    from scipy.optimize import brentq
    from scipy.special import ndtri

    tail = float(ndtri((1 - confidence) / 2))
    start = (gained - lost) / units + _EDGE
    if start >= 1 - _EDGE:
        return 1.0
    return float(brentq(lambda shift: tango_z(gained, lost, units, shift) - tail, start, 1 - _EDGE))


@dataclass(frozen=True)
class Share(OneSidedTests):
    """The share of independent units that have something, as a difference from none; its tests are exact.

    Source: Clopper & Pearson (1934), Biometrika 26, 404-413.
    """

    count: int
    """Units that have it."""
    units: int
    test: str = "exact binomial"

    @property
    def difference(self) -> float:
        """The observed share."""
        return self.count / self.units

    @property
    def standard_error(self) -> float:
        """That of the observed share; 0 where no unit or every unit has it."""
        return math.sqrt(self.difference * (1 - self.difference) / self.units)

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """All shares that neither one-sided test rejects at (1 - confidence) / 2."""
        from scipy.special import betaincinv

        tail, others = (1 - confidence) / 2, self.units - self.count
        low = float(betaincinv(self.count, others + 1, tail)) if self.count else 0.0
        high = float(betaincinv(self.count + 1, others, 1 - tail)) if others else 1.0
        return low, high

    def units_needed(self, bound: float, alpha: float, power: float = 0.8) -> int | None:
        """How many units in all show at `alpha` on which side of `bound` the share is, should it be the observed one.

        None where no number does. By the exact power of the test, which goes up and down with single units.
        """
        if self.difference == bound:
            return None
        few, many = 0, 1
        while self._power(many, bound, alpha) < power:
            few, many = many, 2 * many
            if many > _MOST_UNITS:
                return None
        while many - few > 1:
            middle = (few + many) // 2
            few, many = (few, middle) if self._power(middle, bound, alpha) >= power else (middle, many)
        return many

    def _power(self, units: int, bound: float, alpha: float) -> float:
        """How often so many units, of which the observed share has it, reject `bound` in favour of its side."""
        from scipy.stats import binom

        if self.difference < bound:
            last = binom.ppf(alpha, units, bound)  # the smallest count that is not too rare, or exactly as rare
            last -= binom.cdf(last, units, bound) > alpha
            return float(binom.cdf(last, units, self.difference))
        first = binom.isf(alpha, units, bound)  # counts beyond it are rare enough
        return float(binom.sf(first, units, self.difference))

    def _one_sided(self, side: Side, shift: float) -> float:
        from scipy.special import bdtr, bdtrc

        if side == 1:
            return float(bdtrc(self.count - 1, self.units, shift)) if self.count else 1.0
        return float(bdtr(self.count, self.units, shift))


def chance_to_decide(units: int, gained: float, lost: float, alpha: float, margin: float = 0.0) -> float:
    """How often so many items show at `alpha`, one-sided, that the first arm is worse; exact.

    With a `margin`, how often two one-sided tests show that it changes by less than that, either way.

    Args:
        units: Items, independent of each other.
        gained: Share of items that are right in the first arm only.
        lost: Share of items that are right in the second arm only.
        alpha: Level of each one-sided test.
        margin: 0 for the test of no difference.

    Source: Duffy (1984), Biometrics 40, 1005-1015 (power given the number of changed items, averaged over it).
    """
    import numpy as np
    from scipy.stats import binom

    changed = min(1.0, gained + lost)
    share = gained / changed if changed else 0.5
    fewest, most = binom.ppf(_RARE, units, changed), binom.isf(_RARE, units, changed)
    numbers = np.arange(int(fewest), int(most) + 1)
    limits = np.array([_most_gained(int(number), units, alpha, margin) for number in numbers])
    decided = binom.cdf(limits, numbers, share)
    if margin:  # the other test is this one with gains and losses exchanged
        decided = np.maximum(0.0, decided - binom.cdf(numbers - limits - 1, numbers, share))
    return float(binom.pmf(numbers, units, changed) @ decided)


def _most_gained(changed: int, units: int, alpha: float, shift: float) -> int:
    """The most items, of those that changed, that may be gained where "less than `shift`" is shown; -1 if none may."""

    def p(gained: int) -> float:
        return PairedProportions(gained, changed - gained, units).p_less(shift)

    return bisect_right(range(changed + 1), alpha, key=p) - 1
