"""Claims about a capability at a ratio: up, down, or preserved within a margin."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING, ClassVar

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.case import ArmCase, Entry, Requirement
from glu_prune.judgement.claim import ArmKey, DirectionClaim, Problem
from glu_prune.judgement.explanation import explanation, groups
from glu_prune.judgement.lengths import length_note
from glu_prune.judgement.scores import CapabilityScores, a_sample
from glu_prune.judgement.ties import REDRAWN, not_redrawn, ties_at_the_cut, under_another_draw
from glu_prune.judgement.verdict import (
    ALPHA,
    Condition,
    Settled,
    Verdict,
    above_floor,
    against,
    at_chance,
    claim_fields,
    more_items,
    most,
    one_sided,
    power_note,
    settle,
    something_to_lose,
    under,
)
from glu_prune.pruning.ratio import show_ratio
from glu_prune.results.base import Outcome
from glu_prune.results.claims import CapabilityResult
from glu_prune.results.report import CaseResult, CaseTables
from glu_prune.statistics.contrasts import Contrast, Side
from glu_prune.statistics.draws import LEAST_DRAWS, draws_needed, p_beyond

if TYPE_CHECKING:
    from glu_prune.judgement.sources import Evaluation, Source


_SHORT = 24
"""Characters of a control's name in a note; its sentence has all of it."""


class CapabilityClaim(DirectionClaim):
    """What a capability does when neurons go, whichever way its metric counts."""

    KEY: ClassVar[str] = "capability"

    capability: str
    specific: bool = False
    """Whether the claim is that the criterion does it: any other damage of that size must do less."""

    @property
    def capability_names(self) -> tuple[str, ...]:
        """Its only one."""
        return (self.capability,)

    @property
    def name(self) -> str:
        """The capability."""
        return f"{self.capability}{self._versus}"

    def problems(self, arms: tuple[ArmKey, ...], suite: Mapping[str, Capability]) -> Iterator[Problem]:
        """A capability or a ratio that does not exist."""
        if self.capability not in suite:
            yield Problem("capability", unknown=self.capability)
        yield from self.arm_problems(arms)


@dataclass(frozen=True)
class DirectionCase(ArmCase):
    """One claim about a capability at one ratio."""

    FIXTURE: ClassVar[str] = "glu_case"
    SEQUENTIAL: ClassVar[bool] = True

    claim: CapabilityClaim
    capability: Capability
    draw: int = field(default=0, kw_only=True)
    """Of several pruned models that the criterion allows where neurons tie at the cut: added to the seed."""

    @property
    def arm(self) -> Arm:
        """The pruned model that the claim is about, or another draw of it."""
        arm = super().arm
        return replace(arm, seed=arm.seed + self.draw)

    @classmethod
    def of(cls, entry: Entry, claim: CapabilityClaim, identity: str, arm: ArmKey | None) -> "DirectionCase":
        """The claim at one of its ratios."""
        assert arm is not None
        return cls(entry.file, entry.line, identity, entry.experiment, claim, arm, entry.suite[claim.capability])

    @property
    def controls(self) -> Mapping[str, tuple[Arm, ...]]:
        """Other criteria at the same size; of one that draws, as many draws as a claim that is specific needs."""
        experiment = self.experiment
        draws = experiment.control_seeds if self.claim.specific else 1
        return experiment.controls_of(self.key, draws)

    def requirements(self) -> Iterator[Requirement]:
        """The capability of the dense model, of the pruned one, and of the controls."""
        controls = (arm for arms in self.controls.values() for arm in arms)
        yield Requirement(self.capability, (DENSE, self.arm, *controls))

    def judge(self, source: "Source") -> CaseResult:
        """By what the items say of the pruned model, and of another draw of it where neurons tie at the cut."""
        verdict, found = self._decided(source)
        verdict, redrawn = self._redrawn(verdict, found, source)
        (needed,) = self.requirements()
        verdict = replace(verdict, reasons=(*verdict.reasons, *self._undeclared(source, needed, found)))
        tables = self._tables(verdict, found, source, redrawn).joined([found.tables])
        return CaseResult(outcome=verdict.outcome, sentence=verdict.sentence, tables=tables)

    def _decided(self, source: "Source") -> tuple[Verdict, "Evaluation"]:
        """By the first verdict that is not inconclusive, else the last."""
        (needed,) = self.requirements()
        evaluations = source.scores(self, needed)
        verdict, found = self._verdict(next(evaluations))
        while verdict.outcome == "inconclusive" and (later := next(evaluations, None)):
            verdict, found = self._verdict(later)
        return verdict, found

    def _redrawn(self, verdict: Verdict, found: "Evaluation", source: "Source") -> tuple[Verdict, Mapping[str, float]]:
        """The verdict as far as another draw among tied neurons comes to it, too; and what that draw scores."""
        ties = ties_at_the_cut(self.arm, found.records.get(self.arm))
        if not ties or verdict.outcome == "inconclusive":
            return verdict, {}
        if not self.experiment.redraw_ties:
            return not_redrawn(verdict, ties), {}
        other, _ = replace(self, draw=1)._decided(source)
        return under_another_draw(verdict, other, ties), {REDRAWN: other.pruned}

    def _undeclared(self, source: "Source", needed: Requirement, found: "Evaluation") -> Iterator[str]:
        """What was known before all of this was declared, or is measured and not declared."""
        others = sorted(source.ratios(self, needed) - set(self.experiment.ratios))
        if others and self.ratio is not None:
            yield f"measured at {', '.join(map(show_ratio, others))}, too, which the file does not declare"
        since, record = source.declared(self), found.records.get(self.arm)
        if since and record and record.created < since:
            yield f"declared as it is on {since[:10]}, after the answers were in ({record.created[:10]})"

    def _verdict(self, found: "Evaluation") -> tuple[Verdict, "Evaluation"]:
        """The verdict on the items there are, with a note on lengths, which waits for all of them."""
        verdict = judge(self, found.scores)
        if found.records and found.scores.complete:
            told = length_note(self.capability, (found.records[DENSE], found.records[self.arm]))
            note, reasons = ", ".join(filter(None, [verdict.note, *told[:1]])), (*verdict.reasons, *told[1:])
            verdict = replace(verdict, note=note, reasons=reasons)
        return verdict, found

    def _result(
        self, verdict: Verdict, found: "Evaluation", source: "Source", redrawn: Mapping[str, float]
    ) -> CapabilityResult:
        scores = {
            name: [found.scores.score(arm) for arm in arms if found.scores.has(arm)]
            for name, arms in self.controls.items()
        }
        controls = {name: fmean(each) for name, each in scores.items() if each}
        return CapabilityResult.model_validate(
            {
                **self.about_family(source),
                **claim_fields(verdict),
                "better": "higher" if self.capability.higher_is_better else "lower",
                "controls": {**controls, **redrawn},
                "draws": {name: each for name, each in scores.items() if len(each) > 1},
            }
        )

    def _tables(
        self, verdict: Verdict, found: "Evaluation", source: "Source", redrawn: Mapping[str, float]
    ) -> CaseTables:
        """The verdict and, where the items are known, what lies behind the change."""
        scores = (self._result(verdict, found, source, redrawn),)
        if not found.records:
            return CaseTables(scores=scores)
        both = found.records[DENSE], found.records[self.arm]
        subject, moved = self.subject, (verdict.gained, verdict.lost)
        return CaseTables(
            scores=scores,
            why=(explanation(subject, self.about_arm, self.capability, both, moved),),
            groups=tuple(groups(subject, self.about_arm, self.capability, both)),
        )


def judge(case: DirectionCase, scores: CapabilityScores) -> Verdict:
    """The verdict on `case`: whether its direction holds, and what that rests on; see `_conditions`.

    `up` and `down` are tested two-sided against no difference, `preserved` by two one-sided tests against its margin,
    at 0.05 divided by the number of ratios at which the claim is made.

    Raises:
        EvaluationError: an arm's records are not about the same items, or lack the metric.
    """
    capability, arm, tests = case.capability, case.arm, case.tests
    change = scores.contrast(arm, DENSE)
    settled = settle(case.claim, change, better=scores.better, tests=tests)
    refuted = settled.outcome == "refuted"
    conditions = _mirrored(case, scores, change) if refuted else _conditions(case, scores, tests)
    opposed = against(case.claim, change, scores.better)
    rests_on = conditions if refuted or not opposed else _mirrored(case, scores, change)
    outcome, needed = _under(settled, rests_on)
    told = tuple(condition.reason for condition in conditions if outcome != "confirmed" or condition.told)
    low, high = change.interval()
    floor = scores.floor(arm)
    gained, lost = scores.moved(arm) or (None, None)
    chance, quick = at_chance(scores, arm, change, tests), a_sample(scores.items) if scores.partial else ""
    return Verdict(
        capability=capability.name,
        metric=capability.metric,
        claim=case.claim.text,
        outcome=outcome,
        dense=scores.score(DENSE),
        pruned=scores.score(arm),
        delta=change.difference,
        low=low,
        high=high,
        p=settled.p,
        tests=tests,
        test=settled.test,
        items=scores.items,
        gained=gained,
        lost=lost,
        floor=floor.score if floor else None,
        floor_of=floor.name if floor else None,
        needed=needed,
        note=", ".join(dict.fromkeys(filter(None, [*(each.note for each in conditions), *chance[:1], quick]))),
        reasons=(
            *told,
            *chance[1:],
            *power_note(needed, change.units, scores.unit, every=scores.complete and not scores.partial),
            *scores.remarks(arm),
        ),
        total_items=scores.total_items,
    )


def _under(settled: Settled, conditions: list[Condition]) -> tuple[Outcome, int | None]:
    """(outcome, more items that would decide) of a direction, under what it, or its opposite, rests on."""
    held, needed = under(conditions)
    if settled.outcome == "inconclusive":
        return settled.outcome, most([settled.needed, needed] if held == "inconclusive" else [settled.needed])
    if settled.outcome == "refuted":
        return ("refuted" if held == "confirmed" else "inconclusive"), needed
    return held, needed


def _mirrored(case: DirectionCase, measured: CapabilityScores, change: Contrast) -> list[Condition]:
    """What the opposite of the claim rests on: the claim is *refuted* only where that would be confirmed."""
    if measured.better * change.difference > 0:
        return [above_floor(measured, case.arm, case.tests, "under the floor")]
    return [something_to_lose(measured, case.tests)]


def _conditions(case: DirectionCase, measured: CapabilityScores, tests: int) -> list[Condition]:
    """What the direction of `case` rests on: if it holds, it is *confirmed* only where this is shown, too.

    - `up`, `preserved`: the pruned model is above the floor. It is an *artefact* if it is shown to be below (`up`), or
      to have gained where content-free answers are right, and *inconclusive* if neither is shown.
    - `down`: the dense model is above the floor; else there was nothing to lose, and it is *inconclusive*.
    - `specific`: every control at the same ratio does less; see `_specific`. It is an *artefact* if one does more.

    Where items are judged subset by subset, every outcome but *inconclusive* is reached by tests that hold at any
    look; what rests on the score of the items alone (a pruned model at its floor, a score at chance) waits for all.
    """
    if case.claim.direction == "down":
        found = [something_to_lose(measured, tests)]
    else:
        below_fails = case.claim.direction == "up"  # what was below before is preserved there
        found = [above_floor(measured, case.arm, tests, "under the floor", below_fails=below_fails)]
    if case.claim.specific:
        found += [_specific(case, measured, name, arms, tests) for name, arms in case.controls.items()]
    return found


def _specific(case: DirectionCase, measured: CapabilityScores, name: str, arms: Sequence[Arm], tests: int) -> Condition:
    """Whether the criterion does more than the control `name`, which removes as many neurons; it fails if that does.

    The control is a model with errors of its own, so that a tie shows nothing. One that is drawn is as many models as
    there are draws: the criterion must lie beyond what another draw would give, and beyond the mean of these on items
    like these, each shown by a test of its own.
    """
    there, short = sum(map(measured.has, arms)), textwrap.shorten(name, _SHORT, placeholder=" ..")
    if there < len(arms):
        what = f"{there} of {len(arms)} draws of the control {name} were" if there else f"the control {name} was not"
        reason = f"not shown to be specific: {what} measured"
        return Condition("open", reason, note=f"{short} not run")
    better: Side = 1 if (measured.better > 0) != (case.claim.direction == "down") else -1
    drawn = case.experiment.is_drawn(name)
    what = f"{'above' if better > 0 else 'below'} what {_told(measured, name, arms)}"
    if drawn and len(arms) < LEAST_DRAWS:
        reason = (
            f"fewer than {LEAST_DRAWS} do not tell what others would; declare `control_seeds: {LEAST_DRAWS}` or more"
        )
        return Condition("open", f"not shown to be {what}: {reason}", note=f"{short} may do as much")
    if drawn and not measured.complete:
        return Condition("open", f"not shown to be {what} before all items are in", note=f"{short} may do as much")
    contrast = (
        measured.combined({case.arm: 1.0, **{arm: -1 / len(arms) for arm in arms}})
        if drawn
        else measured.contrast(case.arm, arms[0])
    )
    differences = [measured.contrast(case.arm, arm).difference for arm in arms]

    def p(side: Side) -> float:
        return max(one_sided(contrast, side), p_beyond(differences, side) if drawn else 0.0)

    if p(better) * tests <= ALPHA:
        return Condition("shown", f"{what}, p = {p(better):.2g}", told=True)
    against: Side = -1 if better > 0 else 1
    if p(against) * tests <= ALPHA:
        return Condition("fails", f"not {what}: that does more, p = {p(against):.2g}", note=f"{short} does more")
    reason = f"not shown to be {what}, p = {p(better):.2g}"
    if drawn and p_beyond(differences, better) * tests > ALPHA:
        enough = draws_needed(differences, better, ALPHA / tests)
        reason += f"; {f'{enough} draws' if enough else 'no number of draws'} would show it"
        return Condition("open", reason, note=f"{short} may do as much")
    needed = more_items(contrast, better * contrast.difference, ALPHA / tests)
    return Condition("open", reason, needed, note=f"{short} may do as much")


def _told(measured: CapabilityScores, name: str, arms: Sequence[Arm]) -> str:
    scores = [measured.score(arm) for arm in arms]
    if len(arms) == 1:
        return f"the control {name} gives ({scores[0]:.3f})"
    spread = f"{min(scores):.3f} to {max(scores):.3f}, mean {fmean(scores):.3f}"
    return f"{len(arms)} draws of the control {name} give ({spread})"
