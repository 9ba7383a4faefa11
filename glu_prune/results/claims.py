"""Claims with their verdicts: about a capability, about a cost, or across ratios."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from glu_prune.results.base import Better, Interval, Number, OfArm, Outcome, Row


class ClaimResult(Row):
    """A claim, what was declared of it, and what was found."""

    declared: Outcome
    outcome: Outcome
    sentence: str
    """The verdict and the numbers that led to it."""
    reasons: tuple[str, ...]
    why: str
    """The claim's own reason, as its file gives it."""
    file: str
    where: str
    """File and line."""
    in_file: int
    """Claims at ratios in the file, the family over which `holm` is corrected."""


class ArmResult(ClaimResult, OfArm):
    """A claim about one arm, as `Verdict` and `DistanceVerdict` explain its fields."""

    against: str = ""
    """The arm that it is compared with; empty for the dense model."""
    capability: str
    """The capability, or the figure of cost."""
    claim: str
    low: Number
    high: Number
    p: float
    tests: int
    family: str
    """A fingerprint of all that the session's files declare of the claim, which `tests` counts."""
    declared_since: str | None
    """When all of that was declared first, as the store knows: UTC, ISO 8601."""
    p_ratios: float
    """p, corrected for the ratios at which the claim is made (Bonferroni); it decides."""
    holm: Number = None
    """p, corrected for all claims at ratios of the file (Holm); None until all cases of a session are in."""
    test: str
    items: int
    needed: int | None
    note: str


class ChangeResult(ArmResult):
    """A claim about a change from the dense to the pruned model."""

    metric: str
    dense: Number
    pruned: Number
    delta: Number
    gained: int | None
    lost: int | None
    floor: Number
    floor_of: str | None
    total_items: Annotated[int | None, Field(alias="of")]
    """How many items there are, where they were judged subset by subset; else None."""


class CapabilityResult(ChangeResult):
    """A claim about a capability."""

    better: Better
    controls: Mapping[str, Number]
    """Criterion of a control to its score at the same ratio, the mean if it was drawn several times; `ties redrawn` is
    another draw among tied neurons."""
    draws: Mapping[str, tuple[float, ...]] = {}
    """Criterion of a control that was drawn several times to the score of each draw."""


class CostResult(ChangeResult):
    """A claim about a figure of cost."""

    percent: Interval
    """Change of the figure, and the limits of its 95 % interval."""


class DistanceResult(ArmResult):
    """A claim about how far the pruned model is from the dense one."""

    distance: str
    value: Number
    """A share of items, or nats per token."""
    at_most: float


class TrendResult(ClaimResult):
    """A claim across ratios."""

    about: str
    relation: str
    points: int
    statistics: str
