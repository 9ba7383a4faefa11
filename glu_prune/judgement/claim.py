"""What every claim in an expectation file has, and the values that several kinds of claims take."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from glu_prune.errors import PlanError
from glu_prune.pruning.ratio import parse_ratio, show_ratio
from glu_prune.results.base import Outcome

if TYPE_CHECKING:
    from glu_prune.evaluation.capability import Capability

Direction = Literal["up", "down", "preserved"]


def _any_ratio(value: object) -> Decimal:
    try:
        return parse_ratio(value)
    except PlanError as error:
        raise ValueError(str(error)) from error


def _ratio(value: object) -> Decimal:
    ratio = _any_ratio(value)
    if ratio == 0:
        msg = "ratio 0 is the dense model, which every case is compared with; leave it out"
        raise ValueError(msg)
    return ratio


def unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """`values`; raises `ValueError` if one occurs more than once."""
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        msg = f"{repeated[0]} occurs more than once"
        raise ValueError(msg)
    return values


AnyRatio = Annotated[Decimal, BeforeValidator(_any_ratio)]
"""A ratio, that of the dense model included."""
Ratio = Annotated[Decimal, BeforeValidator(_ratio)]
Ratios = Annotated[tuple[Ratio, ...], Field(min_length=1, max_length=100), AfterValidator(unique)]
Margin = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class ClosedModel(BaseModel):
    """Frozen, and closed to keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _switches_alone_are_true_or_false(cls, found: object, info: ValidationInfo) -> object:
        """`found`; pydantic would take `true` for the number 1, and `1` or `yes` for true."""
        switch = cls.model_fields[str(info.field_name)].annotation is bool
        if switch != isinstance(found, bool):
            msg = "it is true or false" if switch else "true and false are for switches only"
            raise ValueError(msg)
        return found


@dataclass(frozen=True)
class Problem:
    """Something in a claim that would match nothing."""

    key: str
    """The key of the entry under which it stands."""
    complaint: str = ""
    unknown: str = ""
    """The name of a capability that does not exist; in place of a complaint."""


class Claim(ClosedModel):
    """What every claim carries; each kind is one file of `judgement/kinds/`: its claim, its case, how it is judged."""

    KEY: ClassVar[str]
    """The key that makes an entry of `expect` a claim of this kind."""

    why: Annotated[str, Field(min_length=1)]

    @property
    @abstractmethod
    def capability_names(self) -> tuple[str, ...]:
        """The capabilities that the claim is about."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What test ids call it."""

    @property
    def variant(self) -> str:
        """What tells it from another claim of the same name."""
        return ""

    @abstractmethod
    def problems(self, ratios: tuple[Decimal, ...], suite: Mapping[str, "Capability"]) -> Iterator[Problem]:
        """What would match nothing, in a file with these ratios and capabilities."""

    def ratios_among(self, ratios: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
        """At which of the file's ratios it is judged, each a case; none if it is one case across ratios."""
        del ratios
        return ()


class ClaimAtRatios(Claim):
    """A claim that is judged at each of its ratios."""

    ratios: Ratios | None = None
    """Where the claim is made; all ratios of the file if absent."""
    verdict: Outcome | dict[Ratio, Outcome] = "confirmed"
    """What is known to happen, everywhere or by ratio (`confirmed` where none is named); the case fails when something
    else does."""

    @field_validator("verdict", mode="before")
    @classmethod
    def _one_for_each_ratio(cls, found: object) -> object:
        """`found`; of two ways to write a ratio, the last would win without a word."""
        if isinstance(found, dict):
            unique(tuple(_ratio(ratio) for ratio in found))
        return found

    @property
    @abstractmethod
    def text(self) -> str:
        """What it says of its subject, as tables show it."""

    def declared(self, ratio: Decimal) -> Outcome:
        """The verdict that is known to be found at `ratio`."""
        return self.verdict.get(ratio, "confirmed") if isinstance(self.verdict, dict) else self.verdict

    def ratios_among(self, ratios: tuple[Decimal, ...]) -> tuple[Decimal, ...]:
        """The family of its tests: each of its verdicts is corrected for their number."""
        return self.ratios or ratios

    def ratio_problems(self, ratios: tuple[Decimal, ...]) -> Iterator[Problem]:
        """Ratios of the claim that would match no case."""
        declared = self.verdict if isinstance(self.verdict, dict) else ()
        for key, found, allowed, whose in (
            ("ratios", self.ratios or (), ratios, "this file"),
            ("verdict", declared, self.ratios_among(ratios), "this claim"),
        ):
            if strange := set(found) - set(allowed):
                shown = ", ".join(map(show_ratio, allowed))
                yield Problem(
                    key,
                    f"ratio {show_ratio(min(strange))} is not among the ratios of {whose} ({shown}); "
                    "this entry would match no case there",
                )


class DirectionClaim(ClaimAtRatios):
    """A claim that something goes up, goes down, or is preserved within a margin."""

    direction: Direction
    margin: Margin | None = None
    """For `preserved`: the largest change that does not matter, in units of the metric."""

    @model_validator(mode="after")
    def _margin_where_needed(self) -> "DirectionClaim":
        if (self.direction == "preserved") != (self.margin is not None):
            msg = f"direction {self.direction} {'needs' if self.margin is None else 'takes no'} margin"
            raise ValueError(msg)
        return self

    @property
    def text(self) -> str:
        """The direction, with its margin if it has one."""
        return self.direction if self.margin is None else f"{self.direction} within {self.margin:g}"

    @property
    def variant(self) -> str:
        """Its direction."""
        return self.direction
