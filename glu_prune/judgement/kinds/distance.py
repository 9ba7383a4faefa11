"""Claims that a pruned model is at most so far from the dense one, beyond its score."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, model_validator

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE
from glu_prune.judgement.case import ArmCase, Entry, Requirement
from glu_prune.judgement.claim import ArmClaim, ArmKey, Problem
from glu_prune.judgement.distances import Distance, DistanceVerdict, settle_distance
from glu_prune.judgement.verdict import claim_fields, power_note
from glu_prune.results.claims import DistanceResult
from glu_prune.results.report import CaseResult, CaseTables

if TYPE_CHECKING:
    from glu_prune.judgement.sources import DistanceEvidence, Source


class DistanceClaim(ArmClaim):
    """How far the pruned model is from the dense one, at most, on the items of a capability."""

    KEY: ClassVar[str] = "distance"

    distance: Distance
    """`flips`: share of items whose answer is another one; `kl`: nats per token."""
    capability: str
    at_most: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _share_below_one(self) -> "DistanceClaim":
        if self.distance == "flips" and self.at_most >= 1:
            msg = f"at_most of flips is a share of items, between 0 and 1 (found {self.at_most:g})"
            raise ValueError(msg)
        return self

    @property
    def capability_names(self) -> tuple[str, ...]:
        """Its only one."""
        return (self.capability,)

    @property
    def name(self) -> str:
        """The capability and the distance."""
        return f"{self.capability}-{self.distance}{self._versus}"

    @property
    def variant(self) -> str:
        """The same for all: bounds that differ make one claim, which is made several times."""
        return "at_most"

    @property
    def text(self) -> str:
        """The bound."""
        return f"at most {self.at_most:g}"

    def problems(self, arms: tuple[ArmKey, ...], suite: Mapping[str, Capability]) -> Iterator[Problem]:
        """A capability or a ratio that does not exist, or answers where there are none."""
        if self.capability not in suite:
            yield Problem("capability", unknown=self.capability)
        elif self.distance == "flips" and suite[self.capability].logarithmic:
            complaint = f"capability {self.capability} is a perplexity, without answers that could flip; use `kl`"
            yield Problem("distance", complaint)
        yield from self.arm_problems(arms)


@dataclass(frozen=True)
class DistanceCase(ArmCase):
    """One claim about a distance at one ratio."""

    FIXTURE: ClassVar[str] = "glu_distance"

    claim: DistanceClaim
    capability: Capability

    @classmethod
    def of(cls, entry: Entry, claim: DistanceClaim, identity: str, arm: ArmKey | None) -> "DistanceCase":
        """The claim at one of its ratios."""
        assert arm is not None
        return cls(entry.file, entry.line, identity, entry.experiment, claim, arm, entry.suite[claim.capability])

    def requirements(self) -> Iterator[Requirement]:
        """The answers of the dense and the pruned model, or how their predictions differ."""
        yield Requirement(self.capability, (DENSE, self.arm), divergent=self.claim.distance == "kl")

    def judge(self, source: "Source") -> CaseResult:
        """From the items alone: nothing floors a distance, and no control has a say."""
        (needed,) = self.requirements()
        found = source.distances(self, needed)
        verdict = judge_distance(self, found)
        result = DistanceResult.model_validate({**self.about_family(source), **claim_fields(verdict)})
        tables = CaseTables(distances=(result,)).joined([found.tables])
        return CaseResult(outcome=verdict.outcome, sentence=verdict.sentence, tables=tables)


def judge_distance(case: DistanceCase, found: "DistanceEvidence") -> DistanceVerdict:
    """The verdict on `case`; see `settle_distance`.

    Raises:
        EvaluationError: a value cannot be used.
    """
    claim, items = case.claim, found.items
    value = items.level(claim.distance)
    outcome, p, needed = settle_distance(value, claim.at_most, case.tests)
    low, high = value.interval()
    unit = case.capability.unit(shared=items.clusters is not None)
    return DistanceVerdict(
        capability=case.capability.name,
        distance=claim.distance,
        claim=claim.text,
        outcome=outcome,
        value=value.difference,
        low=max(low, 0.0),
        high=min(high, 1.0) if claim.distance == "flips" else high,
        at_most=claim.at_most,
        p=p,
        tests=case.tests,
        test=f"{value.test} of more than {claim.at_most:g}" if outcome == "refuted" else value.test,
        items=len(items.values),
        needed=needed,
        note=found.note,
        reasons=(*found.remarks, *power_note(needed, value.units, unit)),
    )
