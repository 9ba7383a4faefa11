"""What a run will be able to show of a claim, known before it runs."""

from glu_prune.results.base import Number, OfArm


class PlannedClaim(OfArm):
    """A claim about one arm, or across ratios, and the smallest effect that its test finds with probability 0.8."""

    where: str
    """File and line."""
    claim: str
    """Capability and direction, with its margin if it has one."""
    items: int | None
    """That will be answered; None if their number is not known."""
    units: int | None
    """Of these, how many are independent: items, or clusters of them."""
    unit: str
    """What is independent."""
    tests: int
    """How often the claim is made: 0.05 is divided by it."""
    alpha: float
    """Level of each of its tests."""
    smallest: Number
    """The smallest effect that is found, for `preserved` the smallest margin that is confirmed if nothing changes, in
    units of the metric (nats per unit for perplexities); None if no effect is, or that cannot be told."""
    above_floor: Number
    """How far above the floor the score must be that the claim rests on; None if that cannot be told."""
    floor: Number
    """The best score that answers without content reach; None if it is not known."""
    draws: int | None
    """Draws of the control, if the claim is `specific`."""
    beyond_draws: Number
    """How far beyond the mean of the controls the criterion must lie, if the claim is `specific`."""
    answerable: bool | None
    """Whether the run can answer the claim; None if that cannot be told."""
    remedy: str
    """What would do, if it cannot or that cannot be told."""
    spread: str
    """Where it comes from how much items vary."""
