"""What an expectation file says as a whole: a model, how it is pruned, and the claims about it."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.arms import Calibration, CriterionName, DeclaredArm, Shown, looks_at_text
from glu_prune.judgement.claim import DENSE_NAME, ArmClaim, ArmKey, ArmName, ClosedModel, Ratios, unique
from glu_prune.judgement.declared import CapabilityName, Declared
from glu_prune.judgement.kinds import AnyClaim
from glu_prune.judgement.kinds.choice import ChoiceClaim
from glu_prune.judgement.kinds.direction import CapabilityClaim
from glu_prune.judgement.kinds.evidence import Flaw
from glu_prune.pruning.calibration_text import CalibrationText
from glu_prune.pruning.criteria import REVERSED
from glu_prune.pruning.ratio import show_ratio

DRAWN = "random"
"""In the name of a criterion that draws, by its seed."""
ANY = "any"
"""In place of a model: the file is about whichever model the user names, if no other file is."""


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
    criterion: CriterionName = "ppm"
    calibration: Calibration | None = None
    """A file of text, relative to this file, one per line, for criteria that look at activations; or a part of one."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0
    chat_template: bool = False
    """Whether prompts are put into the model's chat template."""
    ratios: Ratios = ()
    """Of neurons that the criterion removes, each an arm."""
    arms: Annotated[Mapping[ArmName, DeclaredArm], Field(max_length=100)] = {}
    """Arms that are more than the criterion and a ratio, by name."""
    items: Mapping[str, Annotated[int, Field(ge=1, le=1_000_000)]] = {}
    """Task to how many of its items are asked, drawn once, of each task of a group its share; else all of them."""
    controls: Annotated[tuple[CriterionName, ...], AfterValidator(unique)] = ()
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

    @model_validator(mode="before")
    @classmethod
    def _texts_by_name(cls, said: object) -> object:
        """What is said, with calibration texts that have names in the place of these names.

        The file's own criteria take the only one, if there is only one.
        """
        texts = said.get("calibration") if isinstance(said, dict) else None
        if not isinstance(said, dict) or not isinstance(texts, dict) or {*texts} & {*Shown.model_fields}:
            return said
        arms = {name: dict(each) for name, each in (said.get("arms") or {}).items() if isinstance(each, dict)}
        taken = {name: each["calibration"] for name, each in arms.items() if isinstance(each.get("calibration"), str)}
        if unused := next((name for name in texts if len(texts) > 1 and name not in taken.values()), None):
            msg = f"calibration text {unused!r} is named by no arm; use it, or remove it"
            raise ValueError(msg)
        for name, text in taken.items():
            arms[name]["calibration"] = texts.get(text, text)
        only = {"calibration": next(iter(texts.values()))} if len(texts) == 1 and set(taken) != set(arms) else {}
        return {**{key: value for key, value in said.items() if key != "calibration"}, "arms": arms, **only}

    @model_validator(mode="after")
    def _complete(self) -> "Experiment":
        if not self.keys and any(isinstance(claim, ArmClaim) for claim in self.expect):
            msg = "there is nothing to judge; name `ratios`, or `arms`"
            raise ValueError(msg)
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
        for name, each in self.arms.items():
            if each.on not in (
                None,
                DENSE_NAME,
                *self.ratios,
                *(key for key in self.arms if not self.arms[key].adapter),
            ):
                msg = f"arms: {name} is on {each.on}, which is no other arm of this file, or an adapter itself"
                raise ValueError(msg)
        if not self.items and any(isinstance(claim, ChoiceClaim) and claim.check for claim in self.expect):
            msg = "check is about items that neither half has; leave some out with `items`"
            raise ValueError(msg)
        self._refuse_ratios_without_controls()
        self._refuse_calibration()
        return self

    def _refuse_calibration(self) -> None:
        """Raises `ValueError` unless there is calibration text just where a criterion looks at it."""
        own = [self.criterion] if self.ratios else []
        whole = [each for each in self.arms.values() if each.checkpoint is None and each.adapter is None]
        arms = [each for each in whole if each.calibration is None]
        claimed = [name for claim in self.expect for name in claim.criteria]
        shown = [*own, *claimed, *self.control_criteria, *(each.criterion or self.criterion for each in arms)]
        looking = [name for name in shown if looks_at_text(name)]
        if looking and self.calibration is None:
            msg = f"criterion {looking[0]!r} looks at activations; give it text with `calibration: FILE`, or `everyday`"
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
            asked = {key for key in claim.arms_among(self.keys) if isinstance(key, Decimal)} if specific else set()
            if lacking := asked - set(self.control_ratios):
                msg = f"a claim that is specific needs controls at ratio {show_ratio(min(lacking))}; see control_ratios"
                raise ValueError(msg)

    @property
    def keys(self) -> tuple[ArmKey, ...]:
        """All arms that claims can be about: ratios, then names."""
        return (*self.ratios, *self.arms)

    def arm(self, key: ArmKey) -> Arm:
        """The model that `key` stands for; 0 is the dense one."""
        if key == DENSE_NAME:
            return DENSE
        if isinstance(key, str):
            declared = self.arms[key]
            if declared.adapter is not None and declared.on is not None:
                return replace(self.arm(declared.on), adapter=Path(declared.adapter), name=key)
            return declared.arm(key, self.criterion, self.seed, self.calibration)
        return Arm(self.criterion, key, self.seed, self.text_of(self.criterion)) if key else DENSE

    def revision_of(self, checkpoint: str) -> str | None:
        """That which the arm of a checkpoint names."""
        return next((each.revision for each in self.arms.values() if each.checkpoint == checkpoint), None)

    def is_control(self, arm: Arm) -> bool:
        """Whether `arm` is only compared with."""
        return arm.criterion not in (None, self.criterion) and arm not in map(self.arm, self.arms)

    def text_of(self, criterion_name: str, draw: int = 0) -> CalibrationText | None:
        """The calibration text of a criterion, if it looks at some; of a part of a file, one of several draws."""
        return self.calibration.text(draw) if self.calibration and looks_at_text(criterion_name) else None

    def is_drawn(self, criterion_name: str) -> bool:
        """Whether a criterion chooses by chance: itself, or by the part of a text that it is shown."""
        shows_a_part = self.calibration is not None and self.calibration.tokens is not None
        return DRAWN in criterion_name or (shows_a_part and looks_at_text(criterion_name))

    def controls_of(self, key: ArmKey, count: int) -> Mapping[str, tuple[Arm, ...]]:
        """Criterion of a control to the models that it leaves at the size of an arm: `count`, if it draws by chance."""
        arm = self.arm(key)
        left_out = self.control_ratios is not None and key in self.ratios and key not in self.control_ratios
        if arm.checkpoint or arm.adapter or left_out:
            return {}
        return {name: self._draws(name, arm, count) for name in self.control_criteria if name != arm.criterion}

    def _draws(self, criterion_name: str, like: Arm, count: int) -> tuple[Arm, ...]:
        by_seed = DRAWN in criterion_name
        return tuple(
            Arm(
                criterion_name,
                like.ratio,
                self.seed + draw * by_seed,
                self.text_of(criterion_name, draw),
                like.target,
            )
            for draw in range(count if self.is_drawn(criterion_name) else 1)
        )

    def most_items(self, capability: Capability, limit: int | None = None) -> int | None:
        """How many items of the task of `capability` are asked where `limit` is the most of any; None for all."""
        return min(filter(None, (self.items.get(capability.task), limit)), default=None)

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
