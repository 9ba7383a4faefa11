"""What lies behind a change of score: margins, lengths, flawed outputs, and scores by group."""

from glu_prune.results.base import Interval, Number, OfArm

Pair = tuple[Number, Number]
"""Dense, and pruned."""


class Explanation(OfArm):
    """What moved with a capability; None where a task has no such thing."""

    capability: str
    gained: int | None
    lost: int | None
    flips: Interval | None
    """Share of items whose answer is another one than the dense model's, right or wrong; None for perplexities."""
    commonest: tuple[str, str] | None
    """The answer that was given most often, and its share of all, in words; None where texts are only scored."""
    margin: Pair | None
    """Mean log-likelihood of the best right choice minus the best wrong one, in nats."""
    length: Pair | None
    """Mean tokens of the output."""
    flawed: Pair | None
    """Share of outputs that are empty, loops, echoes, or cut by the length limit."""
    kinds: tuple[str, str] | None
    """How many outputs have each flaw, in words."""
    sound: Pair | None
    """Scores over the items where both outputs have no flaw; None where there are none."""
    sound_items: int
    """How many those are."""
    matched: Interval | None
    """Change of the score over items whose texts are as long as before, within 5 %, with its 95 % interval."""
    matched_items: int
    """How many those are."""


class GroupScores(OfArm):
    """A capability on the items that share a label."""

    capability: str
    field: str
    label: str
    items: int
    dense: Number
    pruned: Number
