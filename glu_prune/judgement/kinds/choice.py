"""Claims that some pruning keeps what is to be kept: the cheapest that is certified to do so is chosen."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field

from glu_prune.errors import PlanError
from glu_prune.evaluation.capability import SUITES, Capability
from glu_prune.evaluation.subset import SHARED, Subset, halves
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.arms import CriterionName
from glu_prune.judgement.case import ClaimCase, Entry, Requirement
from glu_prune.judgement.claim import ArmKey, Claim, Margin, Problem, Ratios, listed, unique
from glu_prune.judgement.trials import EXACT, Minimised, Trials
from glu_prune.pruning.allocation import BY_SCORE, UNIFORM
from glu_prune.pruning.ratio import parse_ratio
from glu_prune.pruning.sensitivity import Sensitivity
from glu_prune.pruning.target import Target
from glu_prune.results.base import Outcome
from glu_prune.results.report import CaseResult

if TYPE_CHECKING:
    from glu_prune.judgement.sources import Source

_MOST = 200


def _ratios(found: object) -> object:
    """`0.05:0.6:0.05` as the ratios from, to, and in steps of; raises `ValueError` if these are none."""
    if not isinstance(found, str) or ":" not in found:
        return found
    try:
        first, last, step = map(parse_ratio, found.split(":"))
    except (PlanError, ValueError) as error:
        msg = f"{found!r} is no range; write FIRST:LAST:STEP, such as 0.05:0.6:0.05"
        raise ValueError(msg) from error
    if not 0 < first <= last or step == 0 or (last - first) / step > _MOST:
        msg = f"{found!r} is no range; FIRST is above 0 and at most LAST, and there are at most {_MOST} steps"
        raise ValueError(msg)
    return [first + number * step for number in range(int((last - first) / step) + 1)]


class ChoiceClaim(Claim):
    """That among some prunings there is one that keeps what is to be kept."""

    KEY: ClassVar[str] = "choose"

    choose: Annotated[Mapping[str, Margin], Field(min_length=1, max_length=50)]
    """Capability to the largest loss that does not matter, in units of its metric (nats for perplexities)."""
    minimise: Minimised = "bytes"
    among: Annotated[tuple[CriterionName, ...], Field(min_length=1), AfterValidator(unique)] = ("ppm",)
    """Criteria."""
    ratios: Annotated[Ratios, BeforeValidator(_ratios)]
    """Of neurons that each of them removes: a list, or `FIRST:LAST:STEP`."""
    multiple_of: Annotated[int, Field(ge=1)] | None = None
    """To a multiple of which widths are rounded."""
    allocation: Annotated[tuple[str, ...], BeforeValidator(listed), Field(min_length=1), AfterValidator(unique)] = (
        UNIFORM,
    )
    """Whether layers lose alike: `uniform`, `by_score`, or files of sensitivities, one for each criterion."""
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    check: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """How many items of each task that neither half has the chosen one is held against, where `items` leaves some."""
    watch: Annotated[tuple[str, ...], AfterValidator(unique)] = ()
    """Capabilities of which it is told what the chosen pruning does to them; they decide nothing."""
    chosen: str | None = None
    """The arm that is known to be chosen, as tables call it; the case fails when another is."""
    verdict: Outcome = "confirmed"

    @property
    def capability_names(self) -> tuple[str, ...]:
        """What is to be kept, and what is only looked at."""
        return (*self.choose, *self.watch)

    @property
    def name(self) -> str:
        """What is to be kept, and what is to be small."""
        return "-".join((*self.choose, self.minimise))

    @property
    def criteria(self) -> tuple[str, ...]:
        """Among which it is chosen."""
        return self.among

    @property
    def measures(self) -> bool:
        """Whether its cost has to be measured."""
        return self.minimise not in EXACT

    def beside(self, folder: Path) -> "ChoiceClaim":
        """With absolute paths of sensitivities; raises `PlanError` for one that cannot be used."""
        named = [each for each in self.allocation if each not in (UNIFORM, BY_SCORE)]
        for each in named:
            if (found := Sensitivity.read(folder / each).criterion) not in self.among:
                msg = f"{folder / each} is about criterion {found}, which is not among {', '.join(self.among)}"
                raise PlanError(msg)
        absolute = tuple(str(folder / each) if each in named else each for each in self.allocation)
        return self.model_copy(update={"allocation": absolute})

    def problems(self, arms: tuple[ArmKey, ...], suite: Mapping[str, Capability]) -> Iterator[Problem]:
        """A capability that does not exist, or is both kept and watched."""
        del arms
        for key, names in (("choose", self.choose), ("watch", self.watch)):
            for name in names:
                if name not in suite:
                    yield Problem(key, unknown=name)
        if twice := next((name for name in self.watch if name in self.choose), None):
            yield Problem("watch", f"{twice} is to be kept already; leave it out of watch")


@dataclass(frozen=True)
class ChoiceCase(ClaimCase):
    """One choice."""

    FIXTURE: ClassVar[str] = "glu_choice"

    claim: ChoiceClaim
    kept: Mapping[str, Capability]
    watched: Mapping[str, Capability]

    @classmethod
    def of(cls, entry: Entry, claim: ChoiceClaim, identity: str, arm: ArmKey | None) -> "ChoiceCase":
        """The only case of the claim."""
        del arm
        kept, watched = ({name: entry.suite[name] for name in names} for names in (claim.choose, claim.watch))
        return cls(entry.file, entry.line, identity, entry.experiment, claim, kept, watched)

    @property
    def declared(self) -> Outcome:
        """As the claim says."""
        return self.claim.verdict

    @property
    def measures(self) -> bool:
        """As the claim says."""
        return self.claim.measures

    @cached_property
    def candidates(self) -> tuple[tuple[Arm, ...], ...]:
        """By criterion and allocation, as ratios grow."""
        claim = self.claim
        ways = [(name, how) for name in claim.among for how in self._allocations(name)]
        return tuple(tuple(self._arm(name, ratio, how) for ratio in sorted(claim.ratios)) for name, how in ways)

    def candidate(self, label: str) -> Arm:
        """The one that tables call `label`."""
        return next(arm for group in self.candidates for arm in group if arm.label == label)

    def _allocations(self, criterion: str) -> Iterator[Target]:
        """What a target says of layers: nothing, or how neurons are allocated to them."""
        for said in self.claim.allocation:
            if said in (UNIFORM, BY_SCORE) or Sensitivity.read(Path(said)).criterion == criterion:
                yield Target().allocating(said)

    def _arm(self, criterion: str, ratio: Decimal, how: Target) -> Arm:
        experiment, multiple = self.experiment, self.claim.multiple_of
        text = experiment.text_of(criterion)
        if multiple is None and how == Target():
            return Arm(criterion, ratio, experiment.seed, text)
        target = replace(how, ratio=ratio, multiple_of=multiple)
        return Arm(criterion, Decimal(0), experiment.seed, text, target)

    def is_of_suite(self, capability: Capability) -> bool:
        """Whether the file's suite has it, so that a file need not declare it."""
        return SUITES[self.experiment.suite].get(capability.name) == capability

    def halves(self, capability: Capability) -> tuple[Subset, Subset]:
        """The items by which the order is found, and those by which it is certified; they share no source."""
        return halves(capability, self.experiment.most_items(capability))

    def others(self, capability: Capability) -> Subset | None:
        """Items that neither half has, if some are to be asked and there may be any."""
        most = self.experiment.most_items(capability)
        if most is None or self.claim.check is None:
            return None
        return Subset(most, most + self.claim.check, capability.cluster or SHARED)

    def requirements(self) -> Iterator[Requirement]:
        """What is to be kept, of all candidates, on the first half; what the other is needed for depends on that."""
        arms = (DENSE, *(arm for group in self.candidates for arm in group))
        return (Requirement(each, arms, part=self.halves(each)[0]) for each in self.kept.values())

    def judge(self, source: "Source") -> CaseResult:
        """Searches on one half of the items, certifies on the other, and measures what passes; see `choosing`.

        Nothing that is certified is *inconclusive*; another choice than the declared one is *refuted*.
        """
        return Trials(self, source).result()
