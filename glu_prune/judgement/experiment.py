"""What an expectation file says as a whole: a model, how it is pruned, and the claims about it."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from glu_prune.errors import PlanError
from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import Arm
from glu_prune.judgement.claim import ClosedModel, Ratios, unique
from glu_prune.judgement.declared import CapabilityName, Declared
from glu_prune.judgement.kinds import AnyClaim
from glu_prune.judgement.kinds.direction import CapabilityClaim
from glu_prune.judgement.kinds.evidence import Flaw
from glu_prune.pruning.calibration_text import CalibrationText
from glu_prune.pruning.criteria import REVERSED, criterion
from glu_prune.pruning.ratio import show_ratio

DRAWN = "random"
"""In the name of a criterion that draws, by its seed."""
ANY = "any"
"""In place of a model: the file is about whichever model the user names, if no other file is."""


def _criterion(name: str) -> str:
    """The name of a criterion that exists."""
    try:
        found = criterion(name)
    except PlanError as error:
        raise ValueError(str(error)) from error
    return name if name.startswith(REVERSED) else found.name


def looks_at_text(name: str) -> bool:
    """Whether a criterion looks at activations, which need calibration text."""
    return criterion(name).looks_at == "activations"


def _shown(calibration: object) -> object:
    """A file's name alone is all of it."""
    return {"file": calibration} if isinstance(calibration, str) else calibration


_Criterion = Annotated[str, AfterValidator(_criterion)]


class Shown(ClosedModel):
    """Calibration text, where not all of a file is shown."""

    file: Annotated[str, Field(min_length=1)]
    tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """How many of the model's tokens, of lines that are drawn."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0


class Experiment(ClosedModel):
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
    calibration: Annotated[Shown, BeforeValidator(_shown)] | None = None
    """A file of text, relative to this file, one per line, for criteria that look at activations; or a part of one."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    chat_template: bool = False
    """Whether prompts are put into the model's chat template."""
    ratios: Ratios
    items: Mapping[str, Annotated[int, Field(ge=1, le=1_000_000)]] = {}
    """Task to how many of its items are asked, drawn once, of each task of a group its share; else all of them."""
    controls: Annotated[tuple[_Criterion, ...], AfterValidator(unique)] = ()
    """Criteria that are run at the same ratios, for comparison."""
    control_ratios: Ratios | None = None
    """At which of the ratios they are run; all if absent."""
    control_seeds: Annotated[int, Field(ge=1, le=1000)] = 1
    """How many draws of controls that choose by chance claims that are specific are compared with, from `seed` on."""
    redraw_ties: bool = True
    """Whether a verdict must hold for another draw, too, where neurons tie at the cut; it takes one more model."""
    baseline_margins: Mapping[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    """Capability to the largest worsening against a baseline that does not matter, in units of the metric."""
    evidence: str | None = None
    """A folder of published figures about the model, relative to the file."""
    flaws: tuple[Flaw, ...] = ()
    """What evidence checks are known to find in those figures."""
    expect: Annotated[tuple[AnyClaim, ...], Field(min_length=1, max_length=500)]

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
        self._refuse_ratios_without_controls()
        self._refuse_calibration()
        return self

    def _refuse_calibration(self) -> None:
        """Raises `ValueError` unless there is calibration text just where a criterion looks at it."""
        looking = [name for name in (self.criterion, *self.control_criteria) if looks_at_text(name)]
        if looking and self.calibration is None:
            msg = f"criterion {looking[0]!r} looks at activations; give it text with `calibration: FILE`"
            raise ValueError(msg)
        if self.calibration is not None and not looking:
            msg = "calibration: no criterion of this file looks at activations; leave it out"
            raise ValueError(msg)

    def _refuse_ratios_without_controls(self) -> None:
        if self.control_ratios is None:
            return
        if strange := set(self.control_ratios) - set(self.ratios):
            msg = f"control_ratios: {show_ratio(min(strange))} is not among the ratios of the file"
            raise ValueError(msg)
        for claim in self.expect:
            specific = isinstance(claim, CapabilityClaim) and claim.specific
            if specific and (lacking := set(claim.ratios_among(self.ratios)) - set(self.control_ratios)):
                msg = f"a claim that is specific needs controls at ratio {show_ratio(min(lacking))}; see control_ratios"
                raise ValueError(msg)

    def text_of(self, criterion_name: str, draw: int = 0) -> CalibrationText | None:
        """The calibration text of a criterion, if it looks at some; of a part of a file, one of several draws."""
        shown = self.calibration
        if shown is None or not looks_at_text(criterion_name):
            return None
        return CalibrationText(Path(shown.file), shown.tokens, shown.seed + draw if shown.tokens else 0)

    def is_drawn(self, criterion_name: str) -> bool:
        """Whether a criterion chooses by chance: itself, or by the part of a text that it is shown."""
        shows_a_part = self.calibration is not None and self.calibration.tokens is not None
        return DRAWN in criterion_name or (shows_a_part and looks_at_text(criterion_name))

    def draws_of(self, criterion_name: str, ratio: Decimal, count: int) -> tuple[Arm, ...]:
        """`count` models that a criterion leaves at `ratio`, one if it chooses nothing by chance."""
        by_seed = DRAWN in criterion_name
        return tuple(
            Arm(criterion_name, ratio, self.seed + draw * by_seed, self.text_of(criterion_name, draw))
            for draw in range(count if self.is_drawn(criterion_name) else 1)
        )

    def most_items(self, capability: Capability, limit: int | None = None) -> int | None:
        """How many items of the task of `capability` are asked where `limit` is the most of any; None for all."""
        return min(filter(None, (self.items.get(capability.task), limit)), default=None)

    @property
    def subject(self) -> str:
        """The model, as tables name it, and whether it is asked in its chat template."""
        return f"{self.model} (chat)" if self.chat_template else self.model

    def controls_at(self, ratio: Decimal) -> tuple[str, ...]:
        """The criteria that are run at `ratio` for comparison."""
        return self.control_criteria if self.control_ratios is None or ratio in self.control_ratios else ()

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
