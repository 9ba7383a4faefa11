"""The arms of one model in memory: loaded once, ranked once per criterion, cut in place from ratio to ratio."""

import copy
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import Arm, Settings
from glu_prune.experiment.record import DEQUANTIZED
from glu_prune.models.adapter import merged
from glu_prune.models.source import ModelSource, has_tokenizer, load_model, load_tokenizer
from glu_prune.pruning.calibration_text import CalibrationText


def dequantized(source: ModelSource, settings: Settings) -> dict[str, str]:
    """From which quantisation to which dtype weights are read, for the settings of a record; none for most models."""
    how = source.dequantized(settings.dtype)
    return {DEQUANTIZED: how} if how else {}


@dataclass
class ArmModel:
    """A model, dense or pruned."""

    model: Any
    plan: Any = None
    """What has been cut, a `PruningPlan`; None of the dense model."""
    lm: Any = None
    """Through which it answers; None until it is asked something."""


@dataclass
class Arms:
    """A dense model, and for each criterion one copy of it, which is cut further as ratios grow.

    Rankings are of the dense model, so that what a ratio keeps holds what larger ones keep, and cutting in steps gives
    the same bits as cutting at once. What keeps neurons that are gone already, as a smaller ratio, another seed or
    another calibration text does, takes a new copy.
    """

    source: ModelSource
    settings: Settings
    """By which it is loaded."""
    _rankings: dict[tuple[str, int, CalibrationText | None], Any] = field(default_factory=dict)
    _activations: dict[CalibrationText, Any] = field(default_factory=dict)
    """By calibration text."""
    _cut: dict[str, ArmModel] = field(default_factory=dict)
    _apart: tuple[Arm, ArmModel] | None = None
    """The last that is not cut in place: with an adapter, or a model of its own. It is asked task after task."""

    @cached_property
    def model(self) -> Any:
        """The dense model."""
        return self._load(self.source)

    def _load(self, source: ModelSource) -> Any:
        how = self.settings
        return load_model(source, how.dtype, how.device, attention=how.attention, device_map=how.device_map)

    @cached_property
    def tokenizer(self) -> Any:
        """Loaded when it is needed: measuring costs on drawn tokens needs none."""
        return load_tokenizer(self.source)

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt."""
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return ids

    @cached_property
    def dense(self) -> ArmModel:
        """The dense model, with what is kept beside it."""
        return ArmModel(self.model)

    def prepared(self, arm: Arm) -> ArmModel:
        """The model of `arm`; it is cut further, so that it is no longer this arm's, when a larger ratio is asked for.

        Raises:
            PlanError: it cannot be pruned like that.
            EvaluationError: it is a model of its own, whose tokens are others.
        """
        from glu_prune.pruning.surgery import apply

        if arm.adapter is not None or arm.source is not None:
            return self._set_apart(arm)
        if arm.criterion is None:
            return self.dense
        plan, found = self._plan(arm), self._cut.get(arm.criterion)
        if found is None or not _leaves(found.plan, plan):
            found = None  # before the next copy is made: two may be more than memory holds
            self._cut.pop(arm.criterion, None)
            found = self._cut[arm.criterion] = ArmModel(self.copy(arm), plan)
        elif found.plan.blocks != plan.blocks:
            apply(found.model, plan.after(found.plan))
            found.plan = plan
        return found

    def copy(self, arm: Arm) -> Any:
        """A copy of the dense model, pruned as `arm` says, or the model that takes its place; with its adapter.

        Raises:
            EvaluationError: it is a model of its own, whose tokens are others.
        """
        from glu_prune.pruning.surgery import apply

        if arm.source is not None:
            self._refuse_other_tokens(arm.source)
        model = copy.deepcopy(self.model) if arm.source is None else self._load(arm.source)
        if arm.criterion is not None:
            apply(model, self._plan(arm))
        return model if arm.adapter is None else merged(model, arm.adapter)

    def _set_apart(self, arm: Arm) -> ArmModel:
        if self._apart is None or self._apart[0] != arm:
            self._apart = None  # before the next copy is made
            plan = None if arm.criterion is None else self._plan(arm)
            self._apart = arm, ArmModel(self.copy(arm), plan)
        return self._apart[1]

    def _refuse_other_tokens(self, other: ModelSource) -> None:
        """Raises `EvaluationError` if a token of `other` is not one of this model: nothing is the same per token."""
        if not (has_tokenizer(other) and has_tokenizer(self.source)):
            return
        if load_tokenizer(other).get_vocab() != self.tokenizer.get_vocab():
            msg = (
                f"{other.name} has another vocabulary than {self.source.name}, so that neither predictions nor costs "
                "of a token are of the same thing in both; claim what they answer: a direction, or `distance: flips`"
            )
            raise EvaluationError(msg)

    def release(self) -> None:
        """Gives up the copies that are cut in place."""
        self._cut.clear()
        self._apart = None

    def _plan(self, arm: Arm) -> Any:
        from glu_prune.pruning.ranking import rank

        key = (str(arm.criterion), arm.seed, arm.calibration)
        if key not in self._rankings:
            self._rankings[key] = rank(self.model, str(arm.criterion), arm.seed, self._activations_on(arm.calibration))
        return self._rankings[key].plan(arm.aim)

    def _activations_on(self, calibration: CalibrationText | None) -> Any:
        from glu_prune.pruning.calibration import measure_on

        if calibration is not None and calibration not in self._activations:
            self._activations[calibration] = measure_on(self.model, self.tokenizer, calibration)
        return self._activations.get(calibration) if calibration else None


def _leaves(earlier: Any, plan: Any) -> bool:
    """Whether what an earlier plan leaves holds all that `plan` keeps."""
    return all(set(one.kept) >= set(other.kept) for one, other in zip(earlier.blocks, plan.blocks, strict=True))
