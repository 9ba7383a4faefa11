"""What arms cost: figures and energies of measured workloads, and what the evaluations took."""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

from pydantic import Field

from glu_prune.results.base import Interval, Number, OfArm, RatioField, Result, Row


class FigureResult(OfArm):
    """One figure of one workload."""

    arm: str
    workload: str
    figure: str
    unit: str
    n: int
    dense: Interval
    pruned: Interval | None
    change: Interval | None
    """From dense to pruned, in percent."""
    replicate: Annotated[Interval | None, Field(alias="again")]
    """The same for a copy of the dense model (A/A): what differs there is the machine."""
    how: str


class ChannelEnergy(OfArm):
    """Energy of one channel of one arm, in joules per new token."""

    workload: str
    arm: str
    channel: str
    n: int
    gross: Interval | None
    idle: tuple[Number, Number] | None
    """Watts, and their standard deviation."""
    net: Interval | None
    method: str


class RecomputedEnergy(Row):
    """Joules per new token of one workload at one ratio, means over published runs."""

    workload: str
    ratio: RatioField
    runs: int
    joules: Mapping[str, float]
    """Channel to J per token, `total`, and `rest` for what no channel accounts for."""


class ModelSize(Result):
    """How large the model of an arm is."""

    parameters: int
    bytes: int
    width: int
    hidden: int
    ties: int | None = None
    """Neurons that went, in all blocks, though their score is that of one that stayed; None if that is not known."""
    plan: str = ""
    """Fingerprint of the plan that it was cut by; empty of a model that was not, or where that is not known."""
    expansion_ratio: float


class EnergyReading(Result):
    """Energy of one channel, and how it was obtained."""

    joules: float
    method: str


class EvaluationReadings(Result):
    """What answering one task took, as the record of its cost says."""

    seconds: float
    positions: int | None
    scored_positions: int | None
    energy: Mapping[str, EnergyReading]
    note: str
    other_load: Annotated[Number, Field(alias="others")]
    """Share of the machine's processors that other processes used meanwhile."""


class MetricSummary(NamedTuple):
    """A score, its standard error, and how many items, or parts of items, were scored."""

    score: float
    error: Number
    scored: int


class CellResult(OfArm):
    """One task on one arm."""

    source: str = ""
    """The model, as the file calls it; `model` may say more. Empty in reports of earlier versions."""
    arm: str
    control: bool
    task: str
    subset: Annotated[str, Field(alias="part")]
    """Which items were asked; empty for all of them."""
    prompts: int
    truncated: int | None
    near_ties: int
    """Texts of which rounding may have decided on a token."""
    new_tokens: int
    limit: int | None
    dtype: str
    """Of the weights while they answered."""
    dtype_why: str
    """Why that one was taken, where the user left it open; else empty."""
    scores: Mapping[str, MetricSummary]
    size: ModelSize
    weights: str = ""
    """Fingerprint of the files that answered, or were cut; empty where they do not say all that answered."""
    dequantized: str = ""
    """From which quantisation to which dtype its weights were read: `Q4_1 -> float32`; empty where they were not."""
    cost: EvaluationReadings | None
    """None where the scores come from another machine, on which it was not measured."""


class FloorScore(Result):
    """What one null model scores on one task by one metric."""

    task: str
    metric: str
    null: str
    score: float
    sd: Number
    """Standard deviation over items, on the scale on which scores are compared."""
    items: int


class EvaluationCost(Row, ModelSize):
    """What the evaluations of one arm cost in all."""

    arm: str
    dtype: str
    """Of the weights while they answered, and why that one was taken if the user left it open."""
    megabytes: float
    tokens_per_second: Number
    joules_per_1000_tokens: Number
    joules: Mapping[str, float]
    other_load: Annotated[Number, Field(alias="others")]
    """Share of the machine's processors that other processes used meanwhile."""
    method: str
