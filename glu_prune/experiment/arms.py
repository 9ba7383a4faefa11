"""The arms of one model in memory: loaded once, ranked once per criterion, cut in place from ratio to ratio."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

from glu_prune.efficiency.series import REPLICATE
from glu_prune.experiment.cell import Arm, Settings
from glu_prune.experiment.record import SizeRecord
from glu_prune.models.source import ModelSource, load_model, load_tokenizer


@dataclass
class ArmModel:
    """A model, dense or pruned, and the LM through which it answers."""

    model: Any
    lm: Any
    plan: Any = None
    """What has been cut, a `PruningPlan`; None of the dense model."""

    @property
    def size(self) -> SizeRecord:
        """How large it is."""
        from glu_prune.pruning.blocks import find_blocks

        gate = find_blocks(self.model)[0].weights.gate
        return SizeRecord(
            parameters=sum(p.numel() for p in self.model.parameters()),
            bytes=sum(p.numel() * p.element_size() for p in self.model.parameters()),
            width=gate.shape[0],
            hidden=gate.shape[1],
        )


@dataclass
class Arms:
    """A dense model, and for each criterion one copy of it, which is cut further as ratios grow.

    Rankings are of the dense model, so that what a ratio keeps holds what larger ones keep, and cutting in steps gives
    the same bits as cutting at once. A smaller ratio than the last takes a new copy.
    """

    source: ModelSource
    settings: Settings
    _rankings: dict[tuple[str, int], Any] = field(default_factory=dict)
    _cut: dict[tuple[str, int], ArmModel] = field(default_factory=dict)

    def same_as(self, other: "Arms") -> bool:
        """Whether both are of one model, loaded in one way."""
        return (self.source, self.settings) == (other.source, other.settings)

    @cached_property
    def model(self) -> Any:
        """The dense model."""
        how = self.settings
        return load_model(self.source, how.dtype, how.device, attention=how.attention, device_map=how.device_map)

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
        """The dense model with its LM, whose plans and way of scoring all arms share."""
        from glu_prune.evaluation.scorer import SharedPrefixLM

        return ArmModel(self.model, SharedPrefixLM(self.model, self.tokenizer, self.settings.batch_size))

    def ready(self, arm: Arm) -> ArmModel:
        """The model of `arm`; it is cut further, so that it is no longer this arm's, when a larger ratio is asked for.

        Raises:
            PlanError: it cannot be pruned like that.
        """
        from glu_prune.pruning.surgery import apply

        if arm.criterion is None:
            return self.dense
        key, plan = (arm.criterion, arm.seed), self._plan(arm)
        found = self._cut.get(key)
        if found is None or any(
            len(kept.kept) < len(wanted.kept) for kept, wanted in zip(found.plan.blocks, plan.blocks, strict=True)
        ):
            self._cut.pop(key, None)
            model = self.copy(arm)
            found = self._cut[key] = ArmModel(model, self.dense.lm.sibling(model), plan)
        elif found.plan.blocks != plan.blocks:
            apply(found.model, plan.after(found.plan))
            found.plan = plan
        return found

    def copy(self, arm: Arm) -> Any:
        """A copy of the dense model of its own, pruned as `arm` says."""
        from glu_prune.pruning.surgery import apply

        model = copy.deepcopy(self.model)
        apply(model, self._plan(arm))
        return model

    def side_by_side(self, arms: Iterable[Arm]) -> dict[str, Any]:
        """All of `arms` at once, of which the first is dense; copies that are cut in place are given up for them.

        Where there is more than one, they include a copy of the dense model that went the way of the others: copies lie
        elsewhere in memory than what was loaded from a file, which can cost or save time by itself.
        """
        self._cut.clear()
        first, *others = arms
        models = {first.label: self.model, **{arm.label: self.copy(arm) for arm in others}}
        if others:
            models[REPLICATE] = self.copy(replace(others[0], ratio=Decimal(0)))
        return models

    def _plan(self, arm: Arm) -> Any:
        from glu_prune.pruning.plan import rank

        key = (str(arm.criterion), arm.seed)
        if key not in self._rankings:
            self._rankings[key] = rank(self.model, *key)
        return self._rankings[key].plan(arm.ratio)
