"""Dose-response: what a capability does from ratio to ratio, with intervals that hold at all ratios at once."""

from glu_prune.results.base import Number, RatioField, Row


class CurvePoint(Row):
    """One capability at one ratio; rows that share model, criterion and capability are one curve.

    The first is the dense model at ratio 0, whose `delta` and limits are 0.
    """

    criterion: str
    """By which neurons were chosen."""
    capability: str
    metric: str
    ratio: RatioField
    dense: Number
    score: Number
    """Of the model at this ratio."""
    delta: Number
    """score - dense over the same items, in units of the metric (nats per unit for perplexities)."""
    low: Number
    high: Number
    """95 % interval of `delta` at this ratio alone."""
    band_low: Number
    band_high: Number
    """Limits of `delta` that hold at all ratios of the curve at once with probability 0.95."""
    floor: Number
    """The best that answers without content score."""
    chance: Number
    """What guessing scores; None where there is no such thing."""
    items: int
    units: int
    """How many of these are independent: items, or clusters of items."""
    ratios: int
    """Ratios of the curve but 0, over which the band holds."""
