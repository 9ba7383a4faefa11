"""Where neurons tie at the cut, which of them stay is arbitrary: a verdict must hold for another draw of them, too."""

from dataclasses import replace

from glu_prune.experiment.cell import Arm
from glu_prune.experiment.record import Record
from glu_prune.judgement.verdict import Verdict, digits
from glu_prune.pruning.criteria import criterion

REDRAWN = "ties redrawn"
"""Among the controls: the same criterion, with another draw among the neurons that tie at the cut."""


def ties_at_the_cut(arm: Arm, record: Record | None) -> int:
    """How many neurons of `arm` went whose score is that of one that stayed; 0 if none did, or nobody knows.

    A criterion that looks at nothing draws all of its neurons, not those that tie: more draws of it are other controls.
    """
    if record is None or arm.criterion is None or criterion(arm.criterion).looks_at == "nothing":
        return 0
    return record.size.ties or 0


def under_another_draw(verdict: Verdict, other: Verdict, ties: int) -> Verdict:
    """`verdict`; *inconclusive* if `other`, on another draw among `ties` removed neurons and their equals, differs.

    Both must be reached, each by tests of its own, so that their number needs no correction.
    """
    drawn = f"{_told(ties)}; another draw gives {digits(other.pruned)}"
    if other.outcome == verdict.outcome:
        return replace(verdict, reasons=(*verdict.reasons, f"{drawn}, {other.outcome}, too"))
    reason = f"{drawn}, {other.outcome}, where this one is {verdict.outcome}: the verdict would rest on the draw"
    found = _noted(verdict, "rests on ties", reason)
    return replace(found, outcome="inconclusive", needed=other.needed)


def not_redrawn(verdict: Verdict, ties: int) -> Verdict:
    """`verdict`, where the file asks for no other draw."""
    return _noted(
        verdict, "ties not redrawn", f"{_told(ties)}; another draw was not tried, as `redraw_ties: false` says"
    )


def _told(ties: int) -> str:
    return (
        "1 removed neuron scores as one that stays"
        if ties == 1
        else f"{ties:,} removed neurons score as some that stay"
    )


def _noted(verdict: Verdict, note: str, reason: str) -> Verdict:
    notes = ", ".join(filter(None, (verdict.note, note)))
    return replace(verdict, note=notes, reasons=(*verdict.reasons, reason))
