"""What a cell leaves behind: typed, versioned, and complete enough to be judged without the model."""

import functools
import platform
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator


class _Strict(BaseModel):
    """Frozen, and closed to fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ScoreRecord(_Strict):
    """One metric on all items."""

    score: float
    """As lm-eval aggregates it."""
    values: tuple[float, ...]
    """One per item, in the order of `Record.items`."""
    weights: tuple[float, ...]
    """How much each item counts."""


class ReadingRecord(_Strict):
    """Energy of one channel while the cell was evaluated."""

    joules: float
    method: Literal["nvml", "rapl", "modelled"]


class CostRecord(_Strict):
    """What evaluating the cell cost; the model's loading and pruning are not in it."""

    seconds: float
    """Wall time of the evaluation, scoring included."""
    positions: int
    """Token positions that the model computed, padding included."""
    scored_positions: int
    """Those of them that belong to log-likelihoods: the same work in every arm."""
    energy: Mapping[str, ReadingRecord]
    """Channel to reading; a channel that is absent was not measured."""
    note: str = ""
    """Why channels are absent."""


class SizeRecord(_Strict):
    """How large the model of the cell is."""

    parameters: int
    bytes: int
    """Of the parameters, in the dtype in which they were evaluated."""
    width: int
    """Neurons per GLU block (of the first, should they differ)."""
    hidden: int

    @property
    def expansion_ratio(self) -> float:
        """Width over hidden size."""
        return self.width / self.hidden


class Record(_Strict):
    """The result of one cell."""

    schema_version: Literal[1] = 1
    key: str
    model: str
    arm: str
    task: str
    settings: Mapping[str, str | int]
    versions: Mapping[str, str]
    machine: str
    created: str
    """UTC, ISO 8601."""
    items: tuple[str, ...]
    groups: tuple[str, ...]
    """The group of each item, for breakdowns; empty if the task has none."""
    outputs: tuple[str, ...]
    metrics: Mapping[str, ScoreRecord]
    cost: CostRecord
    size: SizeRecord

    @model_validator(mode="after")
    def _counts_agree(self) -> "Record":
        columns: list[tuple[object, ...]] = [self.outputs, self.groups or self.items]
        columns += [column for metric in self.metrics.values() for column in (metric.values, metric.weights)]
        if not self.items or any(len(column) != len(self.items) for column in columns):
            msg = "every column must have one entry per item, and there must be items"
            raise ValueError(msg)
        return self


@functools.cache
def machine() -> str:
    """The machine, in words: system, architecture and processor."""
    return f"{platform.system()} {platform.machine()} {platform.processor() or ''}".strip()
