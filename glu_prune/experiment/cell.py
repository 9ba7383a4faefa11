"""The smallest thing that is run, stored and resumed: one model, one arm, one task, under fixed settings."""

import functools
import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path

from glu_prune.efficiency.benchmark import Effort
from glu_prune.efficiency.workload import Workload, texts
from glu_prune.evaluation import local_data, user_tasks
from glu_prune.evaluation.backend import Backend
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.machine import machine
from glu_prune.models.source import ModelSource
from glu_prune.pruning.criteria import criterion
from glu_prune.pruning.ratio import Ratio, show_ratio

_PACKAGE = Path(__file__).parent.parent
_LIBRARIES = ("torch", "transformers", "tokenizers", "lm-eval", "datasets", "numpy", "langdetect", "nltk", "codecarbon")
SCORES = (
    "pruning", "evaluation", "models",
    "experiment/arms.py", "experiment/engine.py", "experiment/record.py", "experiment/backend_arms.py",
)  # fmt: skip
"""Code that turns weights into scores; the weights themselves have their own fingerprint."""
_ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
"""What decides how many threads and which GPUs a process uses."""
COSTS = (
    "pruning",
    "efficiency",
    "models",
    "units.py",
    "experiment/arms.py",
    "experiment/engine.py",
    "experiment/record.py",
)
"""Code that measures what models cost."""


@dataclass(frozen=True)
class Arm:
    """A criterion and a ratio; without a criterion, the dense baseline."""

    criterion: str | None = None
    ratio: Ratio = Decimal(0)
    seed: int = 0

    @property
    def label(self) -> str:
        """As tables show it: `dense`, `ppm-0.5`, `random-0.5`."""
        return f"{self.criterion}-{show_ratio(self.ratio)}" if self.criterion else "dense"


DENSE = Arm()


@dataclass(frozen=True)
class Settings:
    """How models are run; everything here can change a score in its last digits."""

    dtype: str = "float32"
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

    @property
    def facts(self) -> dict[str, str | int]:
        """What keys and records say of them; a number of threads only where one is asked for."""
        return {name: value for name, value in asdict(self).items() if name != "threads" or value}

    @property
    def loading(self) -> "Settings":
        """What a model is loaded by: it can answer in batches and by threads of any number."""
        return replace(self, batch_size=Settings.batch_size, threads=Settings.threads)


@dataclass(frozen=True)
class Cell:
    """One model under one arm on one task."""

    source: ModelSource
    arm: Arm
    task: str
    num_fewshot: int | None
    fields: tuple[str, ...]
    """The document fields whose values the record keeps, for breakdowns and clusters."""
    settings: Settings
    part: Subset | None = None
    """Which documents; None for all of the task."""
    folder: Path | None = None
    """The user's folder of tasks that declares the task, if one does."""

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 over everything that changes the answer, the code that computes it included."""
        facts: dict[str, object] = {
            "weights": _fingerprint(self.source),
            "arm": [self.arm.criterion, show_ratio(self.arm.ratio), self.arm.seed],
            "criterion": criterion(self.arm.criterion).source_digest if self.arm.criterion else None,
            "task": [self.task, self.num_fewshot, *self.fields],
            "data": _data(self.task, self.folder),
            "settings": self.settings.facts,
            "code": self.code,
            "versions": self.versions,
        }
        return _digest(facts if self.part is None else {**facts, "part": asdict(self.part)})

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the libraries that compute scores, those of a backend included."""
        if not self.settings.backend:
            return library_versions()
        return {**Backend.parse(self.settings.backend).versions, **library_versions()}

    @property
    def code(self) -> str:
        """Fingerprint of the code that computes scores."""
        return code_fingerprint(SCORES)

    def __str__(self) -> str:
        """For people: model, arm and task."""
        how, part = self.settings, f" {self.part}" if self.part else ""
        again = f" (batches of {how.batch_size}, threads: {how.threads})" if how.threads else ""
        return f"{self.source.name} {self.arm.label} {self.task}{part}{again}"


@dataclass(frozen=True)
class FloorCell:
    """What content-free answers score on one task: no model, no settings."""

    task: str
    num_fewshot: int | None
    folder: Path | None = None
    """The user's folder of tasks that declares the task, if one does."""
    chat: ModelSource | None = None
    """The model whose chat template prompts are put into; None where they are plain."""

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 over everything that changes the answer, the code that computes it included."""
        facts: dict[str, object] = {
            "floors": [self.task, self.num_fewshot],
            "chat": _fingerprint(self.chat) if self.chat else None,
            "data": _data(self.task, self.folder),
            "code": self.code,
            "versions": library_versions(),
        }
        return _digest(facts)

    @property
    def code(self) -> str:
        """Fingerprint of the code that computes scores."""
        return code_fingerprint(SCORES)

    def __str__(self) -> str:
        """For people."""
        return f"floors of {self.task}"


@dataclass(frozen=True)
class SeriesCell:
    """One model under several arms, measured in turns on one workload."""

    source: ModelSource
    arms: tuple[Arm, ...]
    """The first is the one that others are compared with."""
    workload: Workload
    settings: Settings
    effort: Effort

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 over everything that changes the answer: the machine, and the code that measures, included."""
        facts: dict[str, object] = {
            "weights": _fingerprint(self.source),
            "arms": [[arm.criterion, show_ratio(arm.ratio), arm.seed] for arm in self.arms],
            "criteria": [criterion(arm.criterion).source_digest if arm.criterion else None for arm in self.arms],
            "workload": asdict(self.workload),
            "prompts": hashlib.sha256("\0".join(texts(self.workload)).encode()).hexdigest(),
            "settings": [self.settings.dtype, self.settings.device],
            "effort": asdict(self.effort),
            "machine": [machine(), *(f"{name}={os.environ.get(name)}" for name in _ENVIRONMENT)],
            "code": self.code,
            "versions": library_versions(),
        }
        return _digest(facts)

    @property
    def code(self) -> str:
        """Fingerprint of the code that measures costs."""
        return code_fingerprint(COSTS)

    def __str__(self) -> str:
        """For people: model, arms and workload."""
        return f"{self.source.name} {', '.join(arm.label for arm in self.arms)} {self.workload.name}"


def _digest(facts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _data(task: str, folder: Path | None) -> str | None:
    """What identifies the items and the settings of `task`, where they do not come with a library."""
    return local_data.task_data_digest(task) if folder is None else user_tasks.user_tasks_digest(folder)


@functools.cache
def _fingerprint(source: ModelSource) -> str:
    return source.fingerprint


@functools.cache
def code_fingerprint(places: tuple[str, ...]) -> str:
    """SHA-256 over code and data of this package: files, and all that is in folders."""
    digest = hashlib.sha256()
    for place in places:
        for path in sorted((_PACKAGE / place).rglob("*")) or [_PACKAGE / place]:
            if path.suffix in (".py", ".yaml", ".jsonl"):
                digest.update(f"{path.relative_to(_PACKAGE)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that compute scores and measure costs."""
    return {name: version(name) for name in _LIBRARIES}
