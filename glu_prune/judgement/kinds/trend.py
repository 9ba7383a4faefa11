"""Claims about what one or more capabilities do across ratios."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from glu_prune.errors import EvaluationError, NotMeasuredError
from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.across import judge_trend
from glu_prune.judgement.case import ClaimCase, Entry, Requirement
from glu_prune.judgement.claim import AnyRatio, ArmKey, ArmName, Claim, Margin, Problem, Ratios, listed, unique
from glu_prune.judgement.curves import curve
from glu_prune.pruning.ratio import show_ratio
from glu_prune.results.base import Outcome
from glu_prune.results.claims import TrendResult
from glu_prune.results.report import CaseResult, CaseTables

if TYPE_CHECKING:
    from glu_prune.judgement.sources import Evaluation, Source

Relation = Literal["rising", "falling", "inverse", "positive", "knee", "equilibrium"]

_NAMES_PER_RELATION: Mapping[Relation, tuple[int, int]] = {
    "rising": (1, 1),
    "falling": (1, 1),
    "knee": (1, 1),
    "inverse": (2, 2),
    "positive": (2, 2),
    "equilibrium": (2, 99),
}
"""How many capabilities a trend of each kind is about, at least and at most."""


class TrendClaim(Claim):
    """What one or more capabilities do across ratios."""

    KEY: ClassVar[str] = "trend"

    trend: Annotated[tuple[str, ...], BeforeValidator(listed), Field(min_length=1), AfterValidator(unique)]
    """Names of capabilities."""
    relation: Relation
    ratios: Annotated[Ratios, Field(min_length=2)] | None = None
    """Across these; all of the file if neither these nor `arms` are given."""
    arms: Annotated[tuple[ArmName, ...], Field(min_length=2, max_length=100), AfterValidator(unique)] | None = None
    """Across these in place of ratios, ordered by how many parameters they lack."""
    at: AnyRatio | None = None
    """For `knee` and `equilibrium`: the ratio where it is claimed to be."""
    margin: Margin | None = None
    """For `knee`: the largest loss that still counts as preserved, in units of the metric."""
    verdict: Outcome = "confirmed"

    @model_validator(mode="after")
    def _complete(self) -> "TrendClaim":
        least, most = _NAMES_PER_RELATION[self.relation]
        if not least <= len(self.trend) <= most:
            many = f"{least}" if least == most else f"at least {least}"
            msg = f"relation {self.relation} is about {many} capabilities (found {len(self.trend)})"
            raise ValueError(msg)
        for name, needed in (("at", ("knee", "equilibrium")), ("margin", ("knee",))):
            if (self.relation in needed) != (getattr(self, name) is not None):
                msg = f"relation {self.relation} {'needs' if self.relation in needed else 'takes no'} {name}"
                raise ValueError(msg)
        if self.ratios and self.arms:
            msg = "a trend goes across ratios or across arms; leave one of them out"
            raise ValueError(msg)
        return self

    @property
    def capability_names(self) -> tuple[str, ...]:
        """All that move."""
        return self.trend

    @property
    def name(self) -> str:
        """The capabilities, their relation, and across what if that is not all ratios of the file."""
        return "-".join((*self.trend, self.relation, *map(show_ratio, self.ratios or ()), *(self.arms or ())))

    def problems(self, arms: tuple[ArmKey, ...], suite: Mapping[str, Capability]) -> Iterator[Problem]:
        """A capability or a ratio that does not exist, or a mean of what has no common scale."""
        for name in self.trend:
            if name not in suite:
                yield Problem("trend", unknown=name)
            elif self.relation == "equilibrium" and not suite[name].share:
                complaint = f"capability {name} is no share of right answers; an equilibrium is a mean of such scores"
                yield Problem("trend", complaint)
        allowed = [each for each in arms if isinstance(each, Decimal)]
        if self.arms is not None:
            if strange := next((each for each in self.arms if each not in arms), None):
                named = ", ".join(each for each in arms if isinstance(each, str)) or "none"
                yield Problem("arms", f"arm {strange} is not among the arms of this file ({named})")
            if self.at is not None:
                yield Problem("at", f"relation {self.relation} names a ratio, and arms have none; leave out arms")
        elif not allowed:
            yield Problem("trend", "a trend goes across ratios, and this file has none; name `ratios`")
        else:
            here = "this claim" if self.ratios else "this file"
            yield from _strange("ratios", self.ratios or (), allowed, "this file")
            yield from _strange("at", (self.at,) if self.at else (), self.ratios or allowed, here)


def _strange(key: str, named: Iterable[Decimal], allowed: Sequence[Decimal], whose: str) -> Iterator[Problem]:
    """That a ratio is not among those which are allowed."""
    for ratio in sorted(set(named) - set(allowed))[:1]:
        shown = ", ".join(map(show_ratio, allowed))
        yield Problem(key, f"ratio {show_ratio(ratio)} is not among the ratios of {whose} (0, {shown})")


@dataclass(frozen=True)
class _BySize:
    """Arms by the share of the dense model's parameters that they lack."""

    claim: TrendClaim
    places: Mapping[Decimal, Arm]

    @property
    def ratios(self) -> tuple[Decimal, ...]:
        return tuple(sorted(self.places))

    def arm(self, ratio: Decimal) -> Arm:
        return self.places[ratio]


@dataclass(frozen=True)
class TrendCase(ClaimCase):
    """One claim about capabilities across ratios."""

    FIXTURE: ClassVar[str] = "glu_trend"

    claim: TrendClaim
    capabilities: tuple[Capability, ...]

    @classmethod
    def of(cls, entry: Entry, claim: TrendClaim, identity: str, arm: ArmKey | None) -> "TrendCase":
        """The only case of the claim."""
        del arm
        capabilities = tuple(entry.suite[name] for name in claim.trend)
        return cls(entry.file, entry.line, identity, entry.experiment, claim, capabilities)

    @property
    def declared(self) -> Outcome:
        """As the claim says."""
        return self.claim.verdict

    @property
    def ratios(self) -> tuple[Decimal, ...]:
        """Those that the claim is about in order, the dense model's 0 first."""
        return tuple(sorted({Decimal(0), *(self.claim.ratios or self.experiment.ratios)}))

    def arm(self, ratio: Decimal) -> Arm:
        """The model at `ratio`."""
        return self.experiment.arm(ratio)

    @property
    def _arms(self) -> tuple[Arm, ...]:
        """The dense model, and those that the claim is about."""
        if self.claim.arms is None:
            return tuple(map(self.arm, self.ratios))
        return (DENSE, *map(self.experiment.arm, self.claim.arms))

    def _by_size(self, found: "Evaluation") -> _BySize:
        """Raises `EvaluationError` if two arms are of one size, or one is as large as the dense model."""
        if not found.records:
            msg = "not measured: published figures know no arms; judge it on runs"
            raise NotMeasuredError(msg)
        whole = found.records[DENSE].size.parameters
        places: dict[Decimal, Arm] = {}
        for arm in self._arms:
            lacking = (1 - Decimal(found.records[arm].size.parameters) / whole).quantize(Decimal("0.0001"))
            if (other := places.setdefault(lacking, arm)) != arm:
                names = " and ".join(each.name or "dense" for each in (other, arm))
                msg = f"{self.where}: {names} have as many parameters; a trend goes from size to size, leave one out"
                raise EvaluationError(msg)
        return _BySize(self.claim, places)

    def requirements(self) -> Iterator[Requirement]:
        """Each capability at every ratio, or of every arm."""
        return (Requirement(capability, self._arms) for capability in self.capabilities)

    def judge(self, source: "Source") -> CaseResult:
        """From the scores at all its ratios, which are a curve of each capability, too; or of all its arms."""
        found = [evaluation for needed in self.requirements() for evaluation in source.scores(self, needed)]
        across = self if self.claim.arms is None else self._by_size(found[0])
        verdict = judge_trend(across, [each.scores for each in found])
        result = TrendResult.model_validate({**self.about, **vars(verdict), "sentence": verdict.sentence})
        arms = self._arms if self.claim.arms is None else ()  # arms of several kinds are no curve
        curves = tuple(point for each in found for point in curve(self.subject, arms, each.scores))
        tables = CaseTables(trends=(result,), curves=curves).joined([each.tables for each in found])
        return CaseResult(outcome=verdict.outcome, sentence=verdict.sentence, tables=tables)
