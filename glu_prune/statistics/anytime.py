"""Two arms compared by tests that stay valid however often one looks: e-processes, and the p-values they give.

An e-process starts at 1 and, where the hypothesis is true, is not expected to grow; so the probability that it ever
reaches 1 / alpha is alpha at most (Ville's inequality). One over its value is therefore a p-value at whatever number of
units one stops. Both kinds here are mixtures over bets that are fixed beforehand, so neither the order of the units nor
the number of looks changes the result.

Source: Ramdas, Gruenwald, Vovk & Shafer (2023), Stat. Sci. 38, 576-601.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from glu_prune.statistics.contrasts import OneSidedTests, Side

Array = NDArray[np.float64]

MIN_UNITS = 32
"""Fewer units tell too little of their own variance for a test that rests on it: they decide nothing."""
_BETS = 0.99 * 2.0 ** (-np.arange(16) / 2)
"""Shares of the capital, from nearly all to half a percent: each suits effects that differ by a factor of two."""
_TIGHTEST = 128
"""Units at which the asymptotic sequence is about as tight as it can be."""
_SCALE = 8 / _TIGHTEST
"""Variance of the mixed effects, in units of the variance of one unit.

Source: Waudby-Smith et al. (2024), section 2.4: (2 log(1/a) + log(2 log(1/a) + 1)) / t, which is 8 / t at a = 0.05."""
_EDGE = 1e-12
"""How close to its extremes a difference is looked for."""


class AnytimeContrast(OneSidedTests):
    """A contrast whose p-values hold at whatever number of units one stops, and its interval at all of them at once."""

    changes: Array
    """(units,): first minus second, weighted or not."""
    max_difference: float
    """The largest difference there can be."""

    @property
    def units(self) -> int:
        """How many there are."""
        return len(self.changes)

    @property
    @abstractmethod
    def difference(self) -> float:
        """In units of the values."""

    @abstractmethod
    def _log_evidence(self, side: Side, shift: float) -> float:
        """Logarithm of the e-process against "not beyond `shift` on this side"; it falls as the shift goes that way."""

    @abstractmethod
    def _limit(self, side: Side, tail: float) -> float:
        """The nearest difference that `side`'s test does not reject at `tail`: the lower limit for 1."""

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """All differences that neither one-sided test rejects at (1 - confidence) / 2."""
        tail = (1 - confidence) / 2
        return self._limit(1, tail) + 0.0, self._limit(-1, tail) + 0.0

    def _one_sided(self, side: Side, shift: float) -> float:
        return math.exp(min(0.0, -self._log_evidence(side, shift)))


@dataclass(frozen=True, eq=False)
class BettingEProcess(AnytimeContrast):
    """The weighted mean of differences from -`max_difference` to `max_difference`: exact at any number of units.

    Against "the mean is at most m" one stakes a share b of the capital on every unit x, or less as it weighs less than
    the heaviest there may be. With D for `max_difference`, the stake becomes (x + D) / (m + D) times what it was: as
    much on average at m, less below. The capital is the mean over the shares `_BETS`. At m = 0, with differences of -1,
    0 and 1 that weigh alike, that is (1 + b)^gained (1 - b)^lost: a test of the changed items alone, as McNemar's is.

    Source: Waudby-Smith & Ramdas (2024), J. R. Stat. Soc. B 86, 1-27; a mixture in place of their running bets, so
    that p grows with m and arms can be exchanged.
    """

    changes: Array
    """(units,): first minus second."""
    weights: Array
    """(units,): as shares of the heaviest that there may be."""
    max_difference: float = 1.0
    test: str = "betting e-process"

    @cached_property
    def difference(self) -> float:
        """The weighted mean of first minus second."""
        return math.fsum(self.changes * self.weights) / math.fsum(self.weights)

    @property
    def standard_error(self) -> float:
        """Of the weighted mean as observed; infinite for a single unit."""
        return ratio_error(self.changes * self.weights, self.weights, self.difference)

    @cached_property
    def _counted(self) -> tuple[Array, Array, Array]:
        """(kinds,) each: the differences and weights there are, and how often they occur together."""
        kinds, counts = np.unique(np.stack([self.changes, self.weights]), axis=1, return_counts=True)
        return kinds[0], kinds[1], counts.astype(float)

    def _log_evidence(self, side: Side, shift: float) -> float:
        # Many items have the same difference and weight: each kind is computed once and counted.
        values, weights, counts = self._counted
        place = side * shift + self.max_difference
        if place <= 0:  # no mean is beyond it, unless all units are at the very edge
            return math.inf if place < 0 or (side * values > -self.max_difference).any() else 0.0
        gains = weights * ((side * values + self.max_difference) / place - 1)
        # Logarithms of products of many small stakes; the mean over shares is taken by logaddexp, without overflow.
        capital = np.log1p(np.outer(_BETS, gains)) @ counts
        return float(np.logaddexp.reduce(capital)) - math.log(len(_BETS))

    def _limit(self, side: Side, tail: float) -> float:
        # The capital falls as the mean that is bet against rises, so the limit is its only crossing of 1 / tail.
        from scipy.optimize import brentq

        def surplus(shift: float) -> float:
            return self._log_evidence(side, side * shift) + math.log(tail)

        edge, centre = -self.max_difference * (1 - _EDGE), side * self.difference
        if centre <= edge or surplus(edge) <= 0:
            return -side * self.max_difference
        return side * float(brentq(surplus, edge, centre, xtol=_EDGE))


@dataclass(frozen=True, eq=False)
class AsymptoticSequence(AnytimeContrast):
    """The ratio of two sums over units of any size and range: clusters, nats per word.

    Residuals of the ratio, over their root mean square about the hypothesis, are taken as standard normal steps, whose
    mean is bet on with a half-normal mixture of variance `_SCALE`. That is valid as units become many; skewed ones take
    more.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Ann. Stat. 52, 2613-2640; self-normalisation: de la
    Pena (1999), Ann. Probab. 27, 537-564.
    """

    changes: Array
    """(units,): the weighted sum of first minus second."""
    weights: Array
    """(units,)."""
    max_difference: float = math.inf
    test: str = "asymptotic confidence sequence"

    @cached_property
    def difference(self) -> float:
        """The weighted mean of first minus second."""
        mean = math.fsum(self.changes) / math.fsum(self.weights)
        return mean if abs(mean) > self._rounding else 0.0

    @cached_property
    def standard_error(self) -> float:
        """Of the ratio as observed; infinite for a single unit."""
        error = ratio_error(self.changes, self.weights, self.difference)
        return error if error > self._rounding else 0.0

    @property
    def _rounding(self) -> float:
        return 1e-12 * float(np.abs(self.changes).sum() / self.weights.sum())

    def _log_evidence(self, side: Side, shift: float) -> float:
        surplus = side * (self.difference - shift)
        if self.units < MIN_UNITS:
            return 0.0
        # Squares about the hypothesis, not about the estimate: with few units the estimate lies close to the data by
        # construction, and the standard error about it looks too small.
        about = math.hypot(self._careful_error, surplus / math.sqrt(self.units))
        return log_mixture(surplus / about if about else 0.0, self.units)

    def _limit(self, side: Side, tail: float) -> float:
        if self.units < MIN_UNITS:
            return -side * self.max_difference
        z = boundary(tail, self.units)
        inside = 1 - z**2 / self.units
        return (
            self.difference - side * z * self._careful_error / math.sqrt(inside)
            if inside > 0
            else -side * self.max_difference
        )

    @property
    def _careful_error(self) -> float:
        """The standard error, had two more units changed by the most they can, where there is such a bound."""
        # Where changes are rare, few or none have been seen yet, and the observed variance would say that there are
        # none: the same remedy as adding two successes and failures to a proportion (Agresti & Coull 1998).
        unseen = math.sqrt(2) * self.max_difference / self.units if math.isfinite(self.max_difference) else 0.0
        return math.hypot(self.standard_error, unseen)


def ratio_error(changes: Array, weights: Array, ratio: float) -> float:
    """The standard error of a ratio of two sums over units; infinite for a single one.

    Source: Cochran (1977), Sampling Techniques.
    """
    units = len(changes)
    if units == 1:
        return math.inf
    residuals = changes - ratio * weights
    return math.sqrt(float(residuals @ residuals) * units / (units - 1)) / float(weights.sum())


def log_mixture(z: float, units: float) -> float:
    """Logarithm of the e-process against "the mean is at most 0": normal steps whose sum has the z-score `z`.

    The mixture over effects is half-normal. Source: Robbins (1970), Ann. Math. Stat. 41, 1397-1409.
    """
    from scipy.special import log_ndtr

    steps = 1 + units * _SCALE
    root = z * math.sqrt(1 - 1 / steps)
    return math.log(2) - math.log(steps) / 2 + root**2 / 2 + float(log_ndtr(root))


def boundary(alpha: float, units: float) -> float:
    """The z-score at which that e-process reaches 1 / alpha; it grows like the root of the units' logarithm."""
    from scipy.optimize import brentq

    def surplus(z: float) -> float:
        return log_mixture(z, units) + math.log(alpha)

    high = 2 * math.sqrt(2 * (math.log(2 / alpha) + math.log1p(units * _SCALE)))
    return float(brentq(surplus, 0.0, high * math.sqrt(1 + 1 / (units * _SCALE))))
