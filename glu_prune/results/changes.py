"""What changed, item by item: for people who look at answers, not for tables, which would be too long."""

from glu_prune.results.base import OfArm, Result


class ItemChange(Result):
    """One item whose answer or score is another one than the dense model's."""

    item: str
    """Its identity, as records have it."""
    groups: tuple[str, ...]
    """Labels by which the capability is broken down."""
    question: str
    """The end of its prompt."""
    target: str
    """The right answer; empty where there is no single one."""
    dense: str | None
    """What the dense model answered; None where a text is only scored."""
    pruned: str | None
    dense_score: float
    pruned_score: float
    change: str
    """`better`, `worse`, or `other answer`, which scores the same."""
    flaws: tuple[str, str] = ("", "")
    """What is wrong with both texts."""


class ItemChanges(OfArm):
    """The changes of one capability at one ratio."""

    capability: str
    found: int
    """How many items changed."""
    shown: tuple[ItemChange, ...]
    """Some of them."""
