"""(what was measured, claim) -> a verdict with the numbers that led to it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.claim import DirectionClaim
from glu_prune.judgement.scores import CapabilityScores, Floor
from glu_prune.results.base import Outcome
from glu_prune.statistics.comparison import Contrast, items_needed

ALPHA = 0.05
"""Error rate of a claim over all its ratios."""
_Z95 = 1.96
_HOPELESS = 1000
"""Times the items there are, from which their number is not worth giving."""


@dataclass(frozen=True)
class Verdict:
    """What the items say about one claim at one ratio."""

    capability: str
    metric: str
    claim: str
    """The direction, with its margin if it has one."""
    outcome: Outcome
    dense: float
    pruned: float
    delta: float
    """pruned - dense, the weighted mean over items, in units of the metric (nats per unit for perplexities)."""
    low: float
    high: float
    """95 % interval of `delta`."""
    p: float
    """Of the claim's own test: two-sided, of no difference; for `preserved` the larger of two one-sided ones.

    Of a claim within a margin that is refuted, that of the test which says so.
    """
    tests: int
    """Ratios at which the claim is made: `p` times this is compared with 0.05."""
    test: str
    items: int
    gained: int | None = None
    """Items that got better; None if that is not known."""
    lost: int | None = None
    """Items that got worse."""
    floor: float | None = None
    floor_of: str | None = None
    """The null model that reaches the floor."""
    needed: int | None = None
    """If inconclusive: how many more items would decide at 80 % power, should the effect be as large as observed."""
    note: str = ""
    """A word or two on what the outcome does not say by itself, such as "under the floor"."""
    reasons: tuple[str, ...] = ()
    """What led to the outcome beside the numbers above."""
    total_items: int | None = None
    """How many items there are, where they were judged subset by subset; None where all were judged at once."""

    @property
    def sentence(self) -> str:
        """The verdict and the numbers that led to it, for people."""
        moved = "" if self.gained is None else f"; of {self.items} items {self.gained} got better, {self.lost} worse"
        times = f" x {self.tests} tests" if self.tests > 1 else ""
        numbers = (
            f"{self.capability} {self.claim}: {self.outcome}. {self.metric} {digits(self.dense)} -> "
            f"{digits(self.pruned)} "
            f"({self.delta:+.3f}, 95 % interval {self.low:+.3f} to {self.high:+.3f}){moved}; {self.test} "
            f"p = {self.p:.2g}{times}"
        )
        return "; ".join([numbers, *self._interim, *self.reasons])

    @property
    def _interim(self) -> tuple[str, ...]:
        """How many of all items it took, in words."""
        if self.total_items is None:
            return ()
        state = "not decided" if self.outcome == "inconclusive" else "decided"
        return (f"{state} after {self.items} of {self.total_items} items, anytime-valid",)


def digits(value: float) -> str:
    """`value` to three decimals, or to three digits where these would not show it."""
    return (
        f"{value:,.3f}" if abs(value) >= 0.1 or value == 0 else f"{value:.3g}" if abs(value) < 0.01 else f"{value:.3f}"
    )


@dataclass(frozen=True)
class Condition:
    """One thing that a direction rests on: whether it holds, and the reason to print."""

    state: Literal["shown", "open", "fails"]
    reason: str
    needed: int | None = None
    """If open: how many more items would show it."""
    note: str = ""
    """A word or two for the table, if it is not shown."""
    told: bool = False
    """Whether the reason is worth printing beside a confirmed claim."""


@dataclass(frozen=True)
class Settled:
    """What the direction of a change alone comes to."""

    outcome: Outcome
    p: float
    test: str
    needed: int | None = None
    """More items that would decide."""
    reasons: tuple[str, ...] = ()


def settle(claim: DirectionClaim, change: Contrast, *, better: int, tests: int) -> Settled:
    """The direction of a change alone, at 0.05 over `tests`; `better` is the sign of what counts as up."""
    if claim.margin is None:
        p = change.p_two_sided()
        if p * tests > ALPHA:
            needed = more_items(change, abs(change.difference), ALPHA / 2 / tests)
            return Settled("inconclusive", p, change.test, needed)
        rose = change.difference * better > 0
        return Settled("confirmed" if rose == (claim.direction == "up") else "refuted", p, change.test)
    if claim.direction == "kept":
        return _not_inferior(claim.margin, change, better=better, tests=tests)
    p, test = max(change.p_greater(-claim.margin), change.p_less(claim.margin)), "two one-sided tests"
    if p * tests <= ALPHA:
        return Settled("confirmed", p, test)
    outside = 2 * min(change.p_greater(claim.margin), change.p_less(-claim.margin))
    if outside * tests <= ALPHA:
        return Settled("refuted", outside, f"{change.test} of more than the margin")
    gap = abs(claim.margin - abs(change.difference))
    return Settled("inconclusive", p, test, more_items(change, gap, ALPHA / tests))


def against(claim: DirectionClaim, change: Contrast, better: int) -> bool:
    """Whether the change is not in the direction of `claim`, shown or not."""
    gained = change.difference * better
    if claim.margin is None:
        return gained < 0 if claim.direction == "up" else gained > 0
    return -gained > claim.margin if claim.direction == "kept" else abs(gained) > claim.margin


def _not_inferior(margin: float, change: Contrast, *, better: int, tests: int) -> Settled:
    """Whether less than `margin` was lost; what was gained does not matter."""
    p, test = one_sided(change, better, -margin), f"one-sided {change.test}"
    if p * tests <= ALPHA:
        return Settled("confirmed", p, test)
    lost = one_sided(change, -better, margin)
    if lost * tests <= ALPHA:
        return Settled("refuted", lost, f"{test} of a loss of more than the margin")
    return Settled("inconclusive", p, test, more_items(change, abs(margin + better * change.difference), ALPHA / tests))


def under(conditions: list[Condition]) -> tuple[Outcome, int | None]:
    """(outcome, more items that would decide) of a direction that holds, under `conditions`.

    No number of items decides where one of these is open whatever they are, as a control that was not run.
    """
    if any(condition.state == "fails" for condition in conditions):
        return "artefact", None
    needed = [condition.needed for condition in conditions if condition.state == "open"]
    if not needed:
        return "confirmed", None
    return "inconclusive", most(needed)


def most(needed: Sequence[int | None]) -> int | None:
    """The most of several numbers of items, all of which are needed; None if no number is enough for one of them."""
    known = [each for each in needed if each]
    return max(known) if len(known) == len(needed) else None


_UNDER = "under"
"""In a note: where a score is beside its floor, whether that is shown or is only what it looks like."""


def above_floor(measured: CapabilityScores, arm: Arm, tests: int, note: str, *, below_fails: bool = True) -> Condition:
    """Whether `arm` scores more than each of its floors; `note` names it if not.

    It fails only where that is shown: the score is below a floor (unless `below_fails` is false), or what was gained
    was gained where the floor's answers are right. A model in which nothing changed never fails.
    """
    floors = sorted(measured.floors(arm), key=lambda floor: -measured.better * floor.score)
    if not floors:
        return Condition("shown", "no floor is known", note="no floor", told=True)
    found = [_above(measured, floor, arm, tests, note, below_fails=below_fails) for floor in floors]
    return next((each for state in ("fails", "open") for each in found if each.state == state), found[0])


def _above(
    measured: CapabilityScores, floor: Floor, arm: Arm, tests: int, note: str, *, below_fails: bool
) -> Condition:
    pruned, beyond = arm != DENSE, floor.beyond
    subject = "the pruned model is" if pruned else f"the {measured.reference} model is"
    what = f"above the floor of content-free answers ({floor.name} {floor.score:.3f})"
    p = one_sided(beyond, measured.better)
    if p * tests <= ALPHA:
        return Condition("shown", f"{subject} {what}, p = {p:.2g}", told=True)
    p_below = one_sided(beyond, -measured.better)
    below = p_below * tests <= ALPHA
    if pruned and measured.changed(arm):
        if below_fails and below:
            return Condition("fails", f"{subject} not {what}, p = {p_below:.2g}", note=note)
        if found := _gained_as(floor, tests):
            return Condition("fails", f"{subject} not shown to be {what}, {found}", note=note)
    excess = measured.better * beyond.difference
    if excess <= 0:
        shown = f", p = {p_below:.2g}" if below else ", nor shown to be below"
        return Condition("open", f"{subject} not {what}{shown}", note=note)
    needed = more_items(beyond, excess, ALPHA / tests)
    return Condition(
        "open", f"{subject} not shown to be {what}, p = {p:.2g}", needed, note=note.replace(_UNDER, "not shown above")
    )


def _gained_as(floor: Floor, tests: int) -> str | None:
    """That more was gained where the floor's answers are right, and nothing is shown to be where they are wrong."""
    found = floor.beside
    if found is None or (p := found.more_where_right.p_greater()) * tests > ALPHA:
        return None
    if found.where_wrong.p_greater() <= ALPHA:
        return None
    change = found.where_wrong.difference
    return (
        f"and it gained where these answers are right (p = {p:.2g}): {change:+.3f} on the {found.items_wrong} items "
        "where they are not"
    )


def something_to_lose(measured: CapabilityScores, tests: int) -> Condition:
    """Whether the dense model is above the floor; if not, more items may yet show it, so that it never fails."""
    found = above_floor(measured, DENSE, tests, f"{measured.reference} under the floor")
    return found if found.state == "shown" else replace(found, state="open", reason=f"nothing to lose: {found.reason}")


def one_sided(contrast: Contrast, better: int, shift: float = 0.0) -> float:
    """P against "not beyond `shift` on the `better` side"; the shift counts that way, too."""
    return contrast.p_greater(shift) if better > 0 else contrast.p_less(-shift)


def at_chance(measured: CapabilityScores, arm: Arm, change: Contrast, tests: int) -> tuple[()] | tuple[str, str]:
    """(note, reason) about a score that ends at chance, named for what it is; nothing if it does not.

    Few of many items do not tell.
    """
    chance = measured.chance
    if not chance or not measured.items or not measured.complete or measured.capability.logarithmic:
        return ()
    if change.p_two_sided() * tests > ALPHA:
        return ()
    dense, pruned = (measured.better * (measured.score(each) - chance) for each in (DENSE, arm))
    if dense < 0 and abs(pruned) < abs(dense):
        return "drift to chance", f"a drift from below towards chance ({chance:.3f}), as of a model that knows less"
    if dense > 0 and abs(pruned) < _Z95 * math.sqrt(chance * (1 - chance) / measured.items):
        return "at chance", f"the pruned model is at chance ({chance:.3f})"
    return ()


def more_items(contrast: Contrast, gap: float, alpha: float) -> int | None:
    """How many more items than there are would show an effect of `gap`; None if none would."""
    total = items_needed(contrast, gap, alpha)
    return None if total is None else max(1, total - contrast.units)


def power_note(needed: int | None, units: int, unit: str, *, every: bool = False) -> tuple[str, ...]:
    """How many more items, or clusters of items, would decide, in words; of `every` one that there is, or of some."""
    if needed is None:
        return ()
    there = " than the task has" if every else ""
    if needed < _HOPELESS * units:
        return (f"about {needed:,} more {unit}{there} would decide it at 80 % power",)
    return (f"over {_HOPELESS:,} times as many, that is {needed:,}, {unit} would decide it at 80 % power",)


class OfArm(Protocol):
    """A verdict on a claim about one of its arms."""

    @property
    def p(self) -> float:
        """Of the claim's own test."""

    @property
    def tests(self) -> int:
        """Ratios at which the claim is made."""

    @property
    def sentence(self) -> str:
        """The verdict and the numbers that led to it."""


def claim_fields(verdict: OfArm) -> dict[str, object]:
    """What a result says of a verdict: its numbers, its sentence, and p corrected for the ratios of the claim."""
    return {**vars(verdict), "sentence": verdict.sentence, "p_ratios": min(1.0, verdict.p * verdict.tests)}
