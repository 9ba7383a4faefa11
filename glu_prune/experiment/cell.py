"""The smallest thing that is run, stored and resumed: one model, one arm, one task, under fixed settings."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.pruning.calibration_text import CalibrationText
from glu_prune.pruning.ratio import Ratio, show_ratio

if TYPE_CHECKING:
    from glu_prune.efficiency.effort import Effort
    from glu_prune.efficiency.workload import Workload
    from glu_prune.evaluation.subset import Subset
    from glu_prune.models.source import ModelSource
    from glu_prune.pruning.target import Target


Question = tuple[str, int | None, "Subset | None", Path | None, "ModelSource | None"]
"""A task as it is asked: worked examples, which documents, the folder that declares it, whose chat template."""


@dataclass(frozen=True)
class Arm:
    """A criterion and how much goes, or a checkpoint of its own; without either, the dense baseline."""

    criterion: str | None = None
    ratio: Ratio = Decimal(0)
    seed: int = 0
    calibration: CalibrationText | None = None
    """What the criterion is shown, if it looks at activations."""
    target: "Target | None" = None
    """How narrow blocks become, where that is not one ratio of all of them."""
    checkpoint: str = ""
    """A model that takes the place of a pruned one: a folder, or whatever names a model; it is not pruned here."""
    source: "ModelSource | None" = None
    """Where that model is, in cells that compare it with theirs; others ask it as a model of its own."""
    adapter: Path | None = None
    """A folder of PEFT's, which is merged into the model once that is cut."""
    name: str = field(default="", compare=False)
    """What its file calls it, if it gives it a name; two arms of one content are one, whatever they are called."""

    @property
    def label(self) -> str:
        """As tables show it: `dense`, `ppm-0.5`, `ppm, width 512`; of a checkpoint its name, or its content."""
        if self.adapter is not None:
            return f"{replace(self, adapter=None).label} + adapter {self.adapter_digest[:8]}"
        if self.source is not None:
            return f"checkpoint {self.source.fingerprint[:8]}"
        if self.checkpoint:
            return self.name or self.checkpoint
        how = f", {self.target}" if self.target else f"-{show_ratio(self.ratio)}"
        return f"{self.criterion}{how}" if self.criterion else "dense"

    @property
    def aim(self) -> "Target | Ratio":
        """What `Target.of` takes: how narrow blocks become."""
        return self.target or self.ratio

    @property
    def adapter_digest(self) -> str:
        """Fingerprint of its adapter; empty if it has none.

        Raises:
            CheckpointError: the adapter cannot be read.
        """
        if self.adapter is None:
            return ""
        from glu_prune.models.adapter import digest

        return digest(self.adapter)

    @property
    def calibration_digest(self) -> str:
        """Fingerprint of its calibration text; empty if it has none.

        Raises:
            PlanError: the file cannot be read.
        """
        return "" if self.calibration is None else self.calibration.digest


DENSE = Arm()
_IF_SET = ("threads", "dtype_why")
"""Settings of which nothing is said where they are as usual."""


@dataclass(frozen=True)
class Settings:
    """How models are run; everything here can change a score in its last digits."""

    dtype: str = "float32"
    """Of the weights; `auto` only until `open_dtype` has settled it for a model."""
    device: str = "cpu"
    batch_size: int = 64
    backend: str = ""
    """Which of lm-eval's models answers, as `Backend.parse` reads it; empty: this process, by our own scoring."""
    attention: str = ""
    """Implementation of attention, as transformers names it; empty: the one it chooses."""
    device_map: str = ""
    """How accelerate spreads the model over devices; empty: all of it on `device`."""
    chat_template: bool = False
    """Whether prompts are put into the model's chat template."""
    threads: int = 0
    """How many threads torch computes with; 0: as many as it does anyway."""
    dtype_why: str = ""
    """Why this dtype was taken, where the user left it open."""

    @property
    def facts(self) -> dict[str, str | int]:
        """What keys and records say of them; a number of threads, or why a dtype was taken, only where there is one."""
        return {name: value for name, value in asdict(self).items() if name not in _IF_SET or value}

    @property
    def loading(self) -> "Settings":
        """What a model is loaded by: it can answer in batches and by threads of any number."""
        return replace(self, batch_size=Settings.batch_size, threads=Settings.threads)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Inside, torch computes as they say, wherever that is set for a whole process; afterwards as before."""
        if not self.threads:
            yield
            return
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@dataclass(frozen=True)
class ArmCell:
    """One model under one arm on one task, whatever is asked of it."""

    source: "ModelSource"
    arm: Arm
    task: str
    num_fewshot: int | None
    fields: tuple[str, ...]
    """The document fields whose values the record keeps, for breakdowns and clusters."""
    settings: Settings
    subset: "Subset | None" = None
    """Which documents; None for all of the task."""
    folder: Path | None = None
    """The user's folder of tasks that declares the task, if one does."""

    @property
    def about(self) -> str:
        """What cells share that take about as long."""
        return self.task

    @property
    def question(self) -> Question:
        """What all cells share that are about the same items."""
        chat = self.source if self.settings.chat_template else None
        return self.task, self.num_fewshot, self.subset, self.folder, chat

    @property
    def facts(self) -> dict[str, str | int]:
        """How it is asked and run, beside model, arm and task, as its record says it; what is not set is left out."""
        found = {**self.settings.facts, "seed": self.arm.seed}
        if digest := self.arm.calibration_digest:
            found["calibration"] = digest
        if self.num_fewshot is not None:
            found["num_fewshot"] = self.num_fewshot
        if self.subset:
            found["part"] = str(self.subset)
        return found


@dataclass(frozen=True)
class Cell(ArmCell):
    """What one arm scores on one task."""

    @functools.cached_property
    def key(self) -> str:
        """Over everything that changes the answer."""
        from glu_prune.experiment.keys import cell_key

        return cell_key(self)

    @property
    def tasks(self) -> tuple[str, ...]:
        """What is answered in one call with the task, itself among it; a subset, or a task of a user, is alone."""
        from glu_prune.evaluation.capability import scored_together

        return (self.task,) if self.subset or self.folder else tuple(scored_together(self.task))

    @property
    def together(self) -> tuple["Cell", ...]:
        """A cell for each of `tasks`."""
        return tuple(self if task == self.task else replace(self, task=task) for task in self.tasks)

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries that compute scores, those of a backend included."""
        from glu_prune.evaluation.backend import Backend
        from glu_prune.experiment.code import library_versions

        if not self.settings.backend:
            return library_versions()
        return {**Backend.parse(self.settings.backend).versions, **library_versions()}

    def __str__(self) -> str:
        """For people: model, arm and task."""
        how, subset = self.settings, f" {self.subset}" if self.subset else ""
        varied = f" (batches of {how.batch_size}, threads: {how.threads})" if how.threads else ""
        return f"{self.source.name} {self.arm.label} {self.task}{subset}{varied}"


@dataclass(frozen=True)
class DistanceCell(ArmCell):
    """How far one arm's predictions are from another's on one task."""

    reference: Arm = DENSE
    """The other one."""

    @functools.cached_property
    def key(self) -> str:
        """Over everything that changes the answer."""
        from glu_prune.experiment.keys import distance_key

        return distance_key(self)

    @property
    def about(self) -> str:
        """What cells share that take about as long."""
        return f"distances of {self.task}"

    def __str__(self) -> str:
        """For people: model, arm and task."""
        subset = f" {self.subset}" if self.subset else ""
        return f"{self.source.name} {self.arm.label} from {self.reference.label}, {self.task}{subset}"


@dataclass(frozen=True)
class FloorCell:
    """What content-free answers score on one task: no model, no settings."""

    task: str
    num_fewshot: int | None
    folder: Path | None = None
    """The user's folder of tasks that declares the task, if one does."""
    chat: "ModelSource | None" = None
    """The model whose chat template prompts are put into; None where they are plain."""

    @functools.cached_property
    def key(self) -> str:
        """Over everything that changes the answer."""
        from glu_prune.experiment.keys import floor_key

        return floor_key(self)

    @property
    def about(self) -> str:
        """What cells share that take about as long."""
        return "floors"

    @property
    def question(self) -> Question:
        """What all cells share that are about the same items."""
        return self.task, self.num_fewshot, None, self.folder, self.chat

    def __str__(self) -> str:
        """For people."""
        return f"floors of {self.task}"


@dataclass(frozen=True)
class SeriesCell:
    """One model under several arms, measured in turns on one workload."""

    source: "ModelSource"
    arms: tuple[Arm, ...]
    """The first is the one that others are compared with."""
    workload: "Workload"
    settings: Settings
    effort: "Effort"

    @functools.cached_property
    def key(self) -> str:
        """Over everything that changes the answer, the machine included."""
        from glu_prune.experiment.keys import series_key

        return series_key(self)

    @property
    def about(self) -> str:
        """What cells share that take about as long."""
        return self.workload.name

    def __str__(self) -> str:
        """For people: model, arms and workload."""
        return f"{self.source.name} {', '.join(arm.label for arm in self.arms)} {self.workload.name}"


AnyCell = Cell | DistanceCell | FloorCell | SeriesCell
