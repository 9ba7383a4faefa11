"""What was chosen among prunings, and by what."""

from typing import Literal

from glu_prune.results.base import Better, Interval, Number, Result
from glu_prune.results.claims import ClaimResult

State = Literal["certified", "failed", "not tested", "beaten", "unlikely", "lost too much", "chosen"]
"""What became of a candidate: `beaten` by one that is no dearer and safer, `not tested` after one that failed,
`unlikely` to pass as it lost more than a margin on the search half, `lost too much` where that half shows it."""


class KeptCapability(Result):
    """What one capability lost on a half of the items, beside what it may lose."""

    capability: str
    metric: str
    better: Better
    margin: float
    items: int
    dense: Number
    pruned: Number
    delta: Number
    """In units of the metric (nats per unit for perplexities)."""
    low: Number
    high: Number
    p: Number
    """One-sided, against a loss of the margin or more."""


class CandidateResult(Result):
    """A pruning that could have been chosen."""

    arm: str
    criterion: str
    target: str
    """How narrow blocks become, such as `ratio 0.4, multiple of 64`."""
    state: State
    cost: Number
    """What was to be as small as possible; None where it was not measured."""
    change: Interval | None = None
    """(change, low, high) of a measured cost from the dense model's, in percent, at 95 %."""
    width: int
    """Neurons of its first block."""
    parameters: int
    bytes: int
    search: tuple[KeptCapability, ...]
    """On the half by which the order was found."""
    certification: tuple[KeptCapability, ...] = ()
    """On the other half; none where it was not tested."""
    checked: tuple[KeptCapability, ...] = ()
    """Of the chosen one, on items that neither half has; none where these were not asked."""


class ChoiceResult(ClaimResult):
    """The cheapest pruning that is certified to keep what is to be kept."""

    minimise: str
    unit: str
    confidence: float
    """At least this is the probability that all that are certified keep what they are to keep."""
    dense_cost: Number
    chosen: str
    """The arm; empty if none is certified."""
    candidates: tuple[CandidateResult, ...]
    needed: int | None
    """More items of the certification half that would let the first that failed pass, if it is as good as it looks."""
    given_up: tuple[KeptCapability, ...] = ()
    """What the chosen one lost of capabilities that were only looked at; their margins are 0 and decide nothing."""

    @property
    def cost(self) -> float | None:
        """Of the chosen one."""
        return None if (one := self.best) is None else one.cost

    @property
    def best(self) -> CandidateResult | None:
        """The chosen one."""
        return next((each for each in self.candidates if each.state == "chosen"), None)
