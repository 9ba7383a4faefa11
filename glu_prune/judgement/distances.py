"""How far a pruned model is from the dense one, beyond its score: answers that are other ones, and other predictions.

Equal scores hide both: a model that gets other items wrong, or the same ones in another way, is another model.

Source: Dutta et al. (2024), Accuracy is Not All You Need, arXiv:2407.09141 (flips, and Kullback-Leibler divergence).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from glu_prune.experiment.record import Record
from glu_prune.judgement.scores import SEED
from glu_prune.judgement.verdict import ALPHA, digits
from glu_prune.results.base import Outcome
from glu_prune.statistics.comparison import Contrast, items_needed_against, level

Distance = Literal["flips", "kl"]

UNITS: Mapping[Distance, str] = {"flips": "of the answers are other ones", "kl": "nats per token"}
"""What the figure of each distance is, in words that follow it."""


@dataclass(frozen=True)
class ItemDistances:
    """How far a pruned model is from the dense one on each item."""

    values: Sequence[float]
    """1 where the answer is another one, else 0; or nats per token."""
    weights: Sequence[float]
    """1, or the item's tokens."""
    clusters: Sequence[str] | None
    """The source that each item shares with others; None where items are independent."""

    def level(self, distance: Distance) -> Contrast:
        """Their mean, to be compared with bounds."""
        share = distance == "flips"
        return level(self.values, self.weights, clusters=self.clusters, share=share, seed=SEED)


@dataclass(frozen=True)
class DistanceVerdict:
    """What the items say about one claim that a distance is at most so large."""

    capability: str
    distance: Distance
    claim: str
    outcome: Outcome
    value: float
    """A share of items, or nats per token: the weighted mean over items."""
    low: float
    high: float
    """95 % interval of `value`."""
    at_most: float
    p: float
    """One-sided, against "it is at least `at_most`"; of one that is refuted, against "it is at most that"."""
    tests: int
    """Ratios at which the claim is made: `p` times this is compared with 0.05."""
    test: str
    items: int
    needed: int | None = None
    """If inconclusive: how many more items would decide at 80 % power, should the distance be as large as observed."""
    note: str = ""
    reasons: tuple[str, ...] = ()
    """What led to the outcome beside the numbers above."""

    @property
    def sentence(self) -> str:
        """The verdict and the numbers that led to it, for people."""
        times = f" x {self.tests} tests" if self.tests > 1 else ""
        numbers = (
            f"{self.capability} {self.distance} {self.claim}: {self.outcome}. {digits(self.value)} "
            f"{UNITS[self.distance]} (95 % interval {digits(self.low)} to {digits(self.high)}) over {self.items} "
            f"items; {self.test} p = {self.p:.2g}{times}"
        )
        return "; ".join([numbers, *self.reasons])


def flips(dense: Record, pruned: Record, cluster: str | None = None) -> ItemDistances | None:
    """Which answers of two records of the same items are other ones, wrong to wrong included; None without answers.

    `cluster` is the document field that names the source which items share.
    """
    changed = [float(one != other) for one, other in zip(dense.answers, pruned.answers, strict=True)]
    return ItemDistances(changed, [1.0] * len(changed), dense.clusters(cluster)) if changed else None


def settle_distance(found: Contrast, at_most: float, tests: int) -> tuple[Outcome, float, int | None]:
    """(outcome, p, more items that would decide) of "at most", by a one-sided test each way at 0.05 over `tests`.

    No floor and no control has a say: what is far from the dense model is far, whatever else is.
    """
    p, above = found.p_less(at_most), found.p_greater(at_most)
    if p * tests <= ALPHA:
        return "confirmed", p, None
    if above * tests <= ALPHA:
        return "refuted", above, None
    total = items_needed_against(found, at_most, ALPHA / tests)
    return "inconclusive", p, None if total is None else max(1, total - found.units)
