"""What an expectation file may say: claims, typed, and closed to keys they do not know."""

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from glu_prune.efficiency.cost_metrics import CORRECT_ANSWER, COST_METRICS
from glu_prune.errors import PlanError
from glu_prune.judgement.declared import CapabilityName, Declared
from glu_prune.pruning.criteria import REVERSED, criterion
from glu_prune.pruning.ratio import parse_ratio, show_ratio

Direction = Literal["up", "down", "preserved"]
Outcome = Literal["confirmed", "refuted", "inconclusive", "artefact"]
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


def _criterion(name: str) -> str:
    """The name of a criterion that a sweep can use: it exists and needs no calibration text."""
    try:
        found = criterion(name)
    except PlanError as error:
        raise ValueError(str(error)) from error
    if found.looks_at == "activations":
        msg = f"criterion {name!r} needs calibration text, which expectation files cannot give"
        raise ValueError(msg)
    return name if name.startswith(REVERSED) else found.name


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


def _unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    repeated = [value for value, count in Counter(values).items() if count > 1]
    if repeated:
        msg = f"{repeated[0]} occurs more than once"
        raise ValueError(msg)
    return values


def _measure(name: str) -> str:
    if name not in COST_METRICS:
        msg = f"measure {name!r} does not exist; there are {', '.join(COST_METRICS)}"
        raise ValueError(msg)
    return name


def _listed(value: object) -> object:
    """One name as a list of one."""
    return (value,) if isinstance(value, str) else value


ANY = "any"
"""In place of a model: the file is about whichever model the user names, if no other file is."""

_Criterion = Annotated[str, AfterValidator(_criterion)]
_Ratio = Annotated[Decimal, BeforeValidator(_ratio)]
_Ratios = Annotated[tuple[_Ratio, ...], Field(min_length=1, max_length=100), AfterValidator(_unique)]
_Margin = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Claim(_Closed):
    """What every claim carries."""

    why: Annotated[str, Field(min_length=1)]


class ClaimAtRatios(_Claim):
    """A claim that is judged at each of its ratios."""

    direction: Direction
    ratios: _Ratios | None = None
    """Where the claim is made; all ratios of the file if absent."""
    margin: _Margin | None = None
    """For `preserved`: the largest change that does not matter, in units of the metric."""
    verdict: Outcome | dict[_Ratio, Outcome] = "confirmed"
    """What is known to happen, everywhere or by ratio (`confirmed` where none is named); the case fails when something
    else does."""

    @model_validator(mode="after")
    def _margin_where_needed(self) -> "ClaimAtRatios":
        if (self.direction == "preserved") != (self.margin is not None):
            msg = f"direction {self.direction} {'needs' if self.margin is None else 'takes no'} margin"
            raise ValueError(msg)
        return self

    @property
    def text(self) -> str:
        """The direction, with its margin if it has one."""
        return self.direction if self.margin is None else f"{self.direction} within {self.margin:g}"

    def declared(self, ratio: Decimal) -> Outcome:
        """The verdict that is known to be found at `ratio`."""
        return self.verdict.get(ratio, "confirmed") if isinstance(self.verdict, dict) else self.verdict


class CapabilityClaim(ClaimAtRatios):
    """What a capability does when neurons go, whichever way its metric counts."""

    capability: str
    specific: bool = False
    """Whether the claim is that the criterion does it: any other damage of that size must do less."""


class EfficiencyClaim(ClaimAtRatios):
    """What a figure of cost does when neurons go; `up` and `down` are those of the figure."""

    efficiency: Annotated[str, AfterValidator(_measure)]
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
    def about(self) -> str:
        """The figure, and where it is measured if not everywhere."""
        of = f" of {self.questions}" if self.questions else ""
        return self.efficiency + of + (f" in {self.workload}" if self.workload else "")


class TrendClaim(_Claim):
    """What one or more capabilities do across all ratios of the file."""

    trend: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1), AfterValidator(_unique)]
    """Names of capabilities."""
    relation: Relation
    at: Annotated[Decimal, BeforeValidator(_any_ratio)] | None = None
    """For `knee` and `equilibrium`: the ratio where it is claimed to be."""
    margin: _Margin | None = None
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
        return self


class Flaw(_Claim):
    """What an evidence check is known to find in published figures."""

    check: str
    about: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_unique)] | None = None
    """The subjects that it is known to find flawed: these, and no others; any if absent."""


KINDS: Mapping[str, type[_Claim]] = {
    "capability": CapabilityClaim,
    "efficiency": EfficiencyClaim,
    "trend": TrendClaim,
}
"""The key that makes an entry a claim of one kind."""


def _kind(entry: object) -> str:
    keys = entry if isinstance(entry, dict) else type(entry).model_fields if isinstance(entry, _Claim) else ()
    return next((kind for kind in KINDS if kind in keys), "capability")


Claim = Annotated[
    Annotated[CapabilityClaim, Tag("capability")]
    | Annotated[EfficiencyClaim, Tag("efficiency")]
    | Annotated[TrendClaim, Tag("trend")],
    Discriminator(_kind),
]


class Experiment(_Closed):
    """What an expectation file says: a model, how it is pruned, and the claims about it."""

    model: Annotated[str, Field(max_length=250)]
    """An embedded model, a Hugging Face id, a folder (`$VARIABLE/...` if it lies elsewhere for each user), or `any`."""
    revision: str | None = None
    suite: Literal["embedded", "study", "study-instruct", "stories"] = "embedded"
    capabilities: Mapping[CapabilityName, Declared] = {}
    """More capabilities than the suite has, or others in place of its own."""
    tasks: str | None = None
    """A folder of lm-eval's YAML files, relative to this file, that declares tasks of these capabilities."""
    criterion: _Criterion = "ppm"
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    chat_template: bool = False
    """Whether prompts are put into the model's chat template."""
    ratios: _Ratios
    controls: Annotated[tuple[_Criterion, ...], AfterValidator(_unique)] = ()
    """Criteria that are run at the same ratios, for comparison."""
    baseline_margins: Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    """Capability to the largest worsening against a baseline that does not matter, in units of the metric."""
    evidence: str | None = None
    """A folder of published figures about the model, relative to the file."""
    flaws: tuple[Flaw, ...] = ()
    """What evidence checks are known to find in those figures."""
    expect: Annotated[tuple[Claim, ...], Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _complete(self) -> "Experiment":
        if self.flaws and self.evidence is None:
            msg = "flaws are about published figures; name their folder with evidence"
            raise ValueError(msg)
        if strange := self._no_control():
            msg = f"control {strange!r} chooses as the criterion {self.criterion!r} or another control does"
            raise ValueError(msg)
        if len(self.flaws) > len({flaw.check for flaw in self.flaws}):
            msg = "flaws: each check is named once; list what it finds under `about`"
            raise ValueError(msg)
        if not self.controls and any(isinstance(c, CapabilityClaim) and c.specific for c in self.expect):
            msg = "a claim that is specific needs controls to be compared with, such as `controls: [random]`"
            raise ValueError(msg)
        return self

    @property
    def subject(self) -> str:
        """The model, as tables name it, and whether it is asked in its chat template."""
        return f"{self.model} (chat)" if self.chat_template else self.model

    @property
    def control_criteria(self) -> tuple[str, ...]:
        """The criteria of the controls; `reversed` alone is the reverse of the experiment's own."""
        return tuple(self._reverse if name == REVERSED else name for name in self.controls)

    @property
    def _reverse(self) -> str:
        prefix = f"{REVERSED}-"
        own = self.criterion
        return own.removeprefix(prefix) if own.startswith(prefix) else prefix + own

    def _no_control(self) -> str | None:
        """A control that is no other way to choose neurons; None if all are."""
        taken = [self.criterion]
        for name, resolved in zip(self.controls, self.control_criteria, strict=True):
            if resolved in taken:
                return name
            taken.append(resolved)
        return None

    def family(self, claim: ClaimAtRatios) -> tuple[Decimal, ...]:
        """The ratios at which `claim` is made; each of its verdicts is corrected for their number."""
        return claim.ratios or self.ratios


def strange_ratio(experiment: Experiment, claim: ClaimAtRatios) -> tuple[str, str] | None:
    """(key, complaint) about a ratio of `claim` that would match no case; None if there is none."""
    for key, found, allowed in (
        ("ratios", claim.ratios or (), experiment.ratios),
        ("verdict", claim.verdict if isinstance(claim.verdict, dict) else (), experiment.family(claim)),
    ):
        if strange := set(found) - set(allowed):
            among = "this file" if key == "ratios" else "this claim"
            shown = ", ".join(map(show_ratio, allowed))
            return key, (
                f"ratio {show_ratio(min(strange))} is not among the ratios of {among} ({shown}); "
                "this entry would match no case there"
            )
    return None
