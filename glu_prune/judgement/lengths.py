"""What became of a score at matched length: whether a gain lies in texts that became shorter, or longer.

Text that ends earlier can be right for that alone, and some metrics like brevity, or length.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.record import Record
from glu_prune.judgement.scores import SEED, tied
from glu_prune.judgement.verdict import ALPHA, one_sided
from glu_prune.statistics.comparison import Contrast, contrast
from glu_prune.statistics.resampling import p_shuffled

Mask = NDArray[np.bool_]
_TOLERANCE = 0.05
"""Two lengths match if they differ by no more than this share of the longer one."""


@dataclass(frozen=True)
class PairedTexts:
    """A dense and a pruned record of the same items, whose answers are generated text."""

    capability: Capability
    both: tuple[Record, Record]

    @property
    def matched(self) -> Mask:
        """(items,): whether both lengths match."""
        dense, pruned = self._lengths
        found: Mask = np.abs(pruned - dense) <= _TOLERANCE * np.maximum(dense, pruned)
        return found

    @property
    def shorter(self) -> Mask:
        """(items,): whether the text became shorter than that."""
        dense, pruned = self._lengths
        return (pruned < dense) & ~self.matched

    @property
    def longer(self) -> Mask:
        """(items,): whether it became longer."""
        return ~self.shorter & ~self.matched

    @property
    def other(self) -> Mask:
        """(items,): whether it is another text."""
        return np.array([one != two for one, two in zip(*(each.outputs for each in self.both), strict=True)])

    @property
    def gains(self) -> NDArray[np.float64]:
        """(items,): how much better each item became."""
        better = 1 if self.capability.higher_is_better else -1
        dense, pruned = self._values
        return better * np.subtract(pruned, dense, dtype=np.float64)

    def change(self, chosen: Mask) -> Contrast | None:
        """Pruned minus dense over the chosen items; None where none of them counts."""
        weights = np.array(self.both[0].metrics[self.capability.metric].weights)
        if not weights[chosen].any():
            return None
        dense, pruned = (np.array(values)[chosen].tolist() for values in self._values)
        return contrast(pruned, dense, weights[chosen].tolist(), clusters=self._clusters(chosen), seed=SEED)

    def lengthened(self) -> Contrast:
        """The share of texts that became longer, minus that of those that became shorter."""
        longer, shorter = (each.astype(float).tolist() for each in (self.longer, self.shorter))
        every = np.ones(len(longer), bool)
        return contrast(longer, shorter, [1.0] * len(longer), clusters=self._clusters(every), seed=SEED)

    @property
    def _lengths(self) -> tuple[NDArray[Any], NDArray[Any]]:
        dense, pruned = self.both
        return np.array(dense.lengths), np.array(pruned.lengths)

    @property
    def _values(self) -> tuple[tuple[float, ...], list[float]]:
        dense, pruned = (record.metrics[self.capability.metric].values for record in self.both)
        return dense, tied(pruned, dense)

    def _clusters(self, chosen: Mask) -> list[str] | None:
        labels = self.both[0].clusters(self.capability.cluster)
        return None if labels is None else [labels[item] for item in np.flatnonzero(chosen)]


def length_note(capability: Capability, both: tuple[Record, Record]) -> tuple[()] | tuple[str, str]:
    """(note, reason) where a gain is shown in texts that became shorter (or longer), and not at matched length.

    More texts must have become so than the other way round, and more must have been gained there than on the other
    texts that changed; those that stayed the same could gain nothing, and are not compared. Where lengths have nothing
    to do with gains, at most one run in twenty is noted. It decides nothing.

    Source: Dubois et al. (2024), arXiv:2404.04475 (judging at equal length).
    """
    if not all(record.lengths for record in both):
        return ()
    texts = PairedTexts(capability, both)
    better = 1 if capability.higher_is_better else -1
    lengthened = texts.lengthened()
    word, moved, against = (
        ("longer", texts.longer, texts.shorter)
        if lengthened.difference > 0
        else ("shorter", texts.shorter, texts.longer)
    )
    every, there, matched = (texts.change(each) for each in (np.ones(len(moved), bool), moved, texts.matched))
    if there is None or every is None or better * every.difference <= 0 or lengthened.p_two_sided() > ALPHA:
        return ()
    if one_sided(there, better) > ALPHA or (matched and one_sided(matched, better) <= ALPHA):
        return ()
    others = texts.other & ~moved
    if others.any() and p_shuffled(texts.gains[moved], texts.gains[others], SEED) > ALPHA:
        return ()
    return f"{word} texts", (
        f"it gained where texts became more than {_TOLERANCE:.0%} {word} ({moved.sum()} of {len(moved)} items, "
        f"{against.sum()} the other way: {there.difference:+.3f} on these), and is not shown to have gained "
        f"{_at_matched(matched, int(texts.matched.sum()))}"
    )


def _at_matched(found: Contrast | None, items: int) -> str:
    if found is None:
        return "at matched length, of which there is no item"
    low, high = found.interval()
    return f"on the {items} of matched length ({found.difference:+.3f}, 95 % interval {low:+.3f} to {high:+.3f})"
