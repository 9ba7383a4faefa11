"""What every claim in an expectation file has, and the values that several kinds of claims take."""

import re
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
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

Direction = Literal["up", "down", "preserved", "kept"]


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


def listed(value: object) -> object:
    """One name as a list of one."""
    return (value,) if isinstance(value, str) else value


DENSE_NAME = "dense"
"""The model as it is, wherever an arm can be named."""
_NAME = re.compile(r"(?!ratio_)[A-Za-z][A-Za-z0-9_.+-]{0,59}")


def _arm_name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value) or value == DENSE_NAME:
        msg = (
            "the name of an arm is a letter, then at most 59 letters, digits and `_.+-`; "
            f"neither {DENSE_NAME} nor ratio_..., which have a meaning"
        )
        raise ValueError(msg)
    return value


def _key(value: object) -> Decimal | str:
    """The ratio, or the name of an arm."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else _ratio(value)


def show_key(key: "ArmKey") -> str:
    """As ids and tables call it."""
    return key if isinstance(key, str) else show_ratio(key)


ArmKey = Annotated[Decimal | str, BeforeValidator(_key)]
"""One of a file's arms: the ratio of one that has no other name, or its name."""
ArmName = Annotated[str, BeforeValidator(_arm_name)]
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
    def criteria(self) -> tuple[str, ...]:
        """Criteria that it names itself."""
        return ()

    def beside(self, folder: Path) -> "Claim":
        """With absolute paths of what it names relative to `folder`.

        Raises:
            PlanError: a file cannot be used.
        """
        del folder
        return self

    @property
    def variant(self) -> str:
        """What tells it from another claim of the same name."""
        return ""

    @abstractmethod
    def problems(self, arms: tuple[ArmKey, ...], suite: Mapping[str, "Capability"]) -> Iterator[Problem]:
        """What would match nothing, in a file with these arms and capabilities."""

    def arms_among(self, arms: tuple[ArmKey, ...]) -> tuple[ArmKey, ...]:
        """Of which of the file's arms it is judged, each a case; none if it is one case across ratios."""
        del arms
        return ()


class ArmClaim(Claim):
    """A claim that is judged of each of its arms."""

    ratios: Ratios | None = None
    """Where the claim is made; all ratios of the file if neither these nor `arms` are given."""
    arms: Annotated[tuple[ArmName, ...], Field(min_length=1, max_length=100), AfterValidator(unique)] | None = None
    """Of which named arms; all of the file if neither these nor `ratios` are given."""
    against: ArmKey = DENSE_NAME
    """The arm that they are compared with."""
    verdict: Outcome | dict[ArmKey, Outcome] = "confirmed"
    """What is known to happen, everywhere or by arm (`confirmed` where none is named); the case fails when something
    else does."""

    @field_validator("verdict", mode="before")
    @classmethod
    def _one_for_each_arm(cls, found: object) -> object:
        """`found`; of two ways to write a ratio, the last would win without a word."""
        if isinstance(found, dict):
            unique(tuple(_key(key) for key in found))
        return found

    @property
    def _versus(self) -> str:
        """Ends what ids call it: what the arms are compared with, if not with the dense model."""
        return "" if self.against == DENSE_NAME else f"-vs-{show_key(self.against)}"

    @property
    @abstractmethod
    def text(self) -> str:
        """What it says of its subject, as tables show it."""

    def declared(self, arm: ArmKey) -> Outcome:
        """The verdict that is known to be found of `arm`."""
        return self.verdict.get(arm, "confirmed") if isinstance(self.verdict, dict) else self.verdict

    def arms_among(self, arms: tuple[ArmKey, ...]) -> tuple[ArmKey, ...]:
        """The family of its tests: each of its verdicts is corrected for their number."""
        if self.ratios is None and self.arms is None:
            return tuple(each for each in arms if each != self.against)
        return (*(self.ratios or ()), *(self.arms or ()))

    def arm_problems(self, arms: tuple[ArmKey, ...]) -> Iterator[Problem]:
        """Ratios and arms of the claim that would match no case."""
        declared = self.verdict if isinstance(self.verdict, dict) else ()
        compared = () if self.against == DENSE_NAME else (self.against,)
        for key, found, allowed, whose in (
            ("ratios", self.ratios or (), arms, "this file"),
            ("arms", self.arms or (), arms, "this file"),
            ("against", compared, arms, "this file"),
            ("verdict", declared, self.arms_among(arms), "this claim"),
        ):
            if strange := sorted(set(found) - set(allowed), key=str):
                kind = type(strange[0])
                what = "arm" if kind is str else "ratio"
                shown = ", ".join(show_key(each) for each in allowed if isinstance(each, kind)) or "none"
                yield Problem(
                    key,
                    f"{what} {show_key(strange[0])} is not among the {what}s of {whose} ({shown}); "
                    "this entry would match no case there",
                )
        if self.against in self.arms_among(arms):
            yield Problem("against", f"{show_key(self.against)} is compared with itself; leave it out of the claim")


class DirectionClaim(ArmClaim):
    """A claim that something goes up, goes down, is preserved within a margin, or is kept: loses less than a margin."""

    direction: Direction
    margin: Margin | None = None
    """For `preserved`: the largest change that does not matter, for `kept` the largest loss, in units of the metric."""

    @model_validator(mode="after")
    def _margin_where_needed(self) -> "DirectionClaim":
        if (self.direction in ("preserved", "kept")) != (self.margin is not None):
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
