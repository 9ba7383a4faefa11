"""Computes the cells that the store lacks: one load per model, one ranking per criterion, one pruned copy at a time."""

import copy
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from glu_prune.efficiency.meter import Meter, Window
from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import Arm, Cell, Settings, library_versions
from glu_prune.experiment.record import CostRecord, ReadingRecord, Record, ScoreRecord, SizeRecord, machine
from glu_prune.experiment.store import Store
from glu_prune.zoo.source import ModelSource

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
        self._records: dict[str, Record] = {}

    def record(self, cell: Cell) -> Record:
        """The record of `cell`.

        Raises:
            StoreError: the stored record cannot be trusted, or the new one not saved.
            GluPruneError: the model cannot be loaded, pruned or evaluated.
        """
        if (stored := self.stored(cell)) is not None:
            return stored
        with self.store.lock(cell.key):
            if (stored := self.stored(cell)) is not None:
                return stored
            record = self._run(cell)
            self.store.put(record)
        self._records[cell.key] = record
        return record

    def stored(self, cell: Cell) -> Record | None:
        """The record of `cell` if the store has it.

        Raises:
            StoreError: the stored record cannot be trusted.
        """
        if cell.key not in self._records and (found := self.store.get(cell.key)) is not None:
            self._records[cell.key] = found
        return self._records.get(cell.key)

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
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            items=result.items,
            groups=tuple(str(document[cell.group]) for document in result.documents) if cell.group else (),
            outputs=result.outputs,
            metrics={
                name: ScoreRecord(score=m.score, values=m.values, weights=m.weights)
                for name, m in result.metrics.items()
            },
            cost=_cost(window, result.positions, result.scored_positions),
            size=arm.size,
        )
        self._progress(f"{cell}: {len(result.items)} items in {window.seconds:.1f} s")
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
