"""What was measured of one capability of one model: scores by arm, and contrasts between them.

Verdicts are reached on this, whether it comes from records (paired items) or from published figures (unpaired).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.metrics import aggregate
from glu_prune.evaluation.null_names import UNIFORM, best_floor, is_floor
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.experiment.merging import refuse_other_accelerators
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord
from glu_prune.statistics import bands, comparison
from glu_prune.statistics.comparison import Contrast

Array = NDArray[Any]
SEED = 20251222
"""Of every resampling, so that the same records give the same verdict."""


ROUNDING = 1e-5
"""Differences of one item up to this, in units of the metric, are made by arithmetic: another batch size makes them."""


COMMONEST = "its commonest answer"
"""The floor of an arm that gives one answer, whatever it is asked: what it says most often, given to all items."""


@dataclass(frozen=True)
class BesideFloor:
    """What an arm gained on the items that the floor's answers get right, and on the others; more is a higher value."""

    more_where_right: Contrast
    """Gain per item where these are right, less that where they are wrong."""
    where_wrong: Contrast
    """Gain on the items where these are wrong."""
    items_wrong: int


@dataclass(frozen=True)
class Floor:
    """What answers without content score on the items of an arm, and how the arm compares."""

    name: str
    score: float
    beyond: Contrast
    """The arm minus the floor."""
    beside: BesideFloor | None = None
    """Where the arm gained; None if that is not known, or cannot differ."""


class CapabilityScores(ABC):
    """Scores of one capability by arm. `better` is +1 where more is better, -1 where less is."""

    def __init__(self, capability: Capability) -> None:
        """`capability` says which metric, and which way is better."""
        self.capability = capability
        self.better = 1 if capability.higher_is_better else -1
        self.total_items: int | None = None
        self.reference = DENSE.label
        """What the arm is called that stands as `DENSE`, with which others are compared."""

    @property
    def complete(self) -> bool:
        """Whether no items are still to come; `total_items` is how many there are, if they are judged by subsets."""
        return self.total_items is None or self.items >= self.total_items

    @property
    def partial(self) -> bool:
        """Whether only some items were asked, and no others are to come."""
        return False

    @property
    @abstractmethod
    def items(self) -> int:
        """How many items were scored."""

    @property
    def unit(self) -> str:
        """What is independent: items, or the sources that they share."""
        return self.capability.unit(shared=False)

    @property
    @abstractmethod
    def chance(self) -> float | None:
        """What guessing scores; None where there is no such thing."""

    @abstractmethod
    def has(self, arm: Arm) -> bool:
        """Whether `arm` was measured."""

    @abstractmethod
    def score(self, arm: Arm) -> float:
        """The metric, as it is reported."""

    @abstractmethod
    def contrast(self, arm: Arm, other: Arm) -> Contrast:
        """`arm` minus `other`, in units of the metric (nats per unit for perplexities)."""

    @abstractmethod
    def combined(self, weights: Mapping[Arm, float]) -> Contrast:
        """The sum of several arms, each times its weight; the weights add up to 0. In units as `contrast`."""

    def confidence_at_once(self, arms: Sequence[Arm]) -> float:
        """The confidence at which intervals of `contrast` with the dense model hold for all `arms` at once in 95 %."""
        return bands.independent_confidence(len(arms))

    @abstractmethod
    def floors(self, arm: Arm) -> tuple[Floor, ...]:
        """What `arm` must be above, each: the best null model, and its own commonest answer; none if none is known."""

    def floor(self, arm: Arm) -> Floor | None:
        """The highest of them."""
        return max(self.floors(arm), key=lambda floor: self.better * floor.score, default=None)

    def moved(self, arm: Arm) -> tuple[int, int] | None:
        """How many items got better and worse than in the dense model; None if that is not known."""
        del arm
        return None

    def changed(self, arm: Arm) -> bool:
        """Whether anything is otherwise than in the dense model."""
        return self.contrast(arm, DENSE).difference != 0

    def remarks(self, arm: Arm) -> tuple[str, ...]:
        """What must be known about how `arm` was measured."""
        del arm
        return ()


class PairedScores(CapabilityScores):
    """Records of several arms on the same items."""

    def __init__(
        self,
        capability: Capability,
        records: Mapping[Arm, Record],
        floors: FloorRecord,
        growing_to: FloorRecord | None = None,
    ) -> None:
        """`records` hold the dense arm; `growing_to` are the floors of all items, where these are looked at on the way.

        Raises:
            EvaluationError: the records are not about the same items, lack the metric, or come from different GPUs.
        """
        super().__init__(capability)
        self.total_items = len(growing_to.items) if growing_to else None
        self._every = growing_to or floors
        self._records = records
        self._floors = floors
        refuse_other_accelerators(records.values())
        for record in records.values():
            if capability.metric not in record.metrics:
                has = ", ".join(sorted(record.metrics))
                msg = f"task {record.task} has no metric {capability.metric!r}; it has {has}"
                raise EvaluationError(msg)
            if record.items != floors.items:
                msg = f"the records of {record.arm} on {record.task} are not about the items of its floors; cannot pair"
                raise EvaluationError(msg)

    def _scores(self, arm: Arm) -> ScoreRecord:
        return self._records[arm].metrics[self.capability.metric]

    def _contrast(self, first: ScoreRecord, second: ScoreRecord) -> Contrast:
        return comparison.contrast(
            first.values,
            tied(second.values, first.values),
            first.weights,
            clusters=self.clusters,
            ratio=self.capability.logarithmic,
            anytime=self.total_items is not None,
            heaviest=self._heaviest,
            seed=SEED,
        )

    @property
    def unit(self) -> str:
        """Items, or what they are clustered by."""
        return self.capability.unit(shared=self._shared)

    @property
    def _shared(self) -> bool:
        """Whether units are sources that were found, not declared."""
        return self.clusters is not None and self.capability.cluster is None

    @cached_property
    def clusters(self) -> tuple[str, ...] | None:
        """What each item depends on: as the capability declares, else the sources that some of them share."""
        return self._records[DENSE].clusters(self.capability.cluster)

    @cached_property
    def _heaviest(self) -> float:
        """The most that any item of the task counts, whether it was answered or not; 0 if that is not known."""
        nulls = [null[self.capability.metric] for null in self._every.nulls.values() if self.capability.metric in null]
        return max((weight for null in nulls for weight in null.weights), default=0.0)

    @cached_property
    def _null(self) -> str | None:
        """The name of the null model that is best on all items: known beforehand, and the same at any look."""
        metric = self.capability.metric
        scores = {name: nulls[metric].score for name, nulls in self._every.nulls.items() if metric in nulls}
        best = best_floor(scores, higher_is_better=self.capability.higher_is_better)
        return best[0] if best else None

    @property
    def partial(self) -> bool:
        """As records say."""
        return self.total_items is None and "part" in self._records[DENSE].settings

    @property
    def items(self) -> int:
        """As many as were scored."""
        return len(self._floors.items)

    @property
    def null(self) -> tuple[str, float] | None:
        """The best null model, and what it scores."""
        name = self._null
        return None if name is None else (name, self._floors.nulls[name][self.capability.metric].score)

    @property
    def chance(self) -> float | None:
        """That of the null model that guesses, else what the capability says."""
        guess = self._floors.nulls.get(UNIFORM, {}).get(self.capability.metric)
        return guess.score if guess else self.capability.chance

    def has(self, arm: Arm) -> bool:
        """Whether there is a record."""
        return arm in self._records

    def score(self, arm: Arm) -> float:
        """As lm-eval aggregates it."""
        return self._scores(arm).score

    def contrast(self, arm: Arm, other: Arm) -> Contrast:
        """On paired items."""
        return self._contrast(self._scores(arm), self._scores(other))

    def combined(self, weights: Mapping[Arm, float]) -> Contrast:
        """Item by item, so that what an item does at several ratios is one observation."""
        values = {arm: self._scores(arm).values for arm in weights}
        reference = values[next(iter(weights))]
        parts = {arm: [weight * each for each in tied(values[arm], reference)] for arm, weight in weights.items()}
        sides = [
            [math.fsum(row) for row in zip(*(parts[arm] for arm in weights if sign * weights[arm] > 0), strict=True)]
            for sign in (1, -1)
        ]
        first = self._scores(next(iter(weights)))
        return comparison.contrast(
            sides[0],
            [-each for each in sides[1]],
            first.weights,
            clusters=self.clusters,
            ratio=self.capability.logarithmic,
            seed=SEED,
        )

    def confidence_at_once(self, arms: Sequence[Arm]) -> float:
        """By resampling the items, which answer at all ratios."""
        dense = self._scores(DENSE)
        changes = [np.subtract(tied(self._scores(arm).values, dense.values), dense.values) for arm in arms]
        return bands.joint_confidence(np.stack(changes, axis=1), dense.weights, clusters=self.clusters, seed=SEED)

    def floors(self, arm: Arm) -> tuple[Floor, ...]:
        """On the same items."""
        found, mine = [], self._scores(arm)
        if self._null is not None:
            found.append((self._null, self._floors.nulls[self._null][self.capability.metric]))
        if mine.constant:
            score = aggregate(self.capability.metric, mine.constant, mine.weights)
            found.append((COMMONEST, ScoreRecord(score=score, values=mine.constant, weights=mine.weights)))
        return tuple(
            Floor(name, scores.score, self._contrast(mine, scores), self._beside(arm, scores)) for name, scores in found
        )

    def moved(self, arm: Arm) -> tuple[int, int]:
        """Counted item by item."""
        dense = self._scores(DENSE).values
        pairs = zip(tied(self._scores(arm).values, dense), dense, strict=True)
        changes = [self.better * (after - before) for after, before in pairs]
        return sum(change > 0 for change in changes), sum(change < 0 for change in changes)

    def changed(self, arm: Arm) -> bool:
        """Any item, also where gains and losses balance."""
        return self.moved(arm) != (0, 0)

    def _beside(self, arm: Arm, floor: ScoreRecord) -> BesideFloor | None:
        """By the change of each item: its covariance with the floor's score, and its mean where that is lowest.

        The covariance over the variance is the difference of the two means where a score is 0 or 1.
        """
        if self.capability.logarithmic:
            return None
        mine = self._scores(arm)
        null, weights = np.array(floor.values), np.array(mine.weights)
        dense = self._scores(DENSE).values
        change = np.array(tied(mine.values, dense)) - np.array(dense)
        centred = null - np.average(null, weights=weights)
        variance = float(np.average(centred**2, weights=weights))
        wrong = null == (null.min() if self.better > 0 else null.max())
        if variance < ROUNDING or not (weights[wrong] > 0).any():
            return None
        spread = (change - np.average(change, weights=weights)) * centred / variance
        return BesideFloor(
            more_where_right=self._of_changes(spread * self.better, weights, slice(None)),
            where_wrong=self._of_changes(change * self.better, weights, wrong),
            items_wrong=int(wrong.sum()),
        )

    def _of_changes(self, changes: Array, weights: Array, chosen: "Array | slice") -> Contrast:
        """Whether the mean of some items' changes is 0."""
        some: list[float] = changes[chosen].tolist()
        return comparison.contrast(
            some,
            [0.0] * len(some),
            weights[chosen].tolist(),
            clusters=None if self.clusters is None else np.array(self.clusters)[chosen].tolist(),
            anytime=self.total_items is not None,
            heaviest=self._heaviest,
            seed=SEED,
        )

    def remarks(self, arm: Arm) -> tuple[str, ...]:
        """What was left out of items and prompts, and what echoing these scores, where that is more."""
        metric, record = self.capability.metric, self._records[arm]
        sample, sources = "items" in record.settings, len(set(record.sources))
        echoes = (
            f"{name} of the prompt scores {nulls[metric].score:.3f}"
            for name, nulls in self._floors.nulls.items()
            if not is_floor(name) and metric in nulls and self.better * (nulls[metric].score - self.score(arm)) > 0
        )
        return (
            *(["on a sample of the benchmark's items"] if sample else []),
            *([f"items share texts: {sources} sources of {self.items} items are the units"] if self._shared else []),
            *([f"{self.items:,} items of the task, drawn once"] if self.partial else []),
            *([f"{record.truncated} of {self.items} prompts were cut"] if record.truncated else []),
            *echoes,
        )


def a_sample(items: int) -> str:
    """The note of a verdict on items that were drawn once, where no others are to come."""
    return f"a sample of {items:,} items"


def tied(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """`values`, but as in `others` where they differ by rounding alone: many such differences may have one sign."""
    return [other if abs(value - other) <= ROUNDING else value for value, other in zip(values, others, strict=True)]
