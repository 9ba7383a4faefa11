"""Checks of published figures: clean, or flawed as the file says."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, Field

from glu_prune.evidence.recompute import recompute
from glu_prune.judgement.case import Case
from glu_prune.judgement.claim import ClosedModel, unique
from glu_prune.results.report import CaseResult, CaseTables

if TYPE_CHECKING:
    from glu_prune.judgement.sources import Source


class Flaw(ClosedModel):
    """What an evidence check is known to find in published figures."""

    why: Annotated[str, Field(min_length=1)]
    check: str
    about: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(unique)] | None = None
    """The subjects that it is known to find flawed: these, and no others; any if absent."""


@dataclass(frozen=True)
class EvidenceCase(Case):
    """One check of published figures: clean, or flawed as the file says."""

    FIXTURE: ClassVar[str] = "glu_evidence"
    ABOUT_RUNS: ClassVar[bool] = False

    check: str
    flaw: Flaw | None

    @property
    def declared(self) -> str:
        """`flawed` if the file says so, else `clean`."""
        return "flawed" if self.flaw else "clean"

    def outcome(self, subjects: Iterable[str]) -> str:
        """`clean` if there are no flawed `subjects`, `flawed` if they are those that the file expects, else why not."""
        found = set(subjects)
        if not found or self.flaw is None or self.flaw.about is None:
            return "flawed" if found else "clean"
        unexpected, missed = sorted(found - set(self.flaw.about)), sorted(set(self.flaw.about) - found)
        parts = [*(["flawed also in " + ", ".join(unexpected)] if unexpected else [])]
        parts += ["not flawed in " + ", ".join(missed)] if missed else []
        return "; ".join(parts) or "flawed"

    def judge(self, source: "Source") -> CaseResult:
        """From the figures about the model alone."""
        model = self.experiment.model
        evidence, findings = source.evidence(self)
        found = tuple(each for each in findings if each.model == model and each.check == self.check)
        runs = [run for run in evidence.runs if run.model == model] if self.check == "energy_unit" else []
        return CaseResult(
            outcome=self.outcome(finding.subject for finding in found),
            sentence=f"{self.check}: " + ("; ".join(finding.says for finding in found) or "nothing found"),
            tables=CaseTables(findings=found, recomputed=tuple(recompute(runs, found))),
        )
