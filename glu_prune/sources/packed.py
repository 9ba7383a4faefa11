"""A pack of records as what cases are judged by: what was run elsewhere, without the model."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from glu_prune.efficiency.effort import Effort
from glu_prune.errors import CorruptError, EvaluationError, NotMeasuredError
from glu_prune.experiment.cell import AnyCell, Arm, Cell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.codec import AnyRecord, RecordT
from glu_prune.experiment.cost_record import CostRecord
from glu_prune.experiment.entry import Entry
from glu_prune.experiment.maintenance import entries
from glu_prune.experiment.packing import asked
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.experiment.record_source import RecordSource
from glu_prune.experiment.store import Store
from glu_prune.judgement.case import Case
from glu_prune.models.source import ModelSource
from glu_prune.sources.runs import RunSource


@dataclass(frozen=True)
class _AbsentModel(ModelSource):
    """A model of which only records are here."""

    weights: str

    @property
    def fingerprint(self) -> str:
        """As records say."""
        return self.weights


class PackedRecords(RecordSource):
    """Gives records of a pack by what was asked: keys are of the code and the libraries that answered."""

    def __init__(self, folder: Path) -> None:
        """Reads what each record says of itself.

        Raises:
            StoreError: `folder` is no store.
            CorruptError: a record cannot be read.
        """
        super().__init__(Store(folder))
        self._entries = entries(folder)
        for entry in self._entries:
            if entry.problem:
                msg = f"{entry.path}: {entry.problem}; restore it"
                raise CorruptError(msg)
        self._read: dict[str, AnyRecord] = {}

    @property
    def models(self) -> frozenset[str]:
        """The names of those that answered."""
        return frozenset(self._weights)

    @cached_property
    def _weights(self) -> dict[str, str]:
        return {str(each.head["model"]): str(each.head["weights"]) for each in self._entries if "weights" in each.head}

    def located(self, name: str, revision: str | None) -> ModelSource:
        """The model, of which nothing is read."""
        del revision
        if name not in self._weights:
            msg = f"{self.store.folder} has no records of {name}; it has some of {', '.join(sorted(self.models))}"
            raise EvaluationError(msg)
        return _AbsentModel(name, self.store.folder, self._weights[name])

    def settled(self, settings: Settings, source: ModelSource) -> Settings:
        """As they are."""
        del source
        return settings

    def submit(self, cells: Iterable[AnyCell]) -> None:
        """Nothing is run."""

    def check(self, cell: AnyCell) -> bool:
        """Nothing is run."""
        del cell
        return False

    def cost(self, of: Cell | Record) -> CostRecord | None:
        """What answering cost where it was done."""
        entry = next((each for each in self._entries if each.kind is CostRecord and each.head["cell"] == of.key), None)
        return None if entry is None else self._record(entry, CostRecord)

    def _given(self, cell: AnyCell, kind: type[RecordT]) -> RecordT:
        items = self._items(cell) if isinstance(cell, FloorCell) else set()
        for entry in self._entries:
            if entry.kind is kind and _is_asked(entry, cell):
                found: RecordT = self._record(entry, kind)
                if not isinstance(found, FloorRecord) or items & {*found.items}:
                    return found
        msg = f"not measured: {self.store.folder} has no record of {cell}"
        raise NotMeasuredError(msg)

    def _items(self, cell: FloorCell) -> set[str]:
        """Those that models answered with, or without, their chat template."""
        chat = cell.chat is not None
        every = (each for each in self._entries if each.kind is Record and each.head["task"] == cell.task)
        entry = next((each for each in every if each.head["settings"]["chat_template"] == chat), None)
        return set() if entry is None else {*self._record(entry, Record).items}

    def _record(self, entry: Entry, kind: type[RecordT]) -> RecordT:
        if entry.key not in self._read:
            record = self.store.get(entry.key, kind)
            assert record is not None
            self._read[entry.key] = record
        found = self._read[entry.key]
        assert isinstance(found, kind)
        return found


def _is_asked(entry: Entry, cell: AnyCell) -> bool:
    """Whether a record is of what `cell` asks."""
    head = entry.head
    if isinstance(cell, SeriesCell):
        series = head["series"]
        labels = {arm.label for arm in cell.arms}
        return bool(series["workload"]["name"] == cell.workload.name and labels <= {*series["arms"]})
    if isinstance(cell, FloorCell):
        return bool(head["task"] == cell.task)
    same = (head["weights"], head["arm"], head["task"]) == (cell.source.fingerprint, cell.arm.label, cell.task)
    return same and asked(head["settings"]) == asked(cell.facts)


class PackedSource(RunSource):
    """Records of a pack; runs nothing."""

    def __init__(self, folder: Path) -> None:
        """Reads what each record says of itself.

        Raises:
            StoreError: `folder` is no store.
            CorruptError: a record cannot be read.
        """
        self._pack = PackedRecords(folder)
        super().__init__(self._pack, Settings(), Effort())

    @property
    def models(self) -> frozenset[str]:
        """The names of those that answered."""
        return self._pack.models

    def _records(self, case: Case, cells: Mapping[Arm, Cell]) -> dict[Arm, Record]:
        """Of every arm that the pack has, all but controls among them; what needs a control says that it lacks."""
        found = {}
        for arm, cell in cells.items():
            try:
                found[arm] = self._pack.record(cell)
            except NotMeasuredError:
                if not case.experiment.is_control(arm):
                    raise
        return found

    def preflight(self, cases: Iterable[Case]) -> list[Case]:
        """Nothing is to be run, and when claims were declared first is known."""
        del cases
        return []
