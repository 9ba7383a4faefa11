"""Gives the record of any cell: looks it up, or locks it, has it run, and puts it into the store."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any

from glu_prune.errors import CorruptError, EvaluationError, GluPruneError, StoreError
from glu_prune.experiment.cell import AnyCell, Cell, DistanceCell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.codec import AnyRecord, RecordT, recognised
from glu_prune.experiment.cost_record import CostRecord, SeriesRecord
from glu_prune.experiment.distance_record import DistanceRecord
from glu_prune.experiment.executors import Answer, Executor
from glu_prune.experiment.jobs import Job, job, jobs
from glu_prune.experiment.keys import cost_key
from glu_prune.experiment.open_dtype import settled
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.experiment.record_source import RecordSource
from glu_prune.experiment.store import Store
from glu_prune.models.source import ModelSource
from glu_prune.progress.work import Work


class Engine(RecordSource):
    """Gives the record of any cell, from the store or from an executor."""

    def __init__(
        self, store: Store, executor: Executor, progress: Callable[[str], None], work: Work | None = None
    ) -> None:
        """`progress` is called with one line about what is being done; `work` is told what is needed and computed."""
        super().__init__(store)
        self._executor = executor
        self._progress = progress
        self._work = work or Work()
        self._submitted: dict[str, tuple[Job, Answer]] = {}
        """By the keys of cells."""
        self._records: dict[str, AnyRecord] = {}
        self._keeping = RLock()
        """What works ahead tells of records in a thread of its own."""
        self._settled: dict[tuple[Settings, ModelSource], Settings] = {}

    def settled(self, settings: Settings, source: ModelSource) -> Settings:
        """`settings` with a data type that suits `source` on this machine, where that is left open; see `open_dtype`.

        Raises:
            EvaluationError: it cannot be left open for that device.
            GluPruneError: the model cannot be loaded, or the store is of another version.
        """
        asked = settings, source
        if asked not in self._settled:
            self._settled[asked] = settled(*asked, self.store, self._progress)
        return self._settled[asked]

    def submit(self, cells: Iterable[AnyCell]) -> None:
        """Has the executor begin whatever of `cells` is missing, if it is one that works ahead.

        Raises:
            StoreError: the store cannot be read, or a newer version wrote a record.
        """
        if not self._executor.ahead:
            return
        for each in jobs(cell for cell in dict.fromkeys(cells) if self._stored(cell.key, _kind(cell)) is None):
            answer = self._executor.submit(each.to_json(), partial(self._keep, each))
            self._submitted.update((cell.key, (each, answer)) for cell in each.answers)

    def cost(self, of: Cell | Record) -> CostRecord | None:
        """What answering the questions of a cell cost on this machine; None if they were answered elsewhere.

        Raises:
            StoreError: the store cannot be read, or a newer version wrote the record.
        """
        return self._stored(cost_key(of.key), CostRecord)

    def check(self, cell: AnyCell) -> bool:
        """Whether `cell`, which is needed, is still to be run: the store has no record of it that can be trusted.

        Raises:
            StoreError: the store cannot be read, or a newer version wrote the record.
        """
        missing = self._stored(cell.key, _kind(cell)) is None
        self._work.need(cell.key, cell.about, missing=missing)
        return missing

    def _given(self, cell: AnyCell, kind: type[RecordT]) -> RecordT:
        if (stored := self._stored(cell.key, kind)) is not None:
            return stored
        with self._alone(cell):
            if (stored := self._trusted(cell, cell.key, kind)) is not None:
                return stored
            self._run(cell)
        if (found := self._found(cell.key, kind)) is None:
            msg = f"{cell}: the record that came is of another cell; what ran it has other code, libraries or data"
            raise EvaluationError(msg)
        return found

    def _run(self, cell: AnyCell) -> None:
        """Has `cell` run and keeps what comes; where a job of several fails, alone: it may be another that failed."""
        alone = job(cell)
        done, answer = self._submitted.get(cell.key) or (alone, self._executor.submit(alone.to_json()))
        # What was begun ahead says itself where it runs.
        begun = {} if cell.key in self._submitted else {each.key: each.about for each in done.answers}
        with self._work.running(str(cell), begun) if begun else nullcontext():
            try:
                contents = answer.result()
            except GluPruneError:
                if done == alone:
                    raise
                done, contents = alone, self._executor.submit(alone.to_json()).result()
            self._keep(done, contents)

    def _keep(self, done: Job, contents: Sequence[bytes]) -> None:
        """Puts what the store lacks into it: costs before scores, as what has scores is never answered again."""
        with self._keeping:
            self._put_all(done, contents)
        for each in done.cells:
            with suppress(OSError):
                self.store.draft(job(each).key).unlink(missing_ok=True)

    def _put_all(self, done: Job, contents: Sequence[bytes]) -> None:
        cells = {cell.key: cell for cell in done.answers}
        records = [(recognised(content, f"what came for {done.answers[0]}"), content) for content in contents]
        costs = {record.cell: (record, content) for record, content in records if isinstance(record, CostRecord)}
        for record, content in records:
            cell = cells.get(record.key)
            if cell is not None and self._trusted(cell, cell.key, _kind(cell)) is None:
                if record.key in costs:
                    cost, of_cost = costs[record.key]
                    self._trusted(cell, cost.key, CostRecord)
                    self._put(cost, of_cost)
                self._put(record, content)

    def _put(self, record: AnyRecord, content: bytes) -> None:
        stands = self.store.write(record.key, type(record), content)
        self._remember(stands or record)

    @contextmanager
    def _alone(self, cell: AnyCell) -> Iterator[None]:
        """Holds the right to compute `cell` and its companions: one lock for all, so that no two wait for each other.

        Raises:
            StoreError: the store cannot be written, and has no record of `cell`.
        """

        def waiting(file: Path) -> None:
            self._progress(f"{cell}: waiting for another process, which holds {file}")

        key = job(cell).key
        with ExitStack() as stack:
            try:
                stack.enter_context(self.store.lock(key, waiting))
            except StoreError as error:
                msg = f"{cell} is not in the store, and {error}"
                raise StoreError(msg) from error
            yield

    def _trusted(self, cell: AnyCell, key: str, kind: type[RecordT]) -> RecordT | None:
        """What is stored of `cell` under `key`; sets aside, while nobody else computes it, what is corrupt."""
        try:
            return self._found(key, kind)
        except CorruptError as error:
            aside = self.store.set_aside(key, kind)
            self._progress(f"{cell}: computed again, as its record is corrupt: {error}; it was moved to {aside}")
            return None

    def _stored(self, key: str, kind: type[RecordT]) -> RecordT | None:
        """What is stored, if it can be trusted."""
        try:
            return self._found(key, kind)
        except CorruptError:
            return None

    def _found(self, key: str, kind: type[RecordT]) -> RecordT | None:
        if key not in self._records and (found := self.store.get(key, kind)) is not None:
            self._remember(found)
        record = self._records.get(key)
        return record if isinstance(record, kind) else None

    def _remember(self, record: AnyRecord) -> None:
        self._records[record.key] = record
        self._work.found(record.key)


def _kind(cell: AnyCell) -> Any:
    """What a cell leaves behind."""
    kinds = {Cell: Record, DistanceCell: DistanceRecord, FloorCell: FloorRecord, SeriesCell: SeriesRecord}
    return kinds[type(cell)]
