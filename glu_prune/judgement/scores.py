"""What was measured of one capability of one model: scores by arm, and contrasts between them.

Verdicts are reached on this, whether it comes from records (paired items) or from published figures (unpaired).
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.null_names import UNIFORM, best_floor, is_floor
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.experiment.merging import refuse_other_accelerators
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord
from glu_prune.statistics import comparison
from glu_prune.statistics.comparison import Contrast

SEED = 20251222
"""Of every resampling, so that the same records give the same verdict."""


ROUNDING = 1e-5
"""Differences of one item up to this, in units of the metric, are made by arithmetic: another batch size makes them."""


@dataclass(frozen=True)
class Floor:
    """The best score that answers without content reach on the same items."""

    name: str
    score: float


class CapabilityScores(ABC):
    """Scores of one capability by arm. `better` is +1 where more is better, -1 where less is."""

    def __init__(self, capability: Capability) -> None:
        """`capability` says which metric, and which way is better."""
        self.capability = capability
        self.better = 1 if capability.higher_is_better else -1
        self.total_items: int | None = None

    @property
    def complete(self) -> bool:
        """Whether no items are still to come; `total_items` is how many there are, if they are judged by subsets."""
        return self.total_items is None or self.items >= self.total_items

    @property
    @abstractmethod
    def items(self) -> int:
        """How many items were scored."""

    @property
    def unit(self) -> str:
        """What is independent: items, or the sources that they share."""
        return f"{self.capability.cluster}s" if self.capability.cluster else "items"

    @property
    @abstractmethod
    def floor(self) -> Floor | None:
        """None if it is not known."""

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
    def above_floor(self, arm: Arm) -> Contrast | None:
        """`arm` minus the floor; None if there is no floor."""

    def moved(self, arm: Arm) -> tuple[int, int] | None:
        """How many items got better and worse than in the dense model; None if that is not known."""
        del arm
        return None

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
            clusters=self._clusters,
            ratio=self.capability.logarithmic,
            anytime=self.total_items is not None,
            heaviest=self._heaviest,
            seed=SEED,
        )

    @cached_property
    def _clusters(self) -> tuple[str, ...] | None:
        if self.capability.cluster is None:
            return None
        return tuple(labels[0] for labels in self._records[DENSE].fields[self.capability.cluster])

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
    def items(self) -> int:
        """As many as were scored."""
        return len(self._floors.items)

    @property
    def floor(self) -> Floor | None:
        """The best null model's."""
        if self._null is None:
            return None
        return Floor(self._null, self._floors.nulls[self._null][self.capability.metric].score)

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

    def above_floor(self, arm: Arm) -> Contrast | None:
        """On the same items."""
        if self._null is None:
            return None
        return self._contrast(self._scores(arm), self._floors.nulls[self._null][self.capability.metric])

    def moved(self, arm: Arm) -> tuple[int, int]:
        """Counted item by item."""
        dense = self._scores(DENSE).values
        pairs = zip(tied(self._scores(arm).values, dense), dense, strict=True)
        changes = [self.better * (after - before) for after, before in pairs]
        return sum(change > 0 for change in changes), sum(change < 0 for change in changes)

    def remarks(self, arm: Arm) -> tuple[str, ...]:
        """What was left out of items and prompts, and what echoing these scores, where that is more."""
        metric, record = self.capability.metric, self._records[arm]
        sample = "items" in record.settings
        echoes = (
            f"{name} of the prompt scores {nulls[metric].score:.3f}"
            for name, nulls in self._floors.nulls.items()
            if not is_floor(name) and metric in nulls and self.better * (nulls[metric].score - self.score(arm)) > 0
        )
        return (
            *(["on a sample of the benchmark's items"] if sample else []),
            *([f"{record.truncated} of {self.items} prompts were cut"] if record.truncated else []),
            *echoes,
        )


def tied(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """`values`, but as in `others` where they differ by rounding alone: many such differences may have one sign."""
    return [other if abs(value - other) <= ROUNDING else value for value, other in zip(values, others, strict=True)]
