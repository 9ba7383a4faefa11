"""Computes the cells that the store lacks: one load per model, one ranking per criterion, one pruned copy at a time."""

import atexit
import copy
import io
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from glu_prune.efficiency.measure import Steps
from glu_prune.efficiency.meter import Meter, NoMeter, Window
from glu_prune.efficiency.series import TWIN
from glu_prune.errors import EvaluationError, MeterError, NotMeasuredError, WorkloadError
from glu_prune.experiment.cell import Arm, Cell, FloorCell, SeriesCell, Settings, library_versions
from glu_prune.experiment.machine import machine
from glu_prune.experiment.record import CostRecord, FloorRecord, Record, ScoreRecord, SeriesRecord, SizeRecord
from glu_prune.experiment.store import Kept, Store
from glu_prune.units import Seconds
from glu_prune.zoo.source import ModelSource

Asked = TypeVar("Asked", Cell, FloorCell, SeriesCell)
Progress = Callable[[str], None]
"""Called with one line about what is being done."""


def _no_steps(what: str, done: int, total: int) -> None:
    del what, done, total


ARMS_IN_MEMORY = 3
"""The dense model and the arms used last; a case needs the dense one, its own, and its control or its twin."""


@dataclass
class _ArmModel:
    """A model, dense or pruned, ready to answer."""

    loaded: "_Loaded"
    model: Any
    size: SizeRecord

    @cached_property
    def lm(self) -> Any:
        """The model for lm-eval."""
        from glu_prune.evaluation.lm import CountingLM

        return CountingLM(self.model, self.loaded.tokenizer, self.loaded.settings.batch_size)


@dataclass
class _Loaded:
    """A model in memory with what has been derived from it."""

    source: ModelSource
    settings: Settings
    model: Any
    rankings: dict[tuple[str, int], Any] = field(default_factory=dict)
    arms: dict[Arm, _ArmModel] = field(default_factory=dict)
    """In order of last use."""

    @cached_property
    def tokenizer(self) -> Any:
        """Loaded when it is needed: measuring costs on drawn tokens needs none."""
        from glu_prune.zoo.source import load_tokenizer

        with _quiet():
            return load_tokenizer(self.source, self.model.config.vocab_size)

    def encode(self, text: str) -> list[int]:
        """Token ids of a prompt."""
        ids: list[int] = self.tokenizer(text)["input_ids"]
        return ids


class Engine:
    """Gives the record of any cell, from the store or by running it."""

    def __init__(self, store: Store, meter: Meter, progress: Progress, steps: Steps = _no_steps) -> None:
        """Nothing is loaded until a cell is missing; `steps` is told how far a measurement is."""
        self.store = store
        self._meter = meter
        self._progress = progress
        self._steps = steps
        self._loaded: _Loaded | None = None
        self._records: dict[str, Record | FloorRecord | SeriesRecord] = {}

    def record(self, cell: Cell) -> Record:
        """The record of `cell`.

        Raises:
            StoreError: the stored record cannot be trusted, or the new one not saved.
            GluPruneError: the model cannot be loaded, pruned or evaluated.
        """
        return self._have(cell, Record, self._run)

    def floors(self, cell: FloorCell) -> FloorRecord:
        """What content-free answers score on the items of a task.

        Raises:
            StoreError: the stored record cannot be trusted, or the new one not saved.
            EvaluationError: the task cannot be loaded or scored.
        """
        return self._have(cell, FloorRecord, self._run_floors)

    def series(self, cell: SeriesCell) -> SeriesRecord:
        """What measuring `cell` gives.

        Raises:
            StoreError: the stored record cannot be trusted, or the new one not saved.
            NotMeasuredError: this engine does not meter.
            MeterError: a reading cannot be true.
            GluPruneError: the model cannot be loaded, pruned or measured.
        """
        return self._have(cell, SeriesRecord, self._run_series)

    def check(self, cell: Cell | FloorCell | SeriesCell) -> None:
        """Finds what would stop `cell` later, without loading its model.

        Raises:
            StoreError: the store has a record of it that cannot be trusted.
            WorkloadError: the model cannot hold what it is to be asked.
            CheckpointError: its configuration cannot be read.
        """
        if isinstance(cell, Cell):
            self._stored(cell, Record)
        elif isinstance(cell, FloorCell):
            self._stored(cell, FloorRecord)
        elif self._stored(cell, SeriesRecord) is None and (cell.source.folder / "config.json").is_file():
            from glu_prune.efficiency.measure import refuse_too_long
            from glu_prune.pruning.checkpoint import read_config

            refuse_too_long(cell.source.name, read_config(cell.source.folder), cell.workload)

    def _have(self, cell: Asked, kind: type[Kept], run: Callable[[Asked], Kept]) -> Kept:
        """From memory, from the store, or by running it while no other process does."""
        if (stored := self._stored(cell, kind)) is not None:
            return stored
        with self.store.lock(cell.key):
            if (stored := self._stored(cell, kind)) is not None:
                return stored
            record = run(cell)
            self.store.put(record)
        self._records[cell.key] = record
        return record

    def _stored(self, cell: Cell | FloorCell | SeriesCell, kind: type[Kept]) -> Kept | None:
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
        result, window = self._evaluated(cell)
        record = Record(
            key=cell.key,
            model=cell.source.name,
            arm=cell.arm.label,
            task=cell.task,
            settings={**asdict(cell.settings), "seed": cell.arm.seed},
            versions=library_versions(),
            machine=machine(),
            created=_now(),
            items=result.items,
            fields={name: tuple(_labels(each[name]) for each in result.documents) for name in cell.fields},
            outputs=result.outputs,
            margins=result.margins,
            lengths=result.lengths,
            flaws=result.flaws,
            metrics=_scores(result),
            cost=_cost(window, result.positions, result.scored_positions),
            size=self._arm(cell, cell.arm).size,
        )
        self._progress(f"{cell}: {len(result.items)} items in {window.seconds:.1f} s")
        return record

    def _evaluated(self, cell: Cell) -> tuple[Any, Window]:
        """The scores of a cell, and what they cost; where the meter fails, scores are not lost to that."""
        arm, result, seconds = self._arm(cell, cell.arm), None, 0.0

        def evaluate() -> None:
            nonlocal result, seconds
            begin = time.perf_counter()
            try:
                result = self._evaluator.evaluate(arm.lm, cell.task, cell.num_fewshot)
            except RuntimeError as error:
                msg = f"{cell}: {str(error).splitlines()[0]}"
                raise EvaluationError(msg) from error
            seconds = time.perf_counter() - begin

        with _quiet():
            try:
                with self._meter.window() as window:
                    evaluate()
            except MeterError as error:
                if result is None:
                    evaluate()
                window = Window(Seconds(seconds), note=f"not measured: {error}")
        return result, window

    def _run_floors(self, cell: FloorCell) -> FloorRecord:
        from glu_prune.evaluation.floors import null_results

        with _quiet(), NoMeter("").window() as window:
            results = null_results(self._evaluator, cell.task, cell.num_fewshot)
        record = FloorRecord(
            key=cell.key,
            task=cell.task,
            versions=library_versions(),
            created=_now(),
            items=next(iter(results.values())).items,
            nulls={name: _scores(result) for name, result in results.items()},
        )
        self._progress(f"{cell}: {len(results)} null models in {window.seconds:.1f} s")
        return record

    def _run_series(self, cell: SeriesCell) -> SeriesRecord:
        from glu_prune.efficiency.measure import measure
        from glu_prune.efficiency.workload import prompts
        from glu_prune.zoo.source import has_tokenizer

        if isinstance(self._meter, NoMeter):
            raise NotMeasuredError(self._meter.reason)
        begin = time.perf_counter()
        loaded = self._load(cell)
        encode = loaded.encode if has_tokenizer(cell.source) else None
        asked = prompts(cell.workload, loaded.model.get_input_embeddings().num_embeddings, encode)
        try:
            arms = self._side_by_side(cell)
            with _one_at_a_time(lambda: self._progress("waiting for another measurement on this machine")), _quiet():
                series = measure(
                    {label: arm.model for label, arm in arms.items()},
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
            series=series,
        )

    def _side_by_side(self, cell: SeriesCell) -> dict[str, _ArmModel]:
        """All arms in memory, and, where there is more than one, a copy of the first that went the way of the others.

        Copies lie elsewhere in memory than what was loaded from a file, which can cost or save time by itself.
        """
        arms = {arm.label: self._arm(cell, arm) for arm in cell.arms}
        if others := cell.arms[1:]:
            arms[TWIN] = self._arm(cell, replace(others[0], ratio=Decimal(0)))
        return arms

    def _arm(self, cell: Cell | SeriesCell, which: Arm) -> _ArmModel:
        """The model of `cell`, pruned as the arm says, reusing what is in memory."""
        loaded = self._load(cell)
        if (ready := loaded.arms.pop(which, None)) is None:
            while len(loaded.arms) >= ARMS_IN_MEMORY:
                del loaded.arms[next(iter(loaded.arms))]
            model = loaded.model if which.criterion is None else self._pruned(loaded, which)
            ready = _ArmModel(loaded, model, _size(model))
        loaded.arms[which] = ready
        return ready

    def _load(self, cell: Cell | SeriesCell) -> _Loaded:
        if self._loaded is None or (self._loaded.source, self._loaded.settings) != (cell.source, cell.settings):
            from glu_prune.zoo.source import load_model

            self._progress(f"loading {cell.source.name} ({cell.settings.dtype} on {cell.settings.device})")
            self._loaded = None
            with _quiet():
                model = load_model(cell.source, cell.settings.dtype, cell.settings.device)
            self._loaded = _Loaded(cell.source, cell.settings, model)
        return self._loaded

    @staticmethod
    def _pruned(loaded: _Loaded, arm: Arm) -> Any:
        """A pruned copy of the dense model."""
        from glu_prune.pruning.plan import rank
        from glu_prune.pruning.surgery import apply

        key = (str(arm.criterion), arm.seed)
        if key not in loaded.rankings:
            loaded.rankings[key] = rank(loaded.model, *key)
        plan = loaded.rankings[key].plan(arm.ratio)
        model = copy.deepcopy(loaded.model)
        apply(model, plan)
        return model


@contextmanager
def _quiet() -> Iterator[None]:
    """Swallows the progress bars and chatter of the libraries; their errors are exceptions and pass."""
    sink = io.StringIO()
    with redirect_stdout(sink), redirect_stderr(sink):
        yield


@contextmanager
def _one_at_a_time(waiting: Callable[[], None]) -> Iterator[None]:
    """Holds the right to measure on this machine, among all processes of this user."""
    from filelock import FileLock, Timeout

    lock = FileLock(Path(tempfile.gettempdir()) / f"glu-prune-measuring-{getattr(os, 'getuid', int)()}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _labels(value: Any) -> tuple[str, ...]:
    """A document's field as labels: one, or as many as it lists."""
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)


def _scores(result: Any) -> dict[str, ScoreRecord]:
    return {name: ScoreRecord(**vars(scores)) for name, scores in result.metrics.items()}


def _size(model: Any) -> SizeRecord:
    from glu_prune.pruning.blocks import find_blocks

    gate = find_blocks(model)[0].weights.gate
    return SizeRecord(
        parameters=sum(p.numel() for p in model.parameters()),
        bytes=sum(p.numel() * p.element_size() for p in model.parameters()),
        width=gate.shape[0],
        hidden=gate.shape[1],
    )


def _cost(window: Window, positions: int, scored_positions: int) -> CostRecord:
    return CostRecord(
        seconds=window.seconds,
        positions=positions,
        scored_positions=scored_positions,
        energy=window.readings,
        note=window.note,
    )
