"""An arm against what a baseline pins of it, and what it takes to pin it anew."""

from typing import Literal

from glu_prune.results.base import Better, Number, Result, Row

State = Literal["improved", "unchanged", "allowed", "not shown", "regressed", "incomparable", "missing"]
"""What a comparison of two runs on the same items comes to; `not shown` is neither a change nor that there is none,
`missing` is what there was before and is not now."""


class BaselineResult(Row):
    """One arm on one capability against a baseline, as `Compared` and `Change` explain its fields."""

    against: str
    arm: str
    capability: str
    task: str
    metric: str
    better: Better
    items: int
    before: Number
    after: Number
    delta: Number
    low: Number
    high: Number
    p: Number
    test: str
    catches: Number
    """The smallest worsening that would have been found in four of five runs."""
    worse: int | None
    improved: int | None
    worse_items: tuple[str, ...]
    improved_items: tuple[str, ...]
    band: float
    margin: float
    outcome: State
    note: str
    sentence: str


class PinnedCapability(Result):
    """What of a capability a pinned score depends on."""

    name: str
    task: str
    metric: str
    higher_is_better: bool
    cluster: str | None


class Pin(Result):
    """A cell that is to be pinned: the keys of its record, of the dense one, and of the dense model's replicate."""

    model: str
    """By its name in the baseline."""
    key: str
    dense: str
    replicate: str
    arm: str = ""
    """What its arm is called; empty where its record says it, as of all but checkpoints."""
    capability: PinnedCapability
    floor: tuple[str, float] | None
    """The best null model and its score."""
