"""Paired statistics: two arms answered the same items, so items are compared with themselves.

scipy and numpy do the arithmetic; this file only says which test is asked what.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

RESAMPLES = 9999
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Paired:
    """Values of two arms on the same items, in the same order, and how much each item counts."""

    dense: Array
    pruned: Array
    weights: Array

    @property
    def difference(self) -> float:
        """Weighted mean of pruned minus that of dense."""
        return float(np.average(self.pruned - self.dense, weights=self.weights))

    @property
    def binary(self) -> bool:
        """Whether every value is 0 or 1 and every item counts the same."""
        values = np.concatenate([self.dense, self.pruned])
        return bool(np.isin(values, (0.0, 1.0)).all() and (self.weights == self.weights[0]).all())


def pair(dense: Sequence[float], pruned: Sequence[float], weights: Sequence[float]) -> Paired:
    """Sequences of one length as arrays."""
    return Paired(np.asarray(dense, float), np.asarray(pruned, float), np.asarray(weights, float))


def mcnemar(paired: Paired) -> float:
    """Two-sided exact McNemar test: the chance of so uneven a split of the changed items, were both ways as likely.

    Source: McNemar (1947), Psychometrika 12, 153-157; exact form: a binomial test on the discordant pairs.
    """
    from scipy.stats import binomtest

    gained = int(((paired.pruned == 1) & (paired.dense == 0)).sum())
    lost = int(((paired.pruned == 0) & (paired.dense == 1)).sum())
    return 1.0 if gained + lost == 0 else float(binomtest(gained, gained + lost).pvalue)


def sign_flip(paired: Paired, seed: int) -> float:
    """Two-sided permutation test of the weighted mean difference: under no effect, each item's sign is a coin toss.

    `RESAMPLES` seeded tosses; the p-value counts the observed one, so it is never below 1 / (RESAMPLES + 1).

    Source: Fisher (1935), The Design of Experiments, section 21; Phipson & Smyth (2010), arXiv:1603.05766.
    """
    parts = (paired.pruned - paired.dense) * paired.weights
    generator = np.random.default_rng(seed)
    signs = generator.integers(0, 2, (RESAMPLES, len(parts)), dtype=np.int8).astype(np.float32) * 2 - 1
    extreme = np.abs(signs @ parts.astype(np.float32)) >= np.abs(parts.sum()) * (1 - 1e-6)
    return float((1 + extreme.sum()) / (1 + RESAMPLES))


def p_value(paired: Paired, seed: int) -> tuple[float, str]:
    """The two-sided p-value of no difference, and its test: exact McNemar for binary items, else sign flips."""
    return (mcnemar(paired), "exact McNemar") if paired.binary else (sign_flip(paired, seed), "sign-flip permutation")


def interval(paired: Paired, seed: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Percentile bootstrap interval of the difference, resampling items with all that belongs to them.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.
    """
    generator = np.random.default_rng(seed)
    count = len(paired.weights)
    drawn = generator.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)
    means = (drawn @ ((paired.pruned - paired.dense) * paired.weights)) / (drawn @ paired.weights)
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
