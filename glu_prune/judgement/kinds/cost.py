"""Claims about a figure of cost at a ratio, such as the time to the first token or joules per token."""

import fnmatch
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, model_validator

from glu_prune.efficiency.cost_metrics import CORRECT_ANSWER, COST_METRICS
from glu_prune.efficiency.workload import WORKLOADS, Workload
from glu_prune.errors import EvaluationError, ExpectationError
from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE
from glu_prune.judgement.case import ArmCase, Entry, Requirement
from glu_prune.judgement.claim import DENSE_NAME, ArmKey, DirectionClaim, Problem, show_key
from glu_prune.judgement.run_pairs import change_with, having, in_words, percent
from glu_prune.judgement.verdict import Settled, Verdict, claim_fields, power_note, settle
from glu_prune.results.base import Outcome
from glu_prune.results.claims import CostResult
from glu_prune.results.findings import Finding
from glu_prune.results.report import CaseResult, CaseTables

if TYPE_CHECKING:
    from glu_prune.judgement.sources import CostEvidence, Source


def _metric(name: str) -> str:
    if name not in COST_METRICS:
        msg = f"measure {name!r} does not exist; there are {', '.join(COST_METRICS)}"
        raise ValueError(msg)
    return name


class EfficiencyClaim(DirectionClaim):
    """What a figure of cost does when neurons go; `up` and `down` are those of the figure."""

    KEY: ClassVar[str] = "efficiency"

    efficiency: Annotated[str, AfterValidator(_metric)]
    workload: str | None = None
    """Only workloads of this name or pattern; all of them if absent."""
    questions: str | None = None
    """For `joules_per_correct_answer`: the capability whose questions are answered."""

    @model_validator(mode="after")
    def _questions_where_needed(self) -> "EfficiencyClaim":
        if self.direction == "kept":
            msg = "a cost is up, down or preserved; kept is about capabilities"
            raise ValueError(msg)
        if (self.efficiency == CORRECT_ANSWER) != (self.questions is not None):
            msg = f"{self.efficiency} {'needs' if self.questions is None else 'takes no'} questions: CAPABILITY"
            raise ValueError(msg)
        return self

    @property
    def capability_names(self) -> tuple[str, ...]:
        """That of the questions, if it is about answers."""
        return (self.questions,) if self.questions else ()

    @property
    def name(self) -> str:
        """The figure, and what it is about if not everything."""
        return "-".join(filter(None, (self.efficiency, self.questions, self.workload))) + self._versus

    @property
    def about(self) -> str:
        """The figure, and where it is measured if not everywhere, in words."""
        of = f" of {self.questions}" if self.questions else ""
        return self.efficiency + of + (f" in {self.workload}" if self.workload else "")

    def problems(self, arms: tuple[ArmKey, ...], suite: Mapping[str, Capability]) -> Iterator[Problem]:
        """A capability or a ratio that does not exist, or questions that have no right answers."""
        if self.questions and self.questions not in suite:
            yield Problem("questions", unknown=self.questions)
        elif self.questions and not suite[self.questions].share:
            complaint = (
                f"capability {self.questions} is no share of right answers, so there is no energy for each of them"
            )
            yield Problem("questions", complaint)
        if self.against != DENSE_NAME:
            complaint = "costs are measured in turns with the dense model, beside which a table has every arm"
            yield Problem("against", complaint)
        yield from self.arm_problems(arms)


@dataclass(frozen=True)
class EfficiencyCase(ArmCase):
    """One claim about a figure of cost at one ratio."""

    FIXTURE: ClassVar[str] = "glu_efficiency"

    claim: EfficiencyClaim
    questions: Capability | None = None
    """Whose questions are answered, where the figure is about answers."""

    @classmethod
    def of(cls, entry: Entry, claim: EfficiencyClaim, identity: str, arm: ArmKey | None) -> "EfficiencyCase":
        """The claim at one of its ratios."""
        assert arm is not None
        questions = entry.suite[claim.questions] if claim.questions else None
        return cls(entry.file, entry.line, identity, entry.experiment, claim, arm, questions)

    def requirements(self) -> Iterator[Requirement]:
        """The questions, where the figure is about answers."""
        if self.questions:
            yield Requirement(self.questions, (DENSE, self.arm))

    @property
    def measures(self) -> bool:
        """Always: costs are what it is about."""
        return True

    @property
    def workloads(self) -> list[Workload]:
        """What has to be done to measure the figure.

        Raises:
            ExpectationError: the suite has no such workload.
        """
        every = WORKLOADS[self.experiment.suite]
        wanted = self.claim.workload or "*"
        chosen = [each for each in every if fnmatch.fnmatchcase(each.name, wanted)]
        if not chosen:
            names = ", ".join(each.name for each in every)
            msg = f"{self.where}: no workload of suite {self.experiment.suite} is called {wanted!r}; there are {names}"
            raise ExpectationError(msg)
        return chosen

    def judge(self, source: "Source") -> CaseResult:
        """From pairs of runs of the dense and the pruned model."""
        found = source.costs(self)
        verdict = judge_efficiency(self, found)
        changes = tuple(percent(value) for value in (verdict.delta, verdict.low, verdict.high))
        fields = {**self.about_family(source), **claim_fields(verdict), "percent": changes}
        tables = CaseTables(costs=(CostResult.model_validate(fields),))
        return CaseResult(outcome=verdict.outcome, sentence=verdict.sentence, tables=tables.joined([found.tables]))


def judge_efficiency(case: EfficiencyCase, found: "CostEvidence") -> Verdict:
    """The verdict on `case`, about these workloads and no others; see `_against_replicate` and `_under`.

    Raises:
        EvaluationError: no pair of runs has the figure.
    """
    claim, figure = case.claim, found.figure
    usable = having(figure, found.pairs)
    if not usable:
        where = f" in workload {claim.workload}" if claim.workload else ""
        msg = (
            f"no two runs of {case.experiment.model}, dense and at {show_key(case.key)},{where} have a figure "
            f"{figure!r}"
        )
        raise EvaluationError(msg)
    change = change_with(figure, usable, found.log_accuracy_ratio)
    settled = _against_replicate(case, found, settle(claim, change, better=1, tests=case.tests))
    workloads = tuple(dict.fromkeys(run.workload for run, _ in usable))
    spoilt = [
        each
        for each in found.findings
        if any(each.touches(case.experiment.model, figure, workload) for workload in workloads)
    ]
    outcome = _under(settled.outcome, spoilt)
    low, high = change.interval()
    dense = math.exp(sum(math.log(run.figures[figure]) for run, _ in usable) / len(usable))
    return Verdict(
        capability=claim.about,
        metric=f"{figure}, geometric mean",
        claim=claim.text,
        outcome=outcome,
        dense=dense,
        pruned=dense * math.exp(change.difference),
        delta=change.difference,
        low=low,
        high=high,
        p=settled.p,
        tests=case.tests,
        test=settled.test,
        items=len(usable),
        needed=settled.needed,
        note=", ".join(dict.fromkeys(finding.check for finding in spoilt)),
        reasons=(
            f"that is {in_words(change)} over {len(usable)} pairs of runs of {len(workloads)} workloads",
            *settled.reasons,
            *power_note(settled.needed, change.units, "pairs of runs"),
            *(f"{finding.check}: {finding.says}" for finding in spoilt if outcome != settled.outcome),
        ),
    )


def _against_replicate(case: EfficiencyCase, found: "CostEvidence", settled: Settled) -> Settled:
    """`settled`, but inconclusive unless a replicate of the dense model, where one was measured, shows the same.

    What copying alone, or an unsteady machine, does to the figure is no effect of pruning.
    """
    replicate = having(found.figure, found.replicate)
    if not replicate or settled.outcome == "inconclusive":
        return settled
    other = change_with(found.figure, replicate, found.log_accuracy_ratio)
    if settle(case.claim, other, better=1, tests=case.tests).outcome == settled.outcome:
        return settled
    reason = f"not shown against a copy of the dense model: that is {in_words(other)}"
    return replace(settled, outcome="inconclusive", reasons=(*settled.reasons, reason))


def _under(outcome: Outcome, spoilt: Sequence[Finding]) -> Outcome:
    """What an outcome is worth that rests on a figure with these findings.

    If one says that the figure cannot be used for what it is named after, a direction that holds is an *artefact*, and
    one that is refuted is *inconclusive*; where it leaves the direction open, both are *inconclusive*.
    """
    if not spoilt or outcome not in ("confirmed", "refuted"):
        return outcome
    open_ = outcome == "refuted" or any(finding.leaves_open for finding in spoilt)
    return "inconclusive" if open_ else "artefact"
