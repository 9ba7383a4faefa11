"""Runs of this session as what cases are judged by: their records, from the store or computed now."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.baseline.gate import Gate
from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.series import REPLICATE, Series
from glu_prune.efficiency.workload import WORKLOADS, Workload
from glu_prune.errors import EvaluationError
from glu_prune.evaluation import local_data
from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.subset import Subset, growing_subsets
from glu_prune.evidence.figures import Evidence
from glu_prune.experiment.cell import DENSE, AnyCell, Arm, Cell, DistanceCell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.maintenance import entries
from glu_prune.experiment.merging import join, restrict, select
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.experiment.record_source import RecordSource
from glu_prune.judgement.case import ArmCase, Case, Requirement
from glu_prune.judgement.cost_runs import QuestionCost, findings, removed, runs
from glu_prune.judgement.cost_tables import cost_tables
from glu_prune.judgement.distances import ItemDistances, flips
from glu_prune.judgement.kinds.choice import ChoiceCase
from glu_prune.judgement.kinds.cost import EfficiencyCase
from glu_prune.judgement.kinds.distance import DistanceCase
from glu_prune.judgement.run_pairs import paired
from glu_prune.judgement.scores import PairedScores, a_sample
from glu_prune.judgement.sources import CostEvidence, DistanceEvidence, Evaluation
from glu_prune.models.source import ModelSource
from glu_prune.results.findings import Finding
from glu_prune.results.report import CaseTables
from glu_prune.sources.rows import cell_result, floor_scores, readings

if TYPE_CHECKING:
    from glu_prune.experiment.executors.probing import Prober
    from glu_prune.sources.forecast import Forecast

IS_RATIO = re.compile(r"0\.\d+")


@dataclass(frozen=True)
class Extent:
    """How many items are answered; all of them, unless something is said."""

    sequential: bool = False
    """Claims that may be judged on the way take no more items than decide them."""
    limit: int | None = None
    """Every task is cut to so many items, drawn once."""


class RunSource:
    """Records of runs; runs what the store lacks."""

    def __init__(
        self,
        engine: RecordSource,
        settings: Settings,
        effort: Effort,
        extent: Extent = Extent(),
        gate: Gate | None = None,
    ) -> None:
        """`settings` hold for every cell of the session, `effort` for every measurement of costs.

        `gate` says what baseline cells are compared with, or pinned as.
        """
        self._gate = gate or Gate(Path())
        self._engine = engine
        self._settings = settings
        self._effort = effort
        self._extent = extent

    def preflight(self, cases: Iterable[Case]) -> list[Case]:
        """Finds models that are not here, and stored records that cannot be trusted; keeps what is declared when."""
        every = list(cases)
        to_run = self.missing(every)
        for case in every:
            if isinstance(case, ArmCase):
                what = {"claim": case.family_key, "declared": case.family}
                self._engine.store.declare(case.family_digest, what)
        return to_run

    def missing(self, cases: Iterable[Case]) -> list[Case]:
        """Those of which the store lacks a record; the engine looks at all of their cells, which it counts."""
        checked = [(case, list(map(self._engine.check, self._all_cells(case)))) for case in cases]
        return [case for case, missing in checked if any(missing)]

    def cells(self, cases: Iterable[Case]) -> list[AnyCell]:
        """All that may have to be run, each once."""
        return list(dict.fromkeys(cell for case in cases for cell in self._all_cells(case)))

    def forecast(self, cases: Iterable[Case], prober: "Prober | None") -> "Forecast":
        """What a run of `cases` will take; of choices nothing is known.

        Raises:
            GluPruneError: the store or a model cannot be read.
        """
        from glu_prune.sources.forecast import forecast

        told = (case for case in cases if not isinstance(case, ChoiceCase))
        assert isinstance(self._engine, Engine)
        return forecast(self._engine, self.cells(told), prober)

    def submit(self, cases: Iterable[Case]) -> None:
        """Hands all cells to the engine, which has an executor begin that works ahead of being asked."""
        # A choice finds out on the way what it has to ask.
        told = (case for case in cases if not isinstance(case, ChoiceCase))
        self._engine.submit(cell for case in told for cell in self._all_cells(case))

    def run(self, cases: Iterable[Case]) -> None:
        """Runs what is missing model by model, so that each is loaded once; before that floors, which take none."""
        every = self.cells(cases)
        for floors in (cell for cell in every if isinstance(cell, FloorCell)):
            self._engine.floors(floors)
        answers = [cell for cell in every if isinstance(cell, Cell)]
        models = list(dict.fromkeys(cell.source for cell in answers))
        for cell in sorted(answers, key=lambda each: models.index(each.source)):
            self._engine.record(cell)

    def declared(self, case: ArmCase) -> str | None:
        """As the store says."""
        return self._engine.store.declared(case.family_digest)

    def _all_cells(self, case: Case) -> Iterator[AnyCell]:
        """Whatever may have to be run for `case`."""
        for needed in case.requirements():
            if needed.divergent:
                yield from self._divergences(case, needed)
                continue
            for cell in self._cells(case, needed).values():
                if self._by_subsets(case, needed):
                    yield from (replace(cell, subset=subset) for subset in growing_subsets(needed.capability))
                else:
                    yield cell
            yield self._floor_cell(case, needed.capability)
        if isinstance(case, EfficiencyCase):
            yield from self._series(case)

    def _sample(self, case: Case, needed: Requirement) -> Subset | None:
        """Which items are asked; None for all."""
        if (part := needed.part) is not None:
            return replace(part, stop=min(part.stop, self._extent.limit or part.stop))
        most = case.experiment.most_items(needed.capability, self._extent.limit)
        return Subset(0, most) if most else None

    def _by_subsets(self, case: Case, needed: Requirement) -> bool:
        return self._extent.sequential and case.SEQUENTIAL and self._sample(case, needed) is None

    def _located(self, case: Case) -> ModelSource:
        return self._engine.located(case.experiment.model, case.experiment.revision)

    def _floor_cell(self, case: Case, capability: Capability) -> FloorCell:
        """The floors of the prompts that the case's models are given."""
        source = self._located(case) if case.experiment.chat_template else None
        return FloorCell(capability.task, capability.num_fewshot, capability.folder, source)

    def _series(self, case: EfficiencyCase) -> list[SeriesCell]:
        """What has to be measured for `case`.

        Raises:
            ExpectationError: the suite has no such workload.
        """
        return self._series_of(case, (self._placed(case, case.arm),), case.workloads)

    def _series_of(self, case: Case, arms: Sequence[Arm], workloads: Iterable[Workload]) -> list[SeriesCell]:
        source = self._located(case)
        settings = self._engine.settled(self._settings, source)
        return [SeriesCell(source, (DENSE, *arms), each, settings, self._effort) for each in workloads]

    def measured(self, case: Case, arms: Sequence[Arm]) -> Sequence[Series]:
        """On this machine, or as it was measured before."""
        cells = self._series_of(case, arms, WORKLOADS[case.experiment.suite])
        return [self._engine.series(cell).series for cell in cells]

    def _cells(self, case: Case, needed: Requirement) -> dict[Arm, Cell]:
        """What each arm is asked; in the place of the dense one what the case compares others with."""
        return {each: self._cell(case, needed, case.taken(each)) for each in needed.arms}

    def _cell(self, case: Case, needed: Requirement, arm: Arm) -> Cell:
        """What `arm` is asked; a checkpoint is asked as a model of its own, which is not pruned."""
        capability, experiment = needed.capability, case.experiment
        source = self._located(case)
        if (found := self._placed(case, arm).source) is not None:
            source, arm = found, Arm(adapter=arm.adapter)
        settings = replace(self._engine.settled(self._settings, source), chat_template=experiment.chat_template)
        task = (capability.task, capability.num_fewshot, capability.fields)
        return Cell(source, arm, *task, settings, self._sample(case, needed), capability.folder)

    def _placed(self, case: Case, arm: Arm) -> Arm:
        """`arm`; of a checkpoint with where that is, as cells have it that compare it with the file's model."""
        if not arm.checkpoint:
            return arm
        return replace(arm, source=self._engine.located(arm.checkpoint, case.experiment.revision_of(arm.checkpoint)))

    def scores(self, case: Case, needed: Requirement) -> Iterator[Evaluation]:
        """Paired items of every arm; subset by subset, if the session is to stop as soon as a claim is decided."""
        if needed.pieces:
            yield from self._piece_by_piece(case, needed)
            return
        if self._by_subsets(case, needed):
            yield from self._interim(case, needed)
            return
        capability = needed.capability
        floors = self._null_scores(case, capability)
        cells = self._cells(case, needed)
        records = self._records(case, cells)
        if self._sample(case, needed):
            floors = restrict(floors, records[DENSE].items)
        scores = _scores(case, capability, records, floors)
        taken = {case.taken(each): cell for each, cell in cells.items()}
        compared = self._gate.compared(self._engine, case, scores, taken, list(records.values()))
        about = self._about(case, capability, {each: [record] for each, record in records.items()}, floors)
        yield Evaluation(scores, records, about.joined([compared]), floors)

    def _records(self, case: Case, cells: Mapping[Arm, Cell]) -> dict[Arm, Record]:
        """The record of every arm."""
        return {each: _named(case.taken(each), self._engine.record(cell)) for each, cell in cells.items()}

    def _interim(self, case: Case, needed: Requirement) -> Iterator[Evaluation]:
        """What is known after each subset of the items; the last time, after all of them."""
        capability = needed.capability
        floors = self._null_scores(case, capability)
        cells = self._cells(case, needed)
        found: dict[Arm, list[Record]] = {each: [] for each in cells}
        for subset in growing_subsets(capability):
            for each, cell in cells.items():
                found[each].append(_named(case.taken(each), self._engine.record(replace(cell, subset=subset))))
            records = {each: join(taken) for each, taken in found.items()}
            scores = _scores(case, capability, records, restrict(floors, records[DENSE].items), floors)
            yield Evaluation(scores, records, self._about(case, capability, found, floors))
            if scores.complete:
                return

    def _piece_by_piece(self, case: Case, needed: Requirement) -> Iterator[Evaluation]:
        """What is known after each piece, of the items in it and in those before."""
        capability = needed.capability
        floors = self._null_scores(case, capability)
        cells = self._cells(case, needed)
        dense = _named(case.taken(DENSE), self._engine.record(cells.pop(DENSE)))
        found: dict[Arm, list[Record]] = {each: [] for each in cells}
        for piece in needed.pieces:
            for each, cell in cells.items():
                found[each].append(_named(case.taken(each), self._engine.record(replace(cell, subset=piece))))
            joined = {each: join(taken) for each, taken in found.items()}
            items = next(iter(joined.values())).items
            records = {DENSE: select(dense, items), **joined}
            null = restrict(floors, items)
            about = self._about(case, capability, {DENSE: [dense], **found}, floors)
            yield Evaluation(_scores(case, capability, records, null), records, about, floors)

    def _null_scores(self, case: Case, capability: Capability) -> FloorRecord:
        """The floors of a task, which show before any model answers whether it has the metric.

        Raises:
            EvaluationError: it has not.
        """
        floors = self._engine.floors(self._floor_cell(case, capability))
        metrics = sorted({metric for scores in floors.nulls.values() for metric in scores})
        if capability.metric not in metrics:
            has = ", ".join(metrics) or "none"
            msg = (
                f"{capability.name}: task {floors.task} has no metric {capability.metric!r} that scores item by item; "
                f"it has {has}"
            )
            raise EvaluationError(msg)
        return floors

    def _about(
        self, case: Case, capability: Capability, cells: Mapping[Arm, list[Record]], floors: FloorRecord
    ) -> CaseTables:
        """The cells, and the floors of their task."""
        limit = self._extent.limit
        found = (
            cell_result(case, case.taken(each), record, limit, readings(record, self._engine.cost(record)))
            for each, records in cells.items()
            for record in records
        )
        return CaseTables(cells=tuple(found), floors=tuple(floor_scores(capability, floors)))

    def ratios(self, case: Case, needed: Requirement) -> frozenset[Decimal]:
        """All that the store has records of."""
        experiment = case.experiment
        weights = self._located(case).fingerprint
        prefix = f"{experiment.criterion}-"
        return frozenset(
            Decimal(arm.removeprefix(prefix))
            for stored, task, arm in self._stored
            if (stored, task) == (weights, needed.capability.task) and IS_RATIO.fullmatch(arm.removeprefix(prefix))
        )

    @cached_property
    def _stored(self) -> frozenset[tuple[str, str, str]]:
        """(weights, task, arm) of all records that were there when the session first asked."""
        heads = (entry.head for entry in entries(self._engine.store.folder) if entry.kind is Record)
        # A record of another version of the layout may lack any of them; it is no reason to judge nothing.
        return frozenset((str(head.get("weights")), str(head.get("task")), str(head.get("arm"))) for head in heads)

    def distances(self, case: DistanceCase, needed: Requirement) -> DistanceEvidence:
        """From what both models answered, or from how their predictions differ."""
        capability = needed.capability
        if needed.divergent:
            (record,) = map(self._engine.distance, self._divergences(case, needed))
            clusters = record.clusters(capability.cluster)
            items, tables = ItemDistances(record.divergences, record.tokens, clusters), CaseTables()
        else:
            (found,) = self.scores(case, needed)
            changed = flips(found.records[DENSE], found.records[case.arm], capability.cluster)
            if changed is None:
                msg = f"{capability.name}: task {capability.task} has no answers that could flip; claim `distance: kl`"
                raise EvaluationError(msg)
            items, tables = changed, found.tables
        sample = ("on a sample of the benchmark's items",) if local_data.is_sample(capability.task) else ()
        return DistanceEvidence(
            items, a_sample(len(items.values)) if self._sample(case, needed) else "", sample, tables
        )

    def _divergences(self, case: Case, needed: Requirement) -> list[DistanceCell]:
        """The same questions as scores are of, which both models are asked in one pass."""
        asked, reference = self._cell(case, needed, DENSE), self._placed(case, case.taken(DENSE))
        same = {each.name: getattr(asked, each.name) for each in fields(asked)}
        others = (self._placed(case, arm) for arm in needed.arms if arm != DENSE)
        return [DistanceCell(**{**same, "arm": arm, "reference": reference}) for arm in others]

    def costs(self, case: EfficiencyCase) -> CostEvidence:
        """Our own measurements, arms in turns; energies per correct answer from what the questions say."""
        model, label = case.experiment.model, self._placed(case, case.arm).label
        measured = [self._engine.series(cell).series for cell in self._series(case)]
        ratio = removed(measured, label) if case.ratio is None else case.ratio
        dense, pruned, replicate = (
            [run for series in measured for run in runs(model, ratio, series, which)]
            for ratio, which in ((Decimal(0), DENSE.label), (ratio, label), (Decimal(0), REPLICATE))
        )
        found = findings(model, ratio, measured, label)
        evidence = CostEvidence(
            figure=case.claim.efficiency,
            pairs=paired(dense, pruned),
            findings=found,
            replicate=paired(replicate, pruned),
            tables=cost_tables(case.model, case.ratio, measured, label, found, case.arm.name),
        )
        for needed in case.requirements():
            for answered in self.scores(case, needed):
                cost = QuestionCost.of(needed.capability, answered.records[DENSE], answered.records[case.arm])
                evidence = replace(
                    evidence,
                    pairs=cost.add(evidence.pairs),
                    replicate=cost.add(evidence.replicate),
                    log_accuracy_ratio=cost.log_accuracy_ratio,
                    tables=evidence.tables.joined([answered.tables]),
                )
        return evidence

    def evidence(self, case: Case) -> tuple[Evidence, Sequence[Finding]]:
        """Nothing is published here."""
        msg = f"{case.id} is about published figures, not about runs; judge it with --glu-evidence published"
        raise EvaluationError(msg)


def _named(arm: Arm, record: Record) -> Record:
    """`record` as one of `arm`: of a checkpoint it says that it is the dense one of another model."""
    return record.model_copy(update={"arm": arm.label}) if arm.checkpoint else record


def _scores(
    case: Case,
    capability: Capability,
    records: Mapping[Arm, Record],
    floors: FloorRecord,
    growing_to: FloorRecord | None = None,
) -> PairedScores:
    scores, reference = PairedScores(capability, records, floors, growing_to), case.taken(DENSE)
    scores.reference = reference.name or reference.label
    return scores
