"""What gives the record of any cell, wherever it is from."""

from abc import ABC, abstractmethod
from collections.abc import Iterable

from glu_prune.errors import EvaluationError, NotMeasuredError
from glu_prune.experiment.cell import AnyCell, Cell, DistanceCell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.codec import RecordT
from glu_prune.experiment.cost_record import CostRecord, SeriesRecord
from glu_prune.experiment.distance_record import DistanceRecord
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.experiment.store import Store
from glu_prune.models.source import ModelSource, locate

Answered = Record | DistanceRecord | FloorRecord
"""Records that are about items."""
NO_COSTS = "not measured: costs are those of this project's own generation, not of a backend; leave out --glu-backend"

NO_DISTANCES = (
    "not measured: a divergence needs what both models predict of every token, which no backend gives; leave out "
    "--glu-backend"
)


class RecordSource(ABC):
    """Gives the record of any cell."""

    def __init__(self, store: Store) -> None:
        """`store` holds records, if there are any yet."""
        self.store = store
        self._asked: dict[tuple[object, ...], Answered] = {}
        """By question: what was answered first in this session."""

    def located(self, name: str, revision: str | None) -> ModelSource:
        """The model that an expectation file names.

        Raises:
            ModelNotFoundError: it is not here.
        """
        return locate(name, revision)

    @abstractmethod
    def settled(self, settings: Settings, source: ModelSource) -> Settings:
        """`settings` with a data type, where that is left open."""

    @abstractmethod
    def submit(self, cells: Iterable[AnyCell]) -> None:
        """Says that `cells` will be asked for."""

    @abstractmethod
    def check(self, cell: AnyCell) -> bool:
        """Whether `cell`, which is needed, is still to be run."""

    @abstractmethod
    def cost(self, of: Cell | Record) -> CostRecord | None:
        """What answering the questions of a cell cost; None if that is not known."""

    def record(self, cell: Cell) -> Record:
        """What the model of `cell` scores.

        Raises:
            StoreError: the store cannot be read or written, or a newer version wrote the record.
            GluPruneError: the model cannot be loaded, pruned or evaluated.
        """
        return self._have(cell, Record)

    def floors(self, cell: FloorCell) -> FloorRecord:
        """What content-free answers score on the items of a task.

        Raises:
            StoreError: the store cannot be read or written, or a newer version wrote the record.
            EvaluationError: the task cannot be loaded or scored.
        """
        return self._have(cell, FloorRecord)

    def distance(self, cell: DistanceCell) -> DistanceRecord:
        """How far the arm of `cell` is from the dense model.

        Raises:
            StoreError: the store cannot be read or written, or a newer version wrote the record.
            NotMeasuredError: a backend is to answer.
            GluPruneError: the model cannot be loaded or pruned, or the task not be used.
        """
        if cell.settings.backend:
            raise NotMeasuredError(NO_DISTANCES)
        return self._have(cell, DistanceRecord)

    def series(self, cell: SeriesCell) -> SeriesRecord:
        """What measuring `cell` gives.

        Raises:
            StoreError: the store cannot be read or written, or a newer version wrote the record.
            NotMeasuredError: nothing is metered here, or a backend is to answer.
            MeterError: a reading cannot be true.
            GluPruneError: the model cannot be loaded, pruned or measured.
        """
        if cell.settings.backend:
            raise NotMeasuredError(NO_COSTS)
        return self._have(cell, SeriesRecord)

    def _have(self, cell: AnyCell, kind: type[RecordT]) -> RecordT:
        """What is given, if it is about the same items as what else was asked in this way.

        No key tells which items a data set of the hub has: what is stored may be of others than what is loaded now.
        """
        found = self._given(cell, kind)
        if not isinstance(cell, SeriesCell) and isinstance(found, Answered):
            first = self._asked.setdefault(cell.question, found)
            if first.items != found.items:
                old, new = sorted((first, found), key=lambda each: each.created)
                msg = (
                    f"{cell}: its data have changed: the record of {old.created} is not about the items of that of "
                    f"{new.created}; remove {self.store.path(old.key, type(old))}, so that it is answered again"
                )
                raise EvaluationError(msg)
        return found

    @abstractmethod
    def _given(self, cell: AnyCell, kind: type[RecordT]) -> RecordT:
        """The record of `cell`."""
