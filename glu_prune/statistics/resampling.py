"""Paired values of any kind: sign flips test no difference, a BCa bootstrap tests all others."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from glu_prune.statistics.contrasts import CoherentContrast, Side, smallest_possible_p

Array = NDArray[np.float64]

RESAMPLES = 9999
_EXACT_UNITS = 13
"""Up to so many changed units all sign flips are tried: 2 ** 13 are fewer than `RESAMPLES`."""
_CELLS = 2_000_000
"""How many numbers a batch of resamples holds at once."""
_RANKS = np.arange(1, RESAMPLES + 1) / (RESAMPLES + 1)
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class ResampledMeans(CoherentContrast):
    """The difference of two weighted means over units that were sampled independently."""

    # Seeded resampling depends on the order and the sign of its data. Changes are therefore sorted, and held such that
    # their sum is not negative: neither the order of the items nor which arm comes first changes any answer.

    changes: Array
    """(units,): the weighted sum of first minus second, times `sign`."""
    weights: Array
    """(units,)."""
    sign: Side
    """-1 where the first arm has the lower mean."""
    max_difference: float
    """The largest difference there can be; infinite for values without bounds."""
    ratio: bool
    """Whether values are logarithms without bounds, so that only their mean is tested, also at 0."""
    seed: int
    test: str

    @property
    def units(self) -> int:
        """How many there are."""
        return len(self.changes)

    @property
    def difference(self) -> float:
        """The weighted mean of first minus second."""
        return self.sign * self._mean

    @property
    def standard_error(self) -> float:
        """Of a ratio of two sums over units.

        Source: Cochran (1977), Sampling Techniques.
        """
        if self.units == 1:
            return math.inf
        residuals = self.changes - self._mean * self.weights
        error = math.sqrt(float(residuals @ residuals) * self.units / (self.units - 1)) / float(self.weights.sum())
        return error if error > self._rounding else 0.0

    def _p_at_zero(self, side: Side) -> float:
        if self.ratio:
            return self._p_elsewhere(side, 0.0)
        # Sign flips are symmetric, so half of the two-sided p belongs to each side; p of the other side is what is left
        # when the sums beyond the observed one are taken off.
        as_extreme, beyond = self._flips
        return as_extreme / 2 if side == self.sign and self._mean > 0 else 1 - beyond / 2

    def _p_elsewhere(self, side: Side, shift: float) -> float:
        if self._unchanged:
            return float(np.clip(1 + side * shift / self.max_difference, 0, 1) ** self.units)
        return max(self._bca_p(side, shift), self._smallest_p)

    def _limits(self, tail: float) -> tuple[float, float]:
        if self._unchanged:
            rare = self.max_difference * (1 - tail ** (1 / self.units))
            return -rare, rare
        # So far out, resamples say nothing: no limit is claimed short of what is possible.
        if tail < self._smallest_p:
            return -self.max_difference, self.max_difference
        return self._bca_limit(1, tail), self._bca_limit(-1, tail)

    @property
    def _unchanged(self) -> bool:
        """Whether a bootstrap would know nothing: bounded values, none of which changed.

        Changes of the largest size in a share s of all units go unseen with probability (1 - s) ** units.

        Source: Hanley & Lippman-Hand (1983), JAMA 249, 1743-1745 (the rule of three).
        """
        return not self.ratio and not self.changes.any()

    @property
    def _smallest_p(self) -> float:
        return max(smallest_possible_p(self.units), 1 / (RESAMPLES + 1))

    @cached_property
    def _mean(self) -> float:
        mean = math.fsum(self.changes) / math.fsum(self.weights)
        return mean if abs(mean) > self._rounding else 0.0

    @cached_property
    def _flips(self) -> tuple[float, float]:
        return sign_flips(self.changes, self.seed)

    @cached_property
    def _rounding(self) -> float:
        return 1e-12 * float(np.abs(self.changes).sum() / self.weights.sum())

    @cached_property
    def _means(self) -> Array:
        # Sums in another order differ in the last bits; what equals the mean must equal it, or ties would be counted
        # as above or below by chance.
        means = bootstrap_means(self.changes, self.weights, self.seed)
        means[np.abs(means - self._mean) <= self._rounding] = self._mean
        return means

    @cached_property
    def _bias(self) -> float:
        # The share of resamples below the observed mean, ties by half; 1/2 where the bootstrap is unbiased.
        from scipy.special import ndtri

        below = np.searchsorted(self._means, self._mean, "left") + np.searchsorted(self._means, self._mean, "right")
        return float(ndtri((below + 1) / (2 * RESAMPLES + 2)))

    @cached_property
    def _skew(self) -> float:
        """The acceleration, from leaving out one unit at a time; never beyond 1/6."""
        if self.units == 1:
            return 0.0
        without = (self.changes.sum() - self.changes) / (self.weights.sum() - self.weights)
        deviations = without.mean() - without
        spread = float(deviations @ deviations) ** 1.5
        varied = np.abs(deviations).max() > self._rounding
        return float((deviations**3).sum() / spread / 6) if varied else 0.0

    def _seen_from(self, side: Side) -> tuple[Array, float, float]:
        """Sorted bootstrap means, bias and acceleration, of the difference times `side`."""
        if side == self.sign:
            return self._means, self._bias, self._skew
        return -self._means[::-1], -self._bias, -self._skew

    def _bca_p(self, side: Side, shift: float) -> float:
        """At which tail the limit of `_bca_limit` would be `shift`."""
        from scipy.special import ndtri, stdtr

        means, bias, skew = self._seen_from(side)
        offset = ndtri(np.interp(side * shift, means, _RANKS)) - bias
        quantile = offset / max(_TINY, 1 + skew * offset) - bias
        return float(stdtr(self.units - 1, quantile / self._widening)) if self.units > 1 else 0.5

    def _bca_limit(self, side: Side, tail: float) -> float:
        """Times `side`: the lower limit of the difference times `side`.

        Quantiles of Student's t mend that a bootstrap of few units is too narrow.

        Source: Efron (1987), JASA 82, 171-185; Hesterberg (2015), arXiv:1411.5279.
        """
        from scipy.special import ndtr, stdtrit

        means, bias, skew = self._seen_from(side)
        offset = bias + self._widening * stdtrit(self.units - 1, tail)
        level = ndtr(bias + offset / max(_TINY, 1 - skew * offset))
        return side * float(np.quantile(means, level, method="weibull"))

    @property
    def _widening(self) -> float:
        return math.sqrt(self.units / (self.units - 1))


def sign_flips(changes: Array, seed: int) -> tuple[float, float]:
    """How likely a sum at least as far from 0 as this one is, and one farther, were each unit's sign a coin toss.

    All tosses are tried where few units changed; else `RESAMPLES` seeded ones and the observed one.

    Source: Fisher (1935), The Design of Experiments, section 21; Phipson & Smyth (2010), arXiv:1603.05766; Hoeffding
    (1963), JASA 58, 13-30, theorem 2.
    """
    changed = changes[changes != 0]
    # Under "no difference" each unit could as well have come out the other way round. Units that did not change have
    # no sign to flip. The observed assignment counts as one of the tosses, so p is never 0.
    exact = len(changed) <= _EXACT_UNITS
    observed, rounding = abs(math.fsum(changed)), 1e-12 * float(np.abs(changed).sum())
    as_extreme = beyond = 0
    for heads in _every_toss(len(changed)) if exact else _tosses(len(changed), seed):
        sums = np.abs(2 * (heads @ changed) - changed.sum())
        as_extreme += int((sums >= observed - rounding).sum())
        beyond += int((sums > observed + rounding).sum())
    if exact:
        return as_extreme / 2 ** len(changed), beyond / 2 ** len(changed)
    # 10,000 tosses cannot tell p = 1e-5 from 1e-50, and correcting for many claims multiplies the smallest p they can
    # give. Hoeffding's inequality holds for any sum of bounded terms, so where it is smaller it is a valid p, too.
    if not as_extreme:
        return min(1 / (RESAMPLES + 1), _rarer_than(changed)), 0.0
    return (as_extreme + 1) / (RESAMPLES + 1), beyond / (RESAMPLES + 1)


def _rarer_than(changes: Array) -> float:
    """A probability that a sum of random signs, at least as far from 0 as this one, does not exceed."""
    largest = np.abs(changes).max()
    scaled = changes / largest  # squares of subnormal numbers would be 0
    return 2 * math.exp(-(math.fsum(scaled) ** 2) / (2 * float(scaled @ scaled)))


def _every_toss(units: int) -> Iterator[Array]:
    """One batch, (2 ** units, units)."""
    yield (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(np.float64)


def _tosses(units: int, seed: int) -> Iterator[Array]:
    """Batches, (resamples, units), of 0 and 1."""
    generator = np.random.default_rng(seed)
    for count in _batches(units):
        packed = np.frombuffer(generator.bytes(count * -(-units // 8)), np.uint8).reshape(count, -1)
        yield np.unpackbits(packed, axis=1, count=units).astype(np.float64)


def bootstrap_means(changes: Array, weights: Array, seed: int) -> Array:
    """(RESAMPLES,), sorted: the mean of resampled units, each with all that belongs to it.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapters 13 and 14.
    """
    generator = np.random.default_rng(seed)
    both = changes + 1j * weights  # as one complex array, both are gathered and summed in one pass
    sums = np.concatenate(
        [both[generator.integers(0, len(both), (count, len(both)))].sum(axis=1) for count in _batches(len(both))]
    )
    return np.sort(sums.real / sums.imag)


def _batches(units: int) -> Iterator[int]:
    size = max(1, _CELLS // units)
    for done in range(0, RESAMPLES, size):
        yield min(size, RESAMPLES - done)
