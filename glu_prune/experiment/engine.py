"""Computes the cells that the store lacks, one model at a time."""

import atexit
import os
import tempfile
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from glu_prune.efficiency.benchmark import Steps
from glu_prune.efficiency.evaluation_meter import EvaluationMeter
from glu_prune.efficiency.meter import Meter, NoMeter, Window
from glu_prune.errors import CorruptError, EvaluationError, NotMeasuredError, StoreError, WorkloadError
from glu_prune.evaluation import local_data
from glu_prune.evaluation.capability import scored_together
from glu_prune.evaluation.third_party import muted
from glu_prune.experiment.arms import ArmModel, Arms
from glu_prune.experiment.backend_arms import NO_COSTS, BackendArm, BackendArms
from glu_prune.experiment.cell import Cell, FloorCell, SeriesCell, library_versions
from glu_prune.experiment.locks import held
from glu_prune.experiment.machine import machine
from glu_prune.experiment.record import (
    CostRecord,
    FloorRecord,
    Record,
    ScoreRecord,
    SeriesRecord,
    SizeRecord,
    shared_costs,
)
from glu_prune.experiment.store import Kept, Store

Asked = TypeVar("Asked", Cell, FloorCell, SeriesCell)
Progress = Callable[[str], None]
"""Called with one line about what is being done."""
_MEASURING = Path(tempfile.gettempdir()) / f"glu-prune-measuring-{getattr(os, 'getuid', int)()}.lock"
"""Who holds it measures costs: one process of this user at a time on this machine."""


def _no_steps(what: str, done: int, total: int) -> None:
    del what, done, total


class Engine:
    """Gives the record of any cell, from the store or by running it."""

    def __init__(self, store: Store, meter: Meter, progress: Progress, steps: Steps = _no_steps) -> None:
        """Nothing is loaded until a cell is missing; `steps` is told how far a measurement is."""
        self.store = store
        self._meter = meter
        self._progress = progress
        self._steps = steps
        self._in_memory: Arms | None = None
        self._batch_sizes: dict[Hashable, int] = {}
        """What fits into memory, where the batch size asked for does not."""
        self._records: dict[str, Record | FloorRecord | SeriesRecord] = {}

    def record(self, cell: Cell) -> Record:
        """The record of `cell`.

        Raises:
            StoreError: the store cannot be read or written, or a newer version wrote the record.
            GluPruneError: the model cannot be loaded, pruned or evaluated.
        """
        return self._have(cell, Record, self._run)

    def floors(self, cell: FloorCell) -> FloorRecord:
        """What content-free answers score on the items of a task.

        Raises:
            StoreError: the store cannot be read or written, or a newer version wrote the record.
            EvaluationError: the task cannot be loaded or scored.
        """
        return self._have(cell, FloorRecord, self._run_floors)

    def series(self, cell: SeriesCell) -> SeriesRecord:
        """What measuring `cell` gives.

        Raises:
            StoreError: the store cannot be read or written, or a newer version wrote the record.
            NotMeasuredError: this engine does not meter, or a backend is to answer.
            MeterError: a reading cannot be true.
            GluPruneError: the model cannot be loaded, pruned or measured.
        """
        if cell.settings.backend:
            raise NotMeasuredError(NO_COSTS)
        return self._have(cell, SeriesRecord, self._run_series)

    def check(self, cell: Cell | FloorCell | SeriesCell) -> bool:
        """Whether `cell` is still to be run, and what would stop it later, found without loading its model.

        Raises:
            StoreError: the store cannot be read, or a newer version wrote the record.
            WorkloadError: the model cannot hold what it is to be asked.
            CheckpointError: its configuration cannot be read.
        """
        if isinstance(cell, Cell):
            return self._stored(cell, Record) is None
        if isinstance(cell, FloorCell):
            missing = self._stored(cell, FloorRecord) is None
            if cell.chat:
                from glu_prune.evaluation.chat import ChatTemplate

                ChatTemplate(cell.chat)
            return missing
        missing = self._stored(cell, SeriesRecord) is None
        if missing and (cell.source.folder / "config.json").is_file():
            from glu_prune.efficiency.benchmark import refuse_too_long
            from glu_prune.pruning.checkpoint import read_config

            refuse_too_long(cell.source.name, read_config(cell.source.folder), cell.workload)
        return missing

    def _have(self, cell: Asked, kind: type[Kept], run: Callable[[Asked], Kept]) -> Kept:
        """From memory, from the store, or by running it while no other process does."""
        if (stored := self._stored(cell, kind)) is not None:
            return stored
        with self._alone(cell):
            if (stored := self._trusted(cell, kind)) is not None:
                return stored
            record = run(cell)
            self.store.put(record)
        self._records[cell.key] = record
        return record

    @contextmanager
    def _alone(self, cell: Cell | FloorCell | SeriesCell) -> Iterator[None]:
        """Holds the right to compute `cell` and those scored with it: one lock for all, so none waits for another.

        Raises:
            StoreError: the store cannot be written, and has no record of `cell`.
        """

        def waiting(file: Path) -> None:
            self._progress(f"{cell}: waiting for another process, which holds {file}")

        key = min(each.key for each in _together(cell)) if isinstance(cell, Cell) else cell.key
        with ExitStack() as stack:
            try:
                stack.enter_context(self.store.lock(key, waiting))
            except StoreError as error:
                msg = f"{cell} is not in the store, and {error}"
                raise StoreError(msg) from error
            yield

    def _trusted(self, cell: Cell | FloorCell | SeriesCell, kind: type[Kept]) -> Kept | None:
        """What is stored; sets aside, while nobody else computes it, what is corrupt."""
        try:
            return self._found(cell, kind)
        except CorruptError as error:
            aside = self.store.set_aside(cell.key, kind)
            self._progress(f"{cell}: computed again, as its record is corrupt: {error}; it was moved to {aside}")
            return None

    def _stored(self, cell: Cell | FloorCell | SeriesCell, kind: type[Kept]) -> Kept | None:
        """What is stored, if it can be trusted."""
        try:
            return self._found(cell, kind)
        except CorruptError:
            return None

    def _found(self, cell: Cell | FloorCell | SeriesCell, kind: type[Kept]) -> Kept | None:
        if cell.key not in self._records and (found := self.store.get(cell.key, kind)) is not None:
            self._records[cell.key] = found
        record = self._records.get(cell.key)
        return record if isinstance(record, kind) else None

    @cached_property
    def _evaluator(self) -> Any:
        from glu_prune.evaluation.evaluate import Evaluator

        return Evaluator()

    @cached_property
    def _processes(self) -> Any:
        from glu_prune.efficiency.footprint import fresh_processes

        processes = fresh_processes()
        atexit.register(processes.close)
        return processes

    def _run(self, cell: Cell) -> Record:
        """The record of `cell`; those of the tasks it is always scored with are kept where none is."""
        cells = _together(cell)
        answering = self._answering(cell)
        begin = time.perf_counter()
        with muted(), _threads(cell.settings.threads):
            results, window = self._scored(cell, [each.task for each in cells], answering.lm)
        seconds = time.perf_counter() - begin
        costs = shared_costs(window, results)
        records = {each.key: _record(each, results[each.task], costs[each.task], answering.size) for each in cells}
        others = [each for each in cells if each.key != cell.key]
        self._progress(
            f"{cell}: {len(records[cell.key].items)} items in {seconds:.1f} s"
            + "".join(f", with {each.task}" for each in others)
        )
        for each in others:
            if self._trusted(each, Record) is None:
                self.store.put(records[each.key])
        return records[cell.key]

    def _scored(self, cell: Cell, tasks: Sequence[str], lm: Any) -> tuple[Any, Window]:
        """The scores on `tasks`, and what answering cost; where the meter fails, scores are not lost to that.

        Where memory runs out, by half as large batches, as from then on for all arms.
        """
        what = (cell.source, cell.settings, *tasks, cell.num_fewshot, cell.folder)
        while True:
            size = self._batch_sizes.get(what, cell.settings.batch_size)
            lm.limit(size)
            bill = EvaluationMeter(self._meter, here=not cell.settings.backend)
            lm.metered = bill.phase
            try:
                asked = (tasks, cell.num_fewshot, cell.part, cell.folder)
                return self._evaluator.evaluate_together(lm, *asked, chat=cell.settings.chat_template), bill.total
            except RuntimeError as error:
                if size == 1 or not _out_of_memory(error):
                    msg = f"{cell}: {str(error).splitlines()[0]}"
                    raise EvaluationError(msg) from error
            self._progress(f"{cell}: out of memory in batches of {size}, again in batches of {size // 2}")
            self._batch_sizes[what] = size // 2
            _free_memory()

    @cached_property
    def _served(self) -> BackendArms:
        return BackendArms(self.store.folder / "checkpoints", self._progress)

    def _answering(self, cell: Cell) -> ArmModel | BackendArm:
        """What answers the questions of `cell`: a model in this process, or a backend."""
        if cell.settings.backend:
            return self._served.arm(cell.source, cell.arm, cell.settings)
        arms = self._arms(cell)
        with muted():
            return arms.ready(cell.arm)

    def _run_floors(self, cell: FloorCell) -> FloorRecord:
        from glu_prune.evaluation.chat import ChatTemplate
        from glu_prune.evaluation.floors import null_results

        chat = ChatTemplate(cell.chat) if cell.chat else None
        with muted(), NoMeter("").window() as window:
            results = null_results(self._evaluator, cell.task, cell.num_fewshot, cell.folder, chat)
        record = FloorRecord(
            key=cell.key,
            task=cell.task,
            versions=library_versions(),
            created=_now(),
            code=cell.code,
            items=next(iter(results.values())).items,
            nulls={name: _scores(result) for name, result in results.items()},
        )
        self._progress(f"{cell}: {len(results)} null models in {window.seconds:.1f} s")
        return record

    def _run_series(self, cell: SeriesCell) -> SeriesRecord:
        from glu_prune.efficiency.benchmark import measure
        from glu_prune.efficiency.workload import prompts
        from glu_prune.models.source import has_tokenizer

        if isinstance(self._meter, NoMeter):
            raise NotMeasuredError(self._meter.reason)
        begin = time.perf_counter()
        arms = self._arms(cell)
        with muted():
            encode = arms.encode if has_tokenizer(cell.source) else None
            asked = prompts(cell.workload, arms.model.get_input_embeddings().num_embeddings, encode)
        try:
            with (
                held(_MEASURING, lambda file: self._progress(f"{cell}: waiting for another, which holds {file}")),
                muted(),
            ):
                series = measure(
                    arms.side_by_side(cell.arms),
                    asked,
                    self._meter,
                    cell.effort,
                    processes=self._processes,
                    scratch=self.store.folder,
                    progress=self._steps,
                )
        except (RuntimeError, OSError) as error:
            what = (str(error) or repr(error)).splitlines()[0]
            msg = (
                f"{cell}: {what}; if memory ran out: all arms are held at once, so take fewer ratios, a smaller batch "
                f"or dtype; if the disk is full: a model is saved to {self.store.folder} while its memory is measured"
            )
            raise WorkloadError(msg) from error
        self._progress(f"{cell}: {cell.effort.rounds} rounds in {time.perf_counter() - begin:.1f} s")
        return SeriesRecord(
            key=cell.key,
            model=cell.source.name,
            settings={"dtype": cell.settings.dtype, "device": cell.settings.device},
            versions=library_versions(),
            machine=machine(),
            created=_now(),
            code=cell.code,
            series=series,
        )

    def _arms(self, cell: Cell | SeriesCell) -> Arms:
        """The arms of the cell's model; those of another model are given up for them."""
        wanted = Arms(cell.source, cell.settings.loading)
        if self._in_memory is None or not self._in_memory.same_as(wanted):
            self._progress(f"loading {cell.source.name} ({cell.settings.dtype} on {cell.settings.device})")
            self._in_memory = None
            self._in_memory = wanted
        return self._in_memory


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Lets torch compute with so many threads; 0: as many as it does anyway."""
    if not number:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _out_of_memory(error: RuntimeError) -> bool:
    """Whether an allocation failed; the CPU's allocator raises no error of its own kind."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _free_memory() -> None:
    """Gives back what a failed attempt has left."""
    import gc

    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _labels(value: Any) -> tuple[str, ...]:
    """A document's field as labels: one, or as many as it lists."""
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _scores(result: Any) -> dict[str, ScoreRecord]:
    return {name: ScoreRecord(**vars(scores)) for name, scores in result.metrics.items()}


def _together(cell: Cell) -> list[Cell]:
    """The cells scored in one call with `cell`, itself among them; a part, or a user's task, is scored alone."""
    return [cell] if cell.part or cell.folder else [replace(cell, task=task) for task in scored_together(cell.task)]


def _record(cell: Cell, result: Any, cost: CostRecord, size: SizeRecord) -> Record:
    return Record(
        key=cell.key,
        model=cell.source.name,
        arm=cell.arm.label,
        task=cell.task,
        settings={
            **cell.settings.facts,
            "seed": cell.arm.seed,
            **({} if cell.num_fewshot is None else {"num_fewshot": cell.num_fewshot}),
            **({"part": str(cell.part)} if cell.part else {}),
            **({"items": "a sample"} if local_data.is_sample(cell.task) else {}),
            **result.scoring_facts,
        },
        versions=cell.versions,
        machine=machine(),
        created=_now(),
        code=cell.code,
        items=result.items,
        fields={name: tuple(_labels(each[name]) for each in result.documents) for name in cell.fields},
        outputs=result.outputs,
        margins=result.margins,
        lengths=result.lengths,
        flaws=result.flaws,
        truncated=result.truncated,
        metrics=_scores(result),
        cost=cost,
        size=size,
    )
