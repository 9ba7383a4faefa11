"""Claims about a capability at a ratio: up, down, or preserved within a margin."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.case import CaseAtRatio, Requirement
from glu_prune.judgement.claim import ClaimAtRatios, Entry
from glu_prune.judgement.explanation import explanation, groups
from glu_prune.judgement.verdict import Verdict, claim_fields, judge
from glu_prune.results.claims import CapabilityResult
from glu_prune.results.report import CaseResult, CaseTables

if TYPE_CHECKING:
    from decimal import Decimal

    from glu_prune.judgement.document import Document, Location
    from glu_prune.judgement.experiment import Experiment
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

    def refuse_unknown(
        self, document: "Document", here: "Location", experiment: "Experiment", suite: Mapping[str, Capability]
    ) -> None:
        """Raises `ExpectationError` for a capability or a ratio that does not exist."""
        if self.capability not in suite:
            raise document.unknown((*here, "capability"), "capability", self.capability, tuple(suite))
        self.refuse_unknown_ratio(document, here, experiment)

    def case(self, entry: Entry, identity: str, ratio: "Decimal | None") -> "DirectionCase":
        """The claim at one of its ratios."""
        assert ratio is not None
        capability = entry.suite[self.capability]
        return DirectionCase(entry.file, entry.line, identity, entry.experiment, self, ratio, capability)


@dataclass(frozen=True)
class DirectionCase(CaseAtRatio):
    """One claim about a capability at one ratio."""

    FIXTURE: ClassVar[str] = "glu_case"
    SEQUENTIAL: ClassVar[bool] = True

    claim: CapabilityClaim
    capability: Capability

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
