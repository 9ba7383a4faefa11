"""Arms for which another of lm-eval's models answers: stock checkpoints on disk, loaded by a backend, one at a time."""

import gc
import shutil
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import Arm, Settings
from glu_prune.experiment.record import SizeRecord
from glu_prune.experiment.scratch import scratch
from glu_prune.models.source import ModelSource

if TYPE_CHECKING:
    from glu_prune.evaluation.backend_lm import BackendLM
    from glu_prune.pruning.disk_model import DiskModel
    from glu_prune.pruning.plan import PruningPlan


@dataclass(frozen=True)
class BackendArm:
    """A backend that has loaded a model, and how large that is."""

    lm: "BackendLM"
    size: SizeRecord


class BackendArms:
    """Gives the backend for an arm, and keeps the last; no model is loaded in this process but by a backend.

    What is written lies in a folder of this process, is removed when another arm is asked for, and at the latest when
    this object or the process ends. What killed processes left behind is removed at first use.
    """

    def __init__(self, folder: Path, progress: Callable[[str], None]) -> None:
        """Checkpoints are written below `folder`; `progress` is told what is being done."""
        self._all = folder
        self._open = ExitStack()
        self._progress = progress
        self._source: ModelSource | None = None
        self._rankings: dict[tuple[str, int], Any] = {}
        self._asked: tuple[ModelSource, Arm, Settings] | None = None
        self._ready: BackendArm | None = None
        self.close = weakref.finalize(self, self._open.close)
        """Removes what was written; called by itself at the end."""

    def arm(self, source: ModelSource, arm: Arm, settings: Settings) -> BackendArm:
        """The backend that `settings` name, with `source` loaded as `arm` prunes it.

        Neurons are ranked by the weights as they are stored, whatever the dtype in which the backend computes.

        Raises:
            GluPruneError: the model cannot be pruned or written, or the backend not started.
        """
        if self._ready is None or self._asked != (source, arm, settings) or self._ready.lm.broken:
            self.drop()
            if self._source != source:
                shutil.rmtree(self._folder / "converted", ignore_errors=True)
                self._source, self._rankings = source, {}
            try:
                self._ready = self._start(source, arm, settings)
            except BaseException:
                self.drop()
                raise
            self._asked = (source, arm, settings)
        return self._ready

    def drop(self) -> None:
        """Frees the memory of the backend, as far as it lets go of it, and removes its checkpoint."""
        if self._ready is not None:
            import torch

            self._ready = None
            gc.collect()
            torch.cuda.empty_cache()
        shutil.rmtree(self._pruned, ignore_errors=True)

    @cached_property
    def _folder(self) -> Path:
        return self._open.enter_context(scratch(self._all))

    @property
    def _pruned(self) -> Path:
        return self._folder / "pruned"

    def _start(self, source: ModelSource, arm: Arm, settings: Settings) -> BackendArm:
        import torch

        from glu_prune.evaluation.backend import Backend
        from glu_prune.models.source import load_tokenizer
        from glu_prune.pruning.disk_model import open_disk_model

        what, backend = f"{source.name} {arm.label}", Backend.parse(settings.backend)
        backend.check()
        if arm.adapter is not None:
            msg = f"{what}: a backend is given folders, and this arm is merged in memory; leave out --glu-backend"
            raise EvaluationError(msg)
        checkpoint = open_disk_model(self._stock(source))
        plan = None
        if arm.criterion is not None:
            plan = self._write(checkpoint, arm)
            checkpoint = open_disk_model(self._pruned)
        _refuse_uneven(checkpoint, what)
        tokenizer = load_tokenizer(ModelSource(source.name, checkpoint.folder))
        self._progress(f"loading {what} into {settings.backend} ({settings.dtype})")
        how: dict[str, str | int] = {
            "dtype": settings.dtype,
            "device": settings.device,
            "batch_size": settings.batch_size,
        }
        lm = backend.load(what, checkpoint.folder, tokenizer, how)
        first = checkpoint.width_map.blocks[0]
        size = SizeRecord(
            parameters=checkpoint.parameters,
            bytes=checkpoint.parameters * getattr(torch, settings.dtype).itemsize,
            width=first.width,
            hidden=first.hidden,
            ties=0 if plan is None else plan.ties,
            plan="" if plan is None else plan.fingerprint,
        )
        return BackendArm(lm, size)

    def _stock(self, source: ModelSource) -> Path:
        """The folder of the dense model as transformers saves models: its own, unless that is of another format."""
        from glu_prune.models.formats import is_stock, write_stock

        if is_stock(source.folder):
            return source.folder
        if not (converted := self._folder / "converted").exists():
            write_stock(source.folder, converted)
        return converted

    def _write(self, checkpoint: "DiskModel", arm: Arm) -> "PruningPlan":
        """Writes the pruned model, from disk to disk, filled up with zeros where stock loaders want equal widths.

        Gives the plan.
        """
        from glu_prune.pruning.disk_pruning import rank_on_disk, write_pruned

        key = (str(arm.criterion), arm.seed)
        if key not in self._rankings:
            self._rankings[key] = rank_on_disk(checkpoint, *key)
        plan: PruningPlan = self._rankings[key].plan(arm.aim)
        write_pruned(checkpoint, plan, self._pruned, pad_to_uniform=True)
        return plan


def _refuse_uneven(checkpoint: "DiskModel", what: str) -> None:
    """Raises `EvaluationError` if only our own loader reads the checkpoint."""
    from glu_prune.pruning.width_map import WIDTHS

    if getattr(checkpoint.config, WIDTHS, None):
        msg = (
            f"{what}: its GLU blocks have widths that its configuration cannot express, so that only glu_prune.load "
            "reads it, and no backend; prune with --pad-to-uniform where it was made, or leave out --glu-backend"
        )
        raise EvaluationError(msg)
