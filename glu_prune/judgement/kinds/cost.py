"""Claims about a figure of cost at a ratio, such as the time to the first token or joules per token."""

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, model_validator

from glu_prune.efficiency.cost_metrics import CORRECT_ANSWER, COST_METRICS
from glu_prune.efficiency.workload import WORKLOADS, Workload
from glu_prune.errors import ExpectationError
from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE
from glu_prune.judgement.case import CaseAtRatio, Requirement
from glu_prune.judgement.claim import ClaimAtRatios, Entry
from glu_prune.judgement.efficiency import judge_efficiency, percent
from glu_prune.judgement.verdict import claim_fields
from glu_prune.results.claims import CostResult
from glu_prune.results.report import CaseResult, CaseTables

if TYPE_CHECKING:
    from decimal import Decimal

    from glu_prune.judgement.document import Document, Location
    from glu_prune.judgement.experiment import Experiment
    from glu_prune.judgement.sources import Source


def _metric(name: str) -> str:
    if name not in COST_METRICS:
        msg = f"measure {name!r} does not exist; there are {', '.join(COST_METRICS)}"
        raise ValueError(msg)
    return name


class EfficiencyClaim(ClaimAtRatios):
    """What a figure of cost does when neurons go; `up` and `down` are those of the figure."""

    KEY: ClassVar[str] = "efficiency"

    efficiency: Annotated[str, AfterValidator(_metric)]
    workload: str | None = None
    """Only workloads of this name or pattern; all of them if absent."""
    questions: str | None = None
    """For `joules_per_correct_answer`: the capability whose questions are answered."""

    @model_validator(mode="after")
    def _questions_where_needed(self) -> "EfficiencyClaim":
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
        return "-".join(filter(None, (self.efficiency, self.questions, self.workload)))

    @property
    def about(self) -> str:
        """The figure, and where it is measured if not everywhere, in words."""
        of = f" of {self.questions}" if self.questions else ""
        return self.efficiency + of + (f" in {self.workload}" if self.workload else "")

    def refuse_unknown(
        self, document: "Document", here: "Location", experiment: "Experiment", suite: Mapping[str, Capability]
    ) -> None:
        """Raises `ExpectationError` for a capability or a ratio that does not exist, or questions without an answer."""
        if self.questions and self.questions not in suite:
            raise document.unknown((*here, "questions"), "capability", self.questions, tuple(suite))
        if self.questions and not suite[self.questions].share:
            complaint = (
                f"capability {self.questions} is no share of right answers, so there is no energy for each of them"
            )
            raise document.error((*here, "questions"), complaint)
        self.refuse_unknown_ratio(document, here, experiment)

    def case(self, entry: Entry, identity: str, ratio: "Decimal | None") -> "EfficiencyCase":
        """The claim at one of its ratios."""
        assert ratio is not None
        questions = entry.suite[self.questions] if self.questions else None
        return EfficiencyCase(entry.file, entry.line, identity, entry.experiment, self, ratio, questions)


@dataclass(frozen=True)
class EfficiencyCase(CaseAtRatio):
    """One claim about a figure of cost at one ratio."""

    FIXTURE: ClassVar[str] = "glu_efficiency"

    claim: EfficiencyClaim
    questions: Capability | None = None
    """Whose questions are answered, where the figure is about answers."""

    def requirements(self) -> Iterator[Requirement]:
        """The questions, where the figure is about answers."""
        if self.questions:
            yield Requirement(self.questions, (DENSE, self.arm))

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
        fields = {**self.about, **claim_fields(verdict), "ratio": self.ratio, "percent": changes}
        tables = CaseTables(costs=(CostResult.model_validate(fields),))
        return CaseResult(outcome=verdict.outcome, sentence=verdict.sentence, tables=tables.joined([found.tables]))
