"""Claims about a capability at a ratio: up, down, or preserved within a margin."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.case import CaseAtRatio, Entry, Requirement
from glu_prune.judgement.claim import ClaimAtRatios, Problem
from glu_prune.judgement.explanation import explanation, groups
from glu_prune.judgement.scores import CapabilityScores
from glu_prune.judgement.verdict import (
    ALPHA,
    Condition,
    Verdict,
    above_floor,
    at_chance,
    claim_fields,
    more_items,
    one_sided,
    power_note,
    settle,
    something_to_lose,
    under,
)
from glu_prune.results.claims import CapabilityResult
from glu_prune.results.report import CaseResult, CaseTables

if TYPE_CHECKING:
    from glu_prune.judgement.sources import Evaluation, Source


class CapabilityClaim(ClaimAtRatios):
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
        return self.capability

    def problems(self, ratios: tuple[Decimal, ...], suite: Mapping[str, Capability]) -> Iterator[Problem]:
        """A capability or a ratio that does not exist."""
        if self.capability not in suite:
            yield Problem("capability", unknown=self.capability)
        yield from self.ratio_problems(ratios)


@dataclass(frozen=True)
class DirectionCase(CaseAtRatio):
    """One claim about a capability at one ratio."""

    FIXTURE: ClassVar[str] = "glu_case"
    SEQUENTIAL: ClassVar[bool] = True

    claim: CapabilityClaim
    capability: Capability

    @classmethod
    def of(cls, entry: Entry, claim: CapabilityClaim, identity: str, ratio: Decimal | None) -> "DirectionCase":
        """The claim at one of its ratios."""
        assert ratio is not None
        return cls(entry.file, entry.line, identity, entry.experiment, claim, ratio, entry.suite[claim.capability])

    @property
    def controls(self) -> tuple[Arm, ...]:
        """Other criteria at the same ratio."""
        return tuple(Arm(name, self.ratio, self.experiment.seed) for name in self.experiment.control_criteria)

    def requirements(self) -> Iterator[Requirement]:
        """The capability of the dense model, of the pruned one, and of the controls."""
        yield Requirement(self.capability, (DENSE, self.arm, *self.controls))

    def judge(self, source: "Source") -> CaseResult:
        """By the first verdict that is not inconclusive, else the last."""
        (needed,) = self.requirements()
        evaluations = source.scores(self, needed)
        verdict, found = self._verdict(next(evaluations))
        while verdict.outcome == "inconclusive" and (later := next(evaluations, None)):
            verdict, found = self._verdict(later)
        tables = self._tables(verdict, found).joined([found.tables])
        return CaseResult(outcome=verdict.outcome, sentence=verdict.sentence, tables=tables)

    def _verdict(self, found: "Evaluation") -> tuple[Verdict, "Evaluation"]:
        return judge(self, found.scores), found

    def _result(self, verdict: Verdict, found: "Evaluation") -> CapabilityResult:
        controls = {str(each.criterion): found.scores.score(each) for each in self.controls if found.scores.has(each)}
        return CapabilityResult.model_validate(
            {
                **self.about,
                **claim_fields(verdict),
                "ratio": self.ratio,
                "better": "higher" if self.capability.higher_is_better else "lower",
                "controls": controls,
            }
        )

    def _tables(self, verdict: Verdict, found: "Evaluation") -> CaseTables:
        """The verdict and, where the items are known, what lies behind the change."""
        scores = (self._result(verdict, found),)
        if not found.records:
            return CaseTables(scores=scores)
        both = found.records[DENSE], found.records[self.arm]
        subject, moved = self.experiment.subject, (verdict.gained, verdict.lost)
        return CaseTables(
            scores=scores,
            why=(explanation(subject, self.ratio, self.capability, both, moved),),
            groups=tuple(groups(subject, self.ratio, self.capability, both)),
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
    outcome, needed = settled.outcome, settled.needed
    conditions = [] if outcome == "refuted" else _conditions(case, scores, tests)
    if outcome == "confirmed":
        outcome, needed = under(conditions)
    told = tuple(condition.reason for condition in conditions if outcome != "confirmed" or condition.told)
    low, high = change.interval()
    gained, lost = scores.moved(arm) or (None, None)
    chance = at_chance(scores, arm, change, tests)
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
        floor=scores.floor.score if scores.floor else None,
        floor_of=scores.floor.name if scores.floor else None,
        needed=needed,
        note=", ".join([condition.note for condition in conditions if condition.note] + [*chance[:1]]),
        reasons=(
            *settled.reasons,
            *told,
            *chance[1:],
            *power_note(needed, change.units, scores.unit),
            *scores.remarks(arm),
        ),
        total_items=scores.total_items,
    )


def _conditions(case: DirectionCase, measured: CapabilityScores, tests: int) -> list[Condition]:
    """What the direction of `case` rests on: if it holds, it is *confirmed* only where this is shown, too.

    - `up`, `preserved`: the pruned model is above the floor. It is an *artefact* if content-free answers score as
      high on these items, and *inconclusive* if the score is higher, but not shown to be.
    - `down`: the dense model is above the floor; else there was nothing to lose, and it is *inconclusive*.
    - `specific`: every control at the same ratio does less. It is an *artefact* if one is shown to do more.

    Where items are judged subset by subset, every outcome but *inconclusive* is reached by tests that hold at any
    look; what rests on the score of the items alone (a pruned model at its floor, a score at chance) waits for all.
    """
    if case.claim.direction == "down":
        found = [something_to_lose(measured, tests)]
    else:
        found = [above_floor(measured, case.arm, tests, "under the floor")]
    if case.claim.specific:
        found += [_stronger(case, measured, control, tests) for control in case.controls]
    return found


def _stronger(case: DirectionCase, measured: CapabilityScores, control: Arm, tests: int) -> Condition:
    """Whether the criterion does more than `control`, which removes as many neurons; it fails if that does more.

    Both are models with errors of their own, so that a tie shows nothing.
    """
    name = control.criterion
    if not measured.has(control):
        return Condition("open", f"not shown to be specific: the control {name} was not measured", note="not specific?")
    better = -measured.better if case.claim.direction == "down" else measured.better
    what = f"{'above' if better > 0 else 'below'} what the control {name} gives ({measured.score(control):.3f})"
    contrast = measured.contrast(case.arm, control)
    p, against = one_sided(contrast, better), one_sided(contrast, -better)
    if p * tests <= ALPHA:
        return Condition("shown", f"{what}, p = {p:.2g}", told=True)
    if against * tests <= ALPHA:
        return Condition("fails", f"not {what}: that does more, p = {against:.2g}", note="not specific")
    needed = more_items(contrast, better * contrast.difference, ALPHA / tests)
    return Condition("open", f"not shown to be {what}, p = {p:.2g}", needed, note="not specific?")
