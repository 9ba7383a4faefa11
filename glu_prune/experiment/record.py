"""What models scored: typed, versioned, and complete enough to be judged without the model."""

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, model_validator

DEQUANTIZED = "dequantized"
"""In the settings of a record: from which quantisation to which dtype its weights were read, if they were quantised."""


class Strict(BaseModel):
    """Frozen, and closed to fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class ScoreRecord(Strict):
    """One metric on all items."""

    score: float
    """As lm-eval aggregates it."""
    values: tuple[float, ...]
    """One per item, in the order of `Record.items`."""
    weights: tuple[float, ...]
    """How much each item counts."""
    parts: tuple[tuple[float, ...], ...] = ()
    """For metrics that score several things in one item: each of them, per item."""
    constant: tuple[float, ...] = ()
    """What each item would score, were the commonest answer given to all; empty where there is no such answer."""


class SizeRecord(Strict):
    """How large the model of the cell is."""

    parameters: int
    bytes: int
    """Of the parameters, in the dtype in which they were evaluated."""
    width: int
    """Neurons per GLU block (of the first, should they differ)."""
    hidden: int
    ties: int | None
    """Neurons that went, in all blocks, though their score is that of one that stayed; None if that is not known."""
    plan: str = ""
    """Fingerprint of the plan that it was cut by; empty of a model that was not, and in records of earlier versions."""

    @property
    def expansion_ratio(self) -> float:
        """Width over hidden size."""
        return self.width / self.hidden


class ArmRecord(Strict):
    """What every record of one arm on one task says. Columns hold one entry per item, in the order of `items`."""

    schema_version: int
    """Of the layout; each kind has its own."""
    key: str
    model: str
    """What it was called when it was computed: a label, by which nothing is looked up."""
    weights: str
    """Fingerprint of its files."""
    arm: str
    task: str
    settings: Mapping[str, str | int]
    versions: Mapping[str, str]
    machine: str
    created: str
    """UTC, ISO 8601."""
    code: str = ""
    """Fingerprint of the code that computed it; empty if it is not of a cell."""
    items: tuple[str, ...]
    fields: Mapping[str, tuple[tuple[str, ...], ...]]
    """Document field to its values, for breakdowns and clusters; an item can have several (IFEval's instructions)."""
    sources: tuple[str, ...] = ()
    """The source of each item, the same for those that share one, see `shared_sources`; empty where no two do."""

    def clusters(self, field: str | None) -> tuple[str, ...] | None:
        """What each item depends on: the document field that a capability declares, else sources that some share."""
        if field:
            return tuple(labels[0] for labels in self.fields[field])
        return self.sources if len(set(self.sources)) < len(self.sources) else None


class Record(ArmRecord):
    """What one arm scored on one task."""

    schema_version: Literal[9] = 9
    outputs: tuple[str, ...]
    margins: tuple[float, ...] = ()
    """Multiple choice: log-likelihood of the best right answer minus the best wrong one, in nats; else empty."""
    lengths: tuple[int, ...] = ()
    """Generation: tokens of the output; else empty."""
    flaws: tuple[tuple[str, ...], ...] = ()
    """Generation: what is wrong with the output (`empty`, `loop`, `echo`, `cut`); else empty."""
    near_ties: tuple[bool, ...] = ()
    """Generation: whether rounding may have decided on a token of the output; empty where that is not known."""
    answers: tuple[str, ...] = ()
    """What was answered, in a form that items can share: the label of a choice, or a text; empty where texts are only
    scored."""
    truncated: int | None = 0
    """Items of which a prompt lost its beginning, as it was too long for the model; None if a backend answered."""
    metrics: Mapping[str, ScoreRecord]
    positions: int | None
    """Token positions that the model computed, padding included; None if a backend answered, which does not tell."""
    scored_positions: int | None
    """Those of them that belong to log-likelihoods: the same work in every arm."""
    size: SizeRecord

    @model_validator(mode="after")
    def _counts_agree(self) -> "Record":
        optional = (self.margins, self.lengths, self.flaws, self.near_ties, self.answers, self.sources)
        _same_length(self.items, [self.outputs, *self.fields.values(), *filter(None, optional)], self.metrics.values())
        return self


class FloorRecord(Strict):
    """What content-free answers score on the items of one task; no model is in it."""

    schema_version: Literal[2] = 2
    key: str
    task: str
    versions: Mapping[str, str]
    created: str
    code: str = ""
    """Fingerprint of the code that computed it; empty if it is not of a cell."""
    items: tuple[str, ...]
    questions: tuple[str, ...] = ()
    """The end of the prompt of each item, for people; empty in packs, and in records of earlier versions."""
    targets: tuple[str, ...] = ()
    """The right answer of each item, or an empty text."""
    nulls: Mapping[str, Mapping[str, ScoreRecord]]
    """Null model to metric to scores."""

    @model_validator(mode="after")
    def _counts_agree(self) -> "FloorRecord":
        asked = [*filter(None, (self.questions, self.targets))]
        _same_length(self.items, asked, [score for metrics in self.nulls.values() for score in metrics.values()])
        return self


def _same_length(items: tuple[str, ...], columns: Iterable[tuple[object, ...]], scores: Iterable[ScoreRecord]) -> None:
    """Raises `ValueError` unless there are items, and every column has one entry for each."""
    every = [*columns]
    for score in scores:
        every += [score.values, score.weights, *filter(None, (score.parts, score.constant))]
    if not items or any(len(column) != len(items) for column in every):
        msg = "every column must have one entry per item, and there must be items"
        raise ValueError(msg)
