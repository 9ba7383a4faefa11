"""Arms that an expectation file gives names: models that are pruned in more than one way, and checkpoints."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from glu_prune.errors import PlanError
from glu_prune.experiment.cell import Arm
from glu_prune.judgement.claim import AnyRatio, ArmKey, ClosedModel
from glu_prune.models.adapter import refuse_unusable
from glu_prune.pruning.allocation import BY_SCORE, UNIFORM
from glu_prune.pruning.calibration_text import CalibrationText, text_file
from glu_prune.pruning.criteria import REVERSED, criterion
from glu_prune.pruning.sensitivity import Sensitivity
from glu_prune.pruning.target import Target

KEEP = "keep"
"""In place of a ratio: a layer is not cut."""
_LAYERS = re.compile(r"(\d+)(?:-(\d+))?|(-\d+)")
_MOST_LAYERS = 1000
_SIZES = ("ratio", "expansion_ratio", "width", "parameters", "bytes")


def known_criterion(name: str) -> str:
    """`name`, or what it is an alias of; raises `ValueError` if no criterion is called that."""
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


CriterionName = Annotated[str, AfterValidator(known_criterion)]


class Shown(ClosedModel):
    """Calibration text, where not all of a file is shown."""

    file: Annotated[str, Field(min_length=1)]
    tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    """How many of the model's tokens, of lines that are drawn."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] = 0

    def beside(self, folder: Path) -> "Shown":
        """The same with an absolute path; raises `PlanError` if that is no file."""
        return self.model_copy(update={"file": str(text_file(self.file, folder))})

    def text(self, draw: int = 0) -> CalibrationText:
        """What is shown; of a part of a file, one of several draws."""
        return CalibrationText(Path(self.file), self.tokens, self.seed + draw if self.tokens else 0)


Calibration = Annotated[Shown, BeforeValidator(_shown)]


def _layers(said: object) -> object:
    """`{0-1: keep, 2-27: 0.45}` as a ratio for each layer; raises `ValueError` for a layer that is named twice."""
    if not isinstance(said, dict):
        return said
    found: dict[int, object] = {}
    for key, ratio in said.items():
        for layer in _numbers(key):
            if layer in found:
                msg = f"layer {layer} is named twice"
                raise ValueError(msg)
            found[layer] = 0 if ratio == KEEP else ratio
    return found


def _numbers(key: object) -> Iterator[int]:
    match = _LAYERS.fullmatch(str(key))
    if not match or isinstance(key, bool):
        msg = f"{key!r} names no layers; say one as 3, the last as -1, or several as 2-27"
        raise ValueError(msg)
    first, last, from_end = match.groups()
    if from_end or last is None:
        yield int(from_end or first)
        return
    if not int(first) <= int(last) < int(first) + _MOST_LAYERS:
        msg = f"layers {key} are none; the first of them comes first"
        raise ValueError(msg)
    yield from range(int(first), int(last) + 1)


class DeclaredArm(ClosedModel):
    """A model that claims are about: the file's model, pruned in one way; or a checkpoint, which may be anything."""

    criterion: CriterionName | None = None
    """That of the file if absent."""
    ratio: AnyRatio | None = None
    expansion_ratio: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    width: Annotated[int, Field(ge=1)] | None = None
    parameters: Annotated[int, Field(ge=1)] | None = None
    """Of the whole model, at most."""
    bytes: Annotated[int, Field(ge=1)] | None = None
    """The same in bytes, at the size that weights have before."""
    multiple_of: Annotated[int, Field(ge=1)] | None = None
    """To a multiple of which widths are rounded."""
    layers: Annotated[Mapping[int, AnyRatio], BeforeValidator(_layers)] = {}
    """Layers with a ratio of their own, or `keep`; without another size, all that are not named stay whole."""
    allocation: Annotated[str, Field(min_length=1)] = UNIFORM
    """Whether layers lose alike: `uniform`, `by_score`, or the file of a sensitivity, relative to this one."""
    calibration: Calibration | None = None
    """Text that its criterion is shown; that of the file if absent."""
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    """That of the file if absent."""
    checkpoint: Annotated[str, Field(min_length=1, max_length=250)] | None = None
    """A model in place of all that: named as `model` is."""
    revision: str | None = None
    adapter: Annotated[str, Field(min_length=1)] | None = None
    """A folder of PEFT's, relative to the file, that is merged into the arm `on`."""
    on: ArmKey | None = None
    """The arm that an adapter was trained on: its name, a ratio of the file, or `dense`."""

    @model_validator(mode="before")
    @classmethod
    def _on_is_a_word(cls, said: object) -> object:
        """YAML 1.1 reads the key `on` as true."""
        return {("on" if key is True else key): each for key, each in said.items()} if isinstance(said, dict) else said

    @model_validator(mode="after")
    def _complete(self) -> "DeclaredArm":
        if (self.adapter is None) != (self.on is None):
            msg = "an adapter is merged into an arm: name both, `adapter: FOLDER` and `on: ARM`"
            raise ValueError(msg)
        if self.adapter is not None:
            self._refuse_others("an adapter is merged into an arm as that is", "adapter", "on")
        elif self.checkpoint is not None:
            self._refuse_others("a checkpoint is taken as it is", "checkpoint", "revision")
        else:
            self._refuse_no_cut()
        return self

    def _refuse_others(self, why: str, *allowed: str) -> None:
        if others := sorted(self.model_fields_set - {*allowed}):
            msg = f"{why}; leave out {', '.join(others)}"
            raise ValueError(msg)

    def _refuse_no_cut(self) -> None:
        """Raises `ValueError` for what says no size, or several."""
        sizes = [name for name in _SIZES if getattr(self, name) is not None]
        if self.revision is not None:
            msg = "revision is that of a checkpoint; the file's own stands beside its model"
            raise ValueError(msg)
        if len(sizes) > 1 or not (sizes or self.layers):
            found = " and ".join(sizes) or "none"
            msg = f"an arm has one size ({', '.join(_SIZES)} or layers), or is a checkpoint; found {found}"
            raise ValueError(msg)
        if self.allocation != UNIFORM and self.layers:
            msg = "layers have a ratio of their own, or neurons are allocated to them; leave one of the two out"
            raise ValueError(msg)
        if self.ratio == 0 and not self.layers:
            msg = "ratio 0 is the dense model, which every arm is compared with anyway"
            raise ValueError(msg)
        try:
            self._cut  # noqa: B018 - finds what no target can be
        except PlanError as error:
            raise ValueError(str(error)) from error

    @property
    def is_plain(self) -> bool:
        """Whether a ratio says all of its size."""
        return self.ratio is not None and self.multiple_of is None and not self.layers and self.allocation == UNIFORM

    def arm(self, name: str, usual: str, seed: int, shown: Shown | None) -> Arm:
        """The arm that is called `name`, in a file with a usual criterion, seed and calibration text."""
        if self.checkpoint is not None:
            return Arm(checkpoint=self.checkpoint, name=name)
        chosen, calibration = self.criterion or usual, self.calibration or shown
        text = calibration.text() if calibration and looks_at_text(chosen) else None
        drawn = seed if self.seed is None else self.seed
        if self.is_plain and self.ratio is not None:
            return Arm(chosen, self.ratio, drawn, text, name=name)
        return Arm(chosen, Decimal(0), drawn, text, self._target, name=name)

    @property
    def _cut(self) -> Target:
        sizes = {name: getattr(self, name) for name in _SIZES if getattr(self, name) is not None}
        return Target.of(
            **(sizes or {"ratio": Decimal(0)}),
            multiple_of=self.multiple_of,
            layer_ratios=self.layers,
        )

    @property
    def _target(self) -> Target:
        return self._cut.allocating(self.allocation)

    def beside(self, folder: Path, usual: str) -> "DeclaredArm":
        """The same with absolute paths; raises `GluPruneError` if a file cannot be used, or is of another criterion."""
        found: dict[str, object] = {}
        if self.adapter is not None:
            refuse_unusable(folder / self.adapter)
            found["adapter"] = str(folder / self.adapter)
        if self.calibration is not None:
            found["calibration"] = self.calibration.beside(folder)
        if self.allocation not in (UNIFORM, BY_SCORE):
            file, mine = folder / self.allocation, self.criterion or usual
            if (other := Sensitivity.read(file).criterion) != mine:
                msg = f"{file} is about criterion {other}, and the arm is cut by {mine}; measure it by that"
                raise PlanError(msg)
            found["allocation"] = str(file)
        return self.model_copy(update=found)
