"""What the store and the documents of tasks tell of cases before they run; no model is loaded, nothing computed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from glu_prune.errors import EvaluationError, ModelNotFoundError, StoreError
from glu_prune.evaluation import lm_eval_tasks
from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.evaluate import Evaluator, is_embedded
from glu_prune.evaluation.third_party import muted
from glu_prune.experiment.cell import DENSE, Arm, FloorCell
from glu_prune.experiment.entry import Entry
from glu_prune.experiment.maintenance import entries
from glu_prune.experiment.merging import restrict
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.experiment.store import Store
from glu_prune.judgement.case import Case, ClaimCase
from glu_prune.judgement.kinds.direction import DirectionCase
from glu_prune.judgement.power import CHANGED, Known, PlannableCase, capability_of, is_planned, plan
from glu_prune.judgement.scores import PairedScores
from glu_prune.models.source import identity, locate
from glu_prune.results.power import PlannedClaim
from glu_prune.sources.runs import IS_RATIO

Records: TypeAlias = Mapping[Arm, Record]
_Group: TypeAlias = dict[tuple[str, object], list[Entry]]


@dataclass(frozen=True)
class _Size:
    """Of a task."""

    items: int
    units: int
    """Of these, how many are independent: clusters, if items share them."""


class Pilots:
    """Records that are here already, as pilots of those to come."""

    def __init__(self, folder: Path, limit: int | None = None) -> None:
        """`folder` is the store's, which need not exist; `limit` is how many items of each task will be answered."""
        self._store = Store(folder)
        self._limit = limit
        self._read: dict[str, Record | None] = {}
        self._sizes: dict[tuple[object, ...], _Size | None] = {}
        self._evaluator = Evaluator()

    def plan(self, cases: Iterable[Case], changed: float = CHANGED) -> tuple[list[PlannedClaim], int]:
        """What a run of `cases` will be able to show, and how many of them are claims of other kinds.

        Where no record tells how items vary, a share `changed` of those that are right or wrong is assumed to change.

        Raises:
            EvaluationError: lm-eval has no task of a name.
        """
        every = [case for case in cases if isinstance(case, ClaimCase)]
        _refuse_unknown_tasks(every)
        planned = [case for case in every if is_planned(case)]
        return [plan(case, self.known(case), changed) for case in planned], len(every) - len(planned)

    def known(self, case: PlannableCase) -> Known:
        """What is known of `case`: how many items it will have, the floors of its task, and the nearest records."""
        capability = capability_of(case)
        at, records = self._nearest(case)
        floors = self._floors(case, capability) or self._floors_of(records)
        size = self._size(case, capability, floors)
        scores = _paired(capability, records, floors) if records else None
        known = Known(floors=floors, scores=scores, at=at if scores else None)
        if size is None:
            return known
        items = min(size.items, case.experiment.most_items(capability, self._limit) or size.items)
        return replace(known, items=items, units=min(items, size.units))

    def _floors(self, case: PlannableCase, capability: Capability) -> FloorRecord | None:
        """From the store; None if they have not been computed yet, or by other code."""
        experiment = case.experiment
        try:
            chat = locate(experiment.model, experiment.revision) if experiment.chat_template else None
            key = FloorCell(capability.task, capability.num_fewshot, capability.folder, chat).key
            return self._store.get(key, FloorRecord)
        except (EvaluationError, ModelNotFoundError, StoreError):
            return None

    def _floors_of(self, records: Records | None) -> FloorRecord | None:
        """Those that other code computed on the items of `records`, as a pack has them."""
        if records is None:
            return None
        answered = records[DENSE]
        for entry in self._stored:
            if entry.kind is FloorRecord and entry.head["task"] == answered.task:
                with suppress(StoreError):
                    found = self._store.get(entry.key, FloorRecord)
                    if found is not None and {*answered.items} <= {*found.items}:
                        return found
        return None

    def _size(self, case: PlannableCase, capability: Capability, floors: FloorRecord | None) -> _Size | None:
        """Of its task: from floors or a record of all items, else from its documents; None if these are not here."""
        key = (capability.task, capability.folder, capability.cluster)
        if key not in self._sizes:
            self._sizes[key] = self._counted(case, capability, floors)
        return self._sizes[key]

    def _counted(self, case: PlannableCase, capability: Capability, floors: FloorRecord | None) -> _Size | None:
        for records in self._groups(case, (DENSE,)):
            whole = records[DENSE]
            if "part" not in whole.settings:
                return _Size(len(whole.items), _units(whole, capability))
        asked = (capability.task, capability.num_fewshot, capability.folder)
        try:
            with muted():
                documents = [each for task in self._evaluator.tasks(*asked).values() for each in task.eval_docs]
                sources = self._evaluator.sources(*asked)
        except EvaluationError:
            return None if floors is None else _Size(len(floors.items), len(floors.items))
        declared = {str(document[capability.cluster]) for document in documents} if capability.cluster else ()
        return _Size(len(documents), len(declared or set(sources.values()) or documents))

    def _nearest(self, case: PlannableCase) -> tuple[PlannableCase, Records | None]:
        """Records of the dense and the pruned model: at the ratio of `case`, else at the nearest that the store has."""
        for each in self._by_distance(case):
            (needed,) = each.requirements()
            controls = each.controls.values() if isinstance(each, DirectionCase) else ()
            beside = tuple(arm for arms in controls for arm in arms)
            arms = tuple(arm for arm in needed.arms if arm not in beside)
            if found := next(self._groups(each, arms, beside), None):
                return each, found
        return case, None

    def _by_distance(self, case: PlannableCase) -> Iterator[PlannableCase]:
        yield case
        if isinstance(case, DirectionCase) and isinstance(case.key, Decimal):
            own = case.key
            stored = {
                arm.removeprefix(f"{case.arm.criterion}-") for group in self._of(case).values() for arm, _ in group
            }
            others = {Decimal(each) for each in stored if IS_RATIO.fullmatch(each)} - {own}
            yield from (replace(case, key=each) for each in sorted(others, key=lambda r: abs(r - own)))

    def _groups(self, case: PlannableCase, arms: Sequence[Arm], beside: Sequence[Arm] = ()) -> Iterator[Records]:
        """Records of all `arms`, and of what there is `beside` them, that answered the same items in the same way.

        Those of most items come first, of these the latest.
        """
        for group in sorted(self._of(case).values(), key=_most_and_latest, reverse=True):
            found = {arm: self._latest(group.get((arm.label, arm.seed), ())) for arm in (*arms, *beside)}
            items = {record.items for arm in arms if (record := found[arm])}
            if all(found[arm] for arm in arms) and len(items) == 1:
                yield {arm: record for arm, record in found.items() if record and record.items in items}

    def _of(self, case: PlannableCase) -> Mapping[object, _Group]:
        """Stored records of the model of `case` on its task: by how they were answered, and by arm and its seed."""
        capability, groups = capability_of(case), dict[object, _Group]()
        asked = {"chat_template": case.experiment.chat_template, "num_fewshot": capability.num_fewshot}
        for entry in self._entries.get((identity(case.experiment.model), capability.task), ()):
            head, settings = entry.head, dict(entry.head.get("settings", {}))
            seed, _ = settings.pop("seed", 0), settings.pop("dtype_why", "")
            as_asked = all((settings.get(name) or None) == (value or None) for name, value in asked.items())
            if as_asked and capability.metric in head.get("metrics", {}):
                group = groups.setdefault(tuple(sorted(settings.items())), {})
                group.setdefault((str(head.get("arm")), seed), []).append(entry)
        return groups

    @cached_property
    def _stored(self) -> list[Entry]:
        """All records that can be read."""
        try:
            return [entry for entry in entries(self._store.folder) if not entry.problem]
        except StoreError:
            return []

    @cached_property
    def _entries(self) -> dict[tuple[str, str], list[Entry]]:
        """All records of scores by model and task, the latest first."""
        stored = [entry for entry in self._stored if entry.kind is Record]
        names = {name: identity(name) for name in {str(entry.head.get("model")) for entry in stored}}
        found: dict[tuple[str, str], list[Entry]] = {}
        for entry in sorted(stored, key=lambda entry: str(entry.head.get("created")), reverse=True):
            found.setdefault((names[str(entry.head.get("model"))], str(entry.head.get("task"))), []).append(entry)
        return found

    def _latest(self, some: Sequence[Entry]) -> Record | None:
        """The first that can be read."""
        return next((record for entry in some if (record := self._record(entry.key))), None)

    def _record(self, key: str) -> Record | None:
        if key not in self._read:
            try:
                self._read[key] = self._store.get(key, Record)
            except StoreError:
                self._read[key] = None
        return self._read[key]


def _refuse_unknown_tasks(cases: Iterable[Case]) -> None:
    """Raises `EvaluationError` for a task that is neither of this package, nor of the user's folder, nor lm-eval's."""
    for capability in dict.fromkeys(needed.capability for case in cases for needed in case.requirements()):
        if capability.folder is None and not is_embedded(capability.task):
            lm_eval_tasks.mentioning(capability.task)


def _most_and_latest(group: _Group) -> tuple[int, str]:
    every = [entry for some in group.values() for entry in some]
    return max(entry.items or 0 for entry in every), max(str(entry.head.get("created")) for entry in every)


def _units(record: Record, capability: Capability) -> int:
    return len(set(record.clusters(capability.cluster) or record.items))


def _paired(capability: Capability, records: Records, floors: FloorRecord | None) -> PairedScores | None:
    """The records as the judge takes them; without floors, if there are none of these items."""
    items = records[DENSE].items
    none = FloorRecord(key="", task=records[DENSE].task, versions={}, created="", items=items, nulls={})
    try:
        return PairedScores(capability, records, restrict(floors, items) if floors else none)
    except EvaluationError:
        return PairedScores(capability, records, none)
