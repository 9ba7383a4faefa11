"""Runs cells in this process: models in memory, one after the other."""

import atexit
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from glu_prune.efficiency.evaluation_meter import EvaluationMeter
from glu_prune.efficiency.meter import Meter, NoMeter
from glu_prune.errors import NotMeasuredError
from glu_prune.evaluation.drafts import Drafts
from glu_prune.evaluation.third_party import muted
from glu_prune.experiment.cell import Cell, DistanceCell, FloorCell, SeriesCell
from glu_prune.experiment.code import METERING, code_fingerprint
from glu_prune.experiment.codec import AnyRecord, encoded
from glu_prune.experiment.cost_record import Cost, CostRecord, shared_costs
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.executors import Arrived
from glu_prune.experiment.executors.arms import Arms
from glu_prune.experiment.executors.backend_arms import BackendArms
from glu_prune.experiment.executors.scoring import Scorer, lm_of, record_of
from glu_prune.experiment.jobs import Job, job
from glu_prune.experiment.keys import cost_key
from glu_prune.experiment.locks import held
from glu_prune.experiment.marker import CHECKPOINTS
from glu_prune.experiment.record import Record, SizeRecord
from glu_prune.experiment.scratch import scratch
from glu_prune.experiment.store import Store
from glu_prune.progress.work import Step, Work

Progress = Callable[[str], None]
"""Called with one line about what is being done."""
_MEASURING = Path(tempfile.gettempdir()) / f"glu-prune-measuring-{getattr(os, 'getuid', int)()}.lock"
"""Who holds it measures costs: one process of this user at a time on this machine."""


def local_engine(store: Store, meter: Meter, progress: Progress, work: Work | None = None) -> Engine:
    """An engine whose cells are run in this process; `work` is told how far that is."""
    work = work or Work()
    return Engine(store, LocalExecutor(store.folder, meter, progress, work.step), progress, work)


@dataclass(frozen=True)
class _Later:
    """A job that runs when it is asked for its result."""

    run: Callable[[], tuple[bytes, ...]]

    def result(self) -> tuple[bytes, ...]:
        """Runs it."""
        return self.run()


class LocalExecutor:
    """Keeps the model that was asked for last, and its arms; runs a job when its result is asked for."""

    ahead = False

    def __init__(self, folder: Path, meter: Meter, progress: Progress, step: Step = lambda *_: None) -> None:
        """Nothing is loaded yet; models that have to be on disk for a while are put in `folder`.

        `step` is told how far a job is: the seam to the engine, over which only texts and bytes go, does not tell that.
        """
        self._store = Store(folder)
        self._copies = folder / CHECKPOINTS
        self._meter = meter
        self._progress = progress
        self._step = step
        self._scorer = Scorer(progress, step)
        self._arms: Arms | None = None
        self._backends = BackendArms(self._copies, progress)

    def submit(self, job: str, arrived: Arrived = lambda _: None) -> _Later:
        """Keeps the job in mind."""
        del arrived
        return _Later(lambda: tuple(map(encoded, self._run(Job.from_json(job)))))

    def shutdown(self) -> None:
        """Frees models, backends, and the processes in which memory is measured."""
        self._arms = None
        self._backends.close()
        if "_processes" in vars(self):
            self._processes.close()

    def _run(self, job: Job) -> list[AnyRecord]:
        records: list[AnyRecord] = [record for cell in job.cells for record in self._scored(cell)]
        if job.floors:
            records.append(self._floors(job.floors))
        if job.series:
            records.append(self._series(job.series))
        if job.distance:
            records.append(self._distance(job.distance))
        return records

    def _scored(self, cell: Cell) -> list[AnyRecord]:
        """Scores and costs of the cell, and of those that are answered together with it."""
        lm, size = self._answering(cell)
        drafts = Drafts(self._store.draft(job(cell).key), partial(self._goes_on, cell))
        if not cell.settings.backend:
            lm.drafts = drafts
        begin = time.perf_counter()
        results, window = self._scorer.scores(
            cell, lm, lambda: EvaluationMeter(self._meter, here=not cell.settings.backend)
        )
        seconds = time.perf_counter() - begin
        companions = [task for task in cell.tasks if task != cell.task]
        self._progress(
            f"{cell}: {len(results[cell.task].items)} items in {seconds:.1f} s"
            + "".join(f", with {task}" for task in companions)
        )
        records = [record_of(each, results[each.task], size) for each in cell.together]
        if drafts.taken:  # what the stopped run spent on them is not known
            return list(records)
        costs = shared_costs(window, results)
        return [*records, *(_cost_record(record, costs[record.task]) for record in records)]

    def _goes_on(self, cell: Cell, texts: int) -> None:
        self._progress(f"{cell}: goes on after {texts} texts that a stopped run has written")

    def _answering(self, cell: Cell) -> tuple[Any, SizeRecord]:
        """What answers the questions of `cell`, a model in this process or a backend, and how large the model is."""
        if cell.settings.backend:
            found = self._backends.arm(cell.source, cell.arm, cell.settings)
            return found.lm, found.size
        return lm_of(self._loaded(cell), cell.arm)

    def _floors(self, cell: FloorCell) -> AnyRecord:
        begin = time.perf_counter()
        record = self._scorer.floors(cell)
        self._progress(f"{cell}: {len(record.nulls)} null models in {time.perf_counter() - begin:.1f} s")
        return record

    def _distance(self, cell: DistanceCell) -> AnyRecord:
        from glu_prune.experiment.executors.distances import distance_of

        arms = self._loaded(cell)
        (reference, _), (other, _) = (lm_of(arms, arm) for arm in (cell.reference, cell.arm))
        begin = time.perf_counter()
        record = distance_of(cell, self._scorer, reference, other)
        self._progress(f"{cell}: {len(record.items)} items in {time.perf_counter() - begin:.1f} s")
        return record

    def _series(self, cell: SeriesCell) -> AnyRecord:
        from glu_prune.experiment.executors.measuring import series_of

        if isinstance(self._meter, NoMeter):
            raise NotMeasuredError(self._meter.reason)
        begin = time.perf_counter()
        arms = self._loaded(cell)
        with muted():
            _ = arms.model
        alone = held(_MEASURING, lambda file: self._progress(f"{cell}: waiting for another, which holds {file}"))
        with alone, scratch(self._copies) as folder:
            record = series_of(cell, arms, self._meter, self._processes, folder, self._step)
        self._progress(f"{cell}: {cell.effort.rounds} rounds in {time.perf_counter() - begin:.1f} s")
        return record

    @cached_property
    def _processes(self) -> Any:
        from glu_prune.efficiency.footprint import fresh_processes

        processes = fresh_processes()
        atexit.register(processes.close)
        return processes

    def _loaded(self, cell: Cell | DistanceCell | SeriesCell) -> Arms:
        """The arms of the cell's model; those of another model are given up for them."""
        wanted = cell.source, cell.settings.loading
        if self._arms is None or (self._arms.source, self._arms.settings) != wanted:
            self._progress(f"loading {cell.source.name} ({cell.settings.dtype} on {cell.settings.device})")
            self._arms = None  # before the next is loaded: two models may be more than memory holds
            self._arms = Arms(*wanted)
        return self._arms


def _cost_record(record: Record, cost: Cost) -> CostRecord:
    return CostRecord(
        key=cost_key(record.key),
        cell=record.key,
        model=record.model,
        arm=record.arm,
        task=record.task,
        versions=record.versions,
        machine=record.machine,
        created=record.created,
        code=code_fingerprint(METERING),
        cost=cost,
    )
