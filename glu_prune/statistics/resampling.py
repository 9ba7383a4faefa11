"""Paired values of any kind: sign flips and a bootstrap-t test no difference, the latter all others, too."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from glu_prune.statistics.contrasts import CoherentContrast, Side, smallest_possible_p

Array = NDArray[np.float64]
Counts = NDArray[np.uint8]

RESAMPLES = 9999
_EXACT_UNITS = 13
"""Up to so many changed units all sign flips are tried: 2 ** 13 are fewer than `RESAMPLES`."""
_CELLS = 2_000_000
"""How many numbers a batch holds at once."""
_NEAR = 100_000
"""How many of them are drawn, or multiplied, at once: few enough for a processor's own memory."""
_EXACT = 2**24
"""Whole numbers below this, and their sums if these are below it, are exact as float32."""
_MOST_KEPT = 256 * 2**20
"""Bytes of resamples that are kept for the next one that needs them."""
_ALIKE = 8
"""From so many units for each value on, values are dealt by how often they occur."""
_RANKS = np.arange(1, RESAMPLES + 1) / (RESAMPLES + 1)
_FAR = 1e100
"""Student's t of a resample without spread."""


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
    """Whether values are logarithms without bounds."""
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
        # Sign flips are exact where each unit could as well have come out the other way round; the bootstrap-t speaks
        # of the mean, also of units that are skewed. What both show holds either way. Of a dozen units a bootstrap
        # knows too little to be asked. Flips are symmetric, so half of the two-sided p belongs to each side; p of the
        # other side is what is left when the sums beyond the observed one are taken off.
        as_extreme, beyond = self._flips
        flips = as_extreme / 2 if side == self.sign and self._mean > 0 else 1 - beyond / 2
        few = np.count_nonzero(self.changes) <= _EXACT_UNITS
        return flips if few else max(flips, self._bootstrap_p(side, 0.0))

    def _p_elsewhere(self, side: Side, shift: float) -> float:
        if self._unchanged:
            return float(np.clip(1 + side * shift / self.max_difference, 0, 1) ** self.units)
        return max(self._bootstrap_p(side, shift), self._smallest_p)

    def _limits(self, tail: float) -> tuple[float, float]:
        if self._unchanged:
            rare = self.max_difference * (1 - tail ** (1 / self.units))
            return -rare, rare
        # So far out, resamples say nothing: no limit is claimed short of what is possible.
        if tail < self._smallest_p:
            return -self.max_difference, self.max_difference
        low, high = (self._mean - self._pivot(share) * self.standard_error for share in (1 - tail, tail))
        low, high = max(low, -self.max_difference), min(high, self.max_difference)
        return (low, high) if self.sign == 1 else (-high, -low)

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
    def _pivots(self) -> Array:
        """(RESAMPLES,), sorted: Student's t of each resample about the mean."""
        return _sorted_pivots(self.changes.tobytes(), self.weights.tobytes(), self.seed)

    def _pivot(self, share: float) -> float:
        return float(np.quantile(self._pivots, share, method="weibull"))

    def _bootstrap_p(self, side: Side, shift: float) -> float:
        """At which tail the limit on `side` would be `shift`.

        Source: Hall (1988), Ann. Statist. 16, 927-953; Efron & Tibshirani (1993), An Introduction to the Bootstrap,
        section 12.5.
        """
        surplus = self._mean - self.sign * shift
        if self.standard_error == 0:
            return 0.5 if abs(surplus) <= self._rounding else float(side * self.sign * surplus < 0)
        if math.isinf(self.standard_error):
            return 0.5
        below = float(np.interp(surplus / self.standard_error, self._pivots, _RANKS))
        return 1 - below if side == self.sign else below


class ResampledLevel(ResampledMeans):
    """The weighted mean of values from 0 on: to be below a bound, it must be so with one more unit like the largest.

    Of skewed values the largest are rare, and where they are missing, both the mean and its standard error look too
    small: the bootstrap-t alone calls a mean at the bound smaller in up to 8 % of runs, at any number of units that
    benchmarks have. One unit more is the remedy of adding a success to a proportion (Agresti & Coull 1998).
    """

    @cached_property
    def _with_unseen(self) -> ResampledMeans:
        largest = int((self.changes - self._mean * self.weights).argmax())
        changes, weights = (np.append(each, each[largest]) for each in (self.changes, self.weights))
        return ResampledMeans(changes, weights, self.sign, self.max_difference, self.ratio, self.seed, self.test)

    def _p_elsewhere(self, side: Side, shift: float) -> float:
        if side == 1 or not self.changes.any():
            return super()._p_elsewhere(side, shift)
        return self._with_unseen._p_elsewhere(side, shift)

    def _limits(self, tail: float) -> tuple[float, float]:
        low, high = super()._limits(tail)
        return low, self._with_unseen._limits(tail)[1] if self.changes.any() else high


@lru_cache(maxsize=256)
def _sorted_pivots(changes: bytes, weights: bytes, seed: int) -> Array:
    """Those of one comparison, by its numbers as float64: the dense model is held against its floors at every ratio."""
    return np.sort(pivots(np.frombuffer(changes)[:, None], np.frombuffer(weights), seed)[:, 0])


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
    tosses = _every_toss(len(changed)) if exact else _tosses(len(changed), seed)
    sums = np.abs(2 * _multiplied(tosses, changed) - changed.sum())
    as_extreme, beyond = int((sums >= observed - rounding).sum()), int((sums > observed + rounding).sum())
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


def _every_toss(units: int) -> Iterator[Counts]:
    """One batch, (2 ** units, units)."""
    yield (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(np.uint8)


def _tosses(units: int, seed: int) -> Iterator[Counts]:
    """Batches, (resamples, units), of 0 and 1."""
    generator = np.random.default_rng(seed)
    for count in _batches(units):
        packed = np.frombuffer(generator.bytes(count * -(-units // 8)), np.uint8).reshape(count, -1)
        yield np.unpackbits(packed, axis=1, count=units)


def p_shuffled(some: Array, others: Array, seed: int) -> float:
    """One-sided p against "`some` are no more than `others`": how often values dealt anew give them as much.

    Source: Pitman (1937), J. R. Stat. Soc. Suppl. 4, 119-130; Phipson & Smyth (2010), arXiv:1603.05766.
    """
    generator, every = np.random.default_rng(seed), np.sort(np.concatenate([some, others]))
    observed = math.fsum(some) - 1e-12 * float(np.abs(every).sum())
    values, counts = np.unique(every, return_counts=True)
    if len(values) * _ALIKE <= len(every):  # right answers are few values: what is dealt of each is drawn at once
        dealt = generator.multivariate_hypergeometric(counts, len(some), RESAMPLES, method="marginals")
        as_much = int((dealt @ values >= observed).sum())
    else:
        as_much = sum(
            int((generator.permuted(np.tile(every, (n, 1)), axis=1)[:, : len(some)].sum(axis=1) >= observed).sum())
            for n in _batches(len(every))
        )
    return (as_much + 1) / (RESAMPLES + 1)


def pivots(changes: Array, weights: Array, seed: int) -> Array:
    """(RESAMPLES, series): Student's t of each resample about the mean of all units, for `changes` (units, series).

    One resample of the units serves all series, so that these depend on each other as they do in the units.
    """
    means, errors = bootstrap(changes, weights, seed)
    total = math.fsum(weights)
    rounding = 1e-12 * np.abs(changes).sum(axis=0) / weights.sum()
    centre = np.array([math.fsum(series) / total for series in changes.T])
    away = means - np.where(np.abs(centre) > rounding, centre, 0.0)
    away = np.where(np.abs(away) <= rounding, 0.0, away)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(errors > rounding, away / errors, np.sign(away) * _FAR)
    return np.clip(found, -_FAR, _FAR)


def bootstrap(changes: Array, weights: Array, seed: int) -> tuple[Array, Array]:
    """(RESAMPLES, series) each: means of resampled units, each with all that belongs to it, and their standard errors.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapters 13 and 14.
    """
    units, series = changes.shape
    sizes = weights[:, None]
    columns = np.concatenate([changes, sizes, changes**2, changes * sizes, sizes**2], axis=1)
    sums = _multiplied(_resamples(units, seed), columns)
    ends = [series, series + 1, 2 * series + 1, 3 * series + 1]
    of_changes, total, of_squares, of_products, of_weights = np.split(sums, ends, axis=1)
    mean = of_changes / total
    squares = np.maximum(of_squares - 2 * mean * of_products + mean**2 * of_weights, 0.0)
    return mean, np.sqrt(squares * units / max(1, units - 1)) / total


_kept: dict[tuple[int, int], list[Counts]] = {}
"""Batches of resamples by number of units and seed: most comparisons of a session are of as many items."""


def _resamples(units: int, seed: int) -> Iterable[Counts]:
    """Batches, (resamples, units), of how often each unit was drawn."""
    if units * RESAMPLES > _MOST_KEPT:
        return _drawn(units, seed)
    key = units, seed
    if key not in _kept:
        while _kept and sum(each * RESAMPLES for each, _ in (*_kept, key)) > _MOST_KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = list(_drawn(units, seed))
    return _kept[key]


def _drawn(units: int, seed: int) -> Iterator[Counts]:
    generator = np.random.default_rng(seed)
    for count in _batches(units, _NEAR):
        drawn = generator.integers(0, units, (count, units))
        drawn += units * np.arange(count)[:, None]
        # No unit is drawn more than 255 times: of so few units there are no more draws, and else chance does not do it.
        yield np.bincount(drawn.ravel(), minlength=count * units).reshape(count, units).astype(np.uint8)


def _multiplied(batches: Iterable[Counts], columns: Array) -> Array:
    """`counts @ columns` of all rows of `batches`. Right answers are whole numbers, which take half the time."""
    units = len(columns)
    whole = np.array_equal(columns, np.rint(columns))
    exact = whole and units * np.abs(columns).max(initial=0) < _EXACT
    kind = np.dtype(np.float32 if exact else np.float64)
    step, multiplied = max(1, _NEAR // max(1, units)), columns.astype(kind)
    parts = [
        counts[row : row + step].astype(kind) @ multiplied for counts in batches for row in range(0, len(counts), step)
    ]
    return np.concatenate(parts, dtype=np.float64)


def _batches(units: int, cells: int = _CELLS) -> Iterator[int]:
    size = max(1, cells // units)
    for done in range(0, RESAMPLES, size):
        yield min(size, RESAMPLES - done)
