"""Computes the cells that the store lacks: one load per model, one ranking per criterion, one pruned copy at a time."""

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, TypeVar

from glu_prune.efficiency.meter import Meter, NoMeter, Window
from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import Arm, Cell, FloorCell, Settings, library_versions
from glu_prune.experiment.record import (
    CostRecord,
    FloorRecord,
    ReadingRecord,
    Record,
    ScoreRecord,
    SizeRecord,
    machine,
)
from glu_prune.experiment.store import Kept, Store
from glu_prune.zoo.source import ModelSource

Asked = TypeVar("Asked", Cell, FloorCell)
Progress = Callable[[str], None]
"""Called with one line about what is being done."""


ARMS_IN_MEMORY = 3
"""The dense model and the arms used last; a case needs the dense one, its own, and its control."""


@dataclass(frozen=True)
class _ArmModel:
    """A model, dense or pruned, ready to answer."""

    lm: Any
    size: SizeRecord


@dataclass
class _Loaded:
    """A model in memory with what has been derived from it."""

    source: ModelSource
    settings: Settings
    model: Any
    tokenizer: Any
    rankings: dict[tuple[str, int], Any] = field(default_factory=dict)
    arms: dict[Arm, _ArmModel] = field(default_factory=dict)
    """In order of last use."""


class Engine:
    """Gives the record of any cell, from the store or by running it."""

    def __init__(self, store: Store, meter: Meter, progress: Progress) -> None:
        """Nothing is loaded until a cell is missing."""
        self.store = store
        self._meter = meter
        self._progress = progress
        self._loaded: _Loaded | None = None
        self._records: dict[str, Record | FloorRecord] = {}

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

    def check(self, cell: Cell | FloorCell) -> None:
        """Raises `StoreError` if the store has a record of `cell` that cannot be trusted."""
        if isinstance(cell, Cell):
            self._stored(cell, Record)
        else:
            self._stored(cell, FloorRecord)

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

    def _stored(self, cell: Cell | FloorCell, kind: type[Kept]) -> Kept | None:
        if cell.key not in self._records and (found := self.store.get(cell.key, kind)) is not None:
            self._records[cell.key] = found
        record = self._records.get(cell.key)
        return record if isinstance(record, kind) else None

    @cached_property
    def _evaluator(self) -> Any:
        from glu_prune.evaluation.evaluate import Evaluator

        return Evaluator()

    def _run(self, cell: Cell) -> Record:
        arm = self._arm(cell)
        with _quiet(), self._meter.window() as window:
            try:
                result = self._evaluator.evaluate(arm.lm, cell.task, cell.num_fewshot)
            except RuntimeError as error:
                msg = f"{cell}: {str(error).splitlines()[0]}"
                raise EvaluationError(msg) from error
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
            size=arm.size,
        )
        self._progress(f"{cell}: {len(result.items)} items in {window.seconds:.1f} s")
        return record

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

    def _arm(self, cell: Cell) -> _ArmModel:
        """The model of `cell`, loaded and pruned as its arm says, reusing what is in memory."""
        loaded = self._load(cell)
        if (ready := loaded.arms.pop(cell.arm, None)) is None:
            from glu_prune.evaluation.lm import CountingLM

            while len(loaded.arms) >= ARMS_IN_MEMORY:
                del loaded.arms[next(iter(loaded.arms))]
            model = loaded.model if cell.arm.criterion is None else self._pruned(loaded, cell.arm)
            ready = _ArmModel(CountingLM(model, loaded.tokenizer, cell.settings.batch_size), _size(model))
        loaded.arms[cell.arm] = ready
        return ready

    def _load(self, cell: Cell) -> _Loaded:
        if self._loaded is None or (self._loaded.source, self._loaded.settings) != (cell.source, cell.settings):
            from glu_prune.zoo.source import load

            self._progress(f"loading {cell.source.name} ({cell.settings.dtype} on {cell.settings.device})")
            self._loaded = None
            with _quiet():
                model, tokenizer = load(cell.source, cell.settings.dtype, cell.settings.device)
            self._loaded = _Loaded(cell.source, cell.settings, model, tokenizer)
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
        energy={
            channel: ReadingRecord(joules=reading.joules, method=reading.method)
            for channel, reading in window.readings.items()
        },
        note=window.note,
    )
