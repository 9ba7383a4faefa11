"""Judges cases: gets their records, run or read, and turns them into verdicts and table rows."""

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from glu_prune.baseline.gate import Gate
from glu_prune.efficiency.benchmark import Effort
from glu_prune.efficiency.series import REPLICATE
from glu_prune.efficiency.workload import WORKLOADS, Workload
from glu_prune.errors import EvaluationError, ExpectationError
from glu_prune.evaluation.backend import Backend
from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.metrics import scale_of
from glu_prune.evaluation.subset import Subset, growing_subsets
from glu_prune.experiment.cell import DENSE, Arm, Cell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.merging import join, restrict
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord
from glu_prune.judgement.across import judge_trend
from glu_prune.judgement.cost_runs import QuestionCost, findings, runs
from glu_prune.judgement.efficiency import judge_efficiency, paired
from glu_prune.judgement.expectation import Case, DirectionCase, EfficiencyCase, TrendCase
from glu_prune.judgement.scores import PairedScores
from glu_prune.judgement.verdict import Verdict, judge
from glu_prune.judgement.why import groups, why
from glu_prune.models.source import locate
from glu_prune.pruning.ratio import show_ratio
from glu_prune.report.efficiency import measured_tables
from glu_prune.report.rows import Row, Rows, direction_row, efficiency_row, trend_row
from glu_prune.statistics.means import spread, standard_error

Look = tuple[PairedScores, dict[Arm, Record], Rows]
"""What was measured of one capability, its records, and the rows about them."""


@dataclass(frozen=True)
class Judged:
    """A case with what was found, and the rows that show it."""

    outcome: str
    sentence: str
    rows: Rows


class Lab(Protocol):
    """Whatever can judge cases."""

    def preflight(self, cases: Iterable[Case]) -> list[Case]:
        """Which of `cases` have something to run; finds, before that begins, what would stop it later.

        Raises:
            GluPruneError: something is missing, or cannot be trusted.
        """

    def judge(self, case: Case) -> Judged:
        """What is found about `case`.

        Raises:
            GluPruneError: it cannot be judged.
        """


def needs(case: Case) -> Iterator[tuple[Capability, tuple[Arm, ...]]]:
    """Capabilities that `case` is about, and the arms under which it needs them."""
    if isinstance(case, DirectionCase):
        yield case.capability, (DENSE, case.arm, *case.controls)
    if isinstance(case, TrendCase):
        for capability in case.capabilities:
            yield capability, tuple(map(case.arm, case.ratios))
    if isinstance(case, EfficiencyCase) and case.questions:
        yield case.questions, (DENSE, case.arm)


def workloads(case: EfficiencyCase) -> list[Workload]:
    """What has to be done to measure the figure that `case` is about.

    Raises:
        ExpectationError: the suite has no such workload.
    """
    every = WORKLOADS[case.experiment.suite]
    wanted = case.claim.workload or "*"
    chosen = [each for each in every if fnmatch.fnmatchcase(each.name, wanted)]
    if not chosen:
        names = ", ".join(each.name for each in every)
        msg = f"{case.where}: no workload of suite {case.experiment.suite} is called {wanted!r}; there are {names}"
        raise ExpectationError(msg)
    return chosen


class RunLab:
    """Judges cases on records of runs; runs what the store lacks."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        effort: Effort,
        *,
        sequential: bool = False,
        limit: int | None = None,
        gate: Gate | None = None,
    ) -> None:
        """`settings` hold for every cell of the session, `effort` for every measurement of costs.

        With `sequential`, claims about a direction take no more items than decide them. With `limit`, every task is
        cut to so many items, drawn once. `gate` says what baseline cells are compared with, or pinned as.
        """
        self._gate = gate or Gate(Path())
        self._engine = engine
        self._settings = settings
        self._effort = effort
        self._sequential = sequential
        self._limit = limit
        self._part = Subset(0, limit) if limit else None

    def preflight(self, cases: Iterable[Case]) -> list[Case]:
        """Finds models that are not here, stored records that cannot be trusted, and a backend that cannot be used."""
        if self._settings.backend:
            Backend.parse(self._settings.backend).check()
        checked = [(case, list(map(self._engine.check, self._all_cells(case)))) for case in cases]
        return [case for case, missing in checked if any(missing)]

    def _all_cells(self, case: Case) -> Iterator[Cell | FloorCell | SeriesCell]:
        """Whatever may have to be run for `case`."""
        for capability, arms in needs(case):
            for cell in self._cells(case, capability, arms).values():
                yield from self._looked_at(case, cell, capability)
            yield _floors(case, capability)
        if isinstance(case, EfficiencyCase):
            yield from self._series(case)

    def judge(self, case: Case) -> Judged:
        """From the records of the case's cells."""
        if isinstance(case, TrendCase):
            return self._judge_trend(case)
        if isinstance(case, DirectionCase):
            return self._judge_direction(case)
        if isinstance(case, EfficiencyCase):
            return self._judge_efficiency(case)
        msg = f"{type(case).__name__} is about published figures, not about runs"
        raise TypeError(msg)

    def _series(self, case: EfficiencyCase) -> list[SeriesCell]:
        """What has to be measured for `case`.

        Raises:
            ExpectationError: the suite has no such workload.
        """
        chosen = workloads(case)
        source = locate(case.experiment.model, case.experiment.revision)
        return [SeriesCell(source, (DENSE, case.arm), each, self._settings, self._effort) for each in chosen]

    def _cells(self, case: Case, capability: Capability, arms: Iterable[Arm]) -> dict[Arm, Cell]:
        source = locate(case.experiment.model, case.experiment.revision)
        task = (capability.task, capability.num_fewshot, capability.fields)
        settings = replace(self._settings, chat_template=case.experiment.chat_template)
        return {each: Cell(source, each, *task, settings, self._part, capability.folder) for each in arms}

    def _looked_at(self, case: Case, cell: Cell, capability: Capability) -> Iterator[Cell]:
        """`cell`, or those of its parts that may be needed."""
        if self._sequential and isinstance(case, DirectionCase):
            yield from (replace(cell, part=part) for part in growing_subsets(capability))
        else:
            yield cell

    def _looks(self, case: DirectionCase) -> Iterator[Look]:
        """What is known after each part of the items; the last time, after all of them."""
        ((capability, arms),) = needs(case)
        floors = self._null_scores(case, capability)
        cells = self._cells(case, capability, arms)
        found: dict[Arm, list[Record]] = {each: [] for each in cells}
        for part in growing_subsets(capability):
            for each, cell in cells.items():
                found[each].append(self._engine.record(replace(cell, part=part)))
            records = {each: join(taken) for each, taken in found.items()}
            mine = restrict(floors, records[DENSE].items)
            measured = PairedScores(capability, records, mine, floors)
            yield measured, records, self._about(case, capability, found, floors)
            if measured.complete:
                return

    def _measure(self, case: Case) -> Iterator[Look]:
        """What was measured of each capability, its records, and the rows about them."""
        for capability, arms in needs(case):
            floors = self._null_scores(case, capability)
            cells = self._cells(case, capability, arms)
            records = {each: self._engine.record(cell) for each, cell in cells.items()}
            if self._part:
                floors = restrict(floors, records[DENSE].items)
            rows = self._about(case, capability, {each: [record] for each, record in records.items()}, floors)
            measured = PairedScores(capability, records, floors)
            yield measured, records, {**rows, **self._gate.rows(self._engine, case, measured, cells, records)}

    def _null_scores(self, case: Case, capability: Capability) -> FloorRecord:
        """The floors of a task, which show before any model answers whether it has the metric.

        Raises:
            EvaluationError: it has not.
        """
        floors = self._engine.floors(_floors(case, capability))
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
    ) -> Rows:
        """The rows about cells, and about the floors of their task."""
        found = [_cell_row(case, each, record) for each, records in cells.items() for record in records]
        return {
            "cells": [{**row, "limit": self._limit} for row in found],
            "floors": _floor_rows(capability, floors),
        }

    def _judge_direction(self, case: DirectionCase) -> Judged:
        verdict, (measured, records, about) = self._decide(case)
        row = direction_row(case, verdict)
        here = {"model": case.experiment.subject, "ratio": row["ratio"], "capability": case.capability.name}
        both = records[DENSE], records[case.arm]
        controls = {each.criterion: measured.score(each) for each in case.controls}
        rows: Rows = {
            "scores": [{**row, "controls": controls}],
            "why": [{**here, **asdict(why(case.capability, *both)), "gained": verdict.gained, "lost": verdict.lost}],
            "groups": [{**here, **asdict(group)} for group in groups(case.capability, *both)],
            **about,
        }
        return Judged(verdict.outcome, verdict.sentence, rows)

    def _decide(self, case: DirectionCase) -> tuple[Verdict, Look]:
        """The first verdict that is not inconclusive, else the last, and what it was reached on."""
        looks = self._looks(case) if self._sequential else self._measure(case)
        verdicts = ((judge(case, look[0]), look) for look in looks)
        found = next(verdicts)
        while found[0].outcome == "inconclusive" and (later := next(verdicts, None)):
            found = later
        return found

    def _judge_efficiency(self, case: EfficiencyCase) -> Judged:
        model, label = case.experiment.model, case.arm.label
        measured = [self._engine.series(cell).series for cell in self._series(case)]
        dense, pruned, twin = (
            [run for series in measured for run in runs(model, ratio, series, which)]
            for ratio, which in ((Decimal(0), DENSE.label), (case.ratio, label), (Decimal(0), REPLICATE))
        )
        pairs, again = paired(dense, pruned), paired(twin, pruned)
        less: tuple[float, float] = (0.0, 0.0)
        cells: Rows = {}
        for answered, records, rows in self._measure(case):
            questions_cost = QuestionCost.of(answered.capability, records[DENSE], records[case.arm])
            pairs, again, less, cells = questions_cost.add(pairs), questions_cost.add(again), questions_cost.ratio, rows
        found = findings(model, case.ratio, measured, label)
        verdict = judge_efficiency(case, case.claim.efficiency, pairs, found, again=again, less=less)
        tables = measured_tables(model, case.ratio, measured, label, found)
        return Judged(verdict.outcome, verdict.sentence, {"costs": [efficiency_row(case, verdict)], **tables, **cells})

    def _judge_trend(self, case: TrendCase) -> Judged:
        found = list(self._measure(case))
        verdict = judge_trend(case, [measured for measured, _, _ in found])
        rows: dict[str, list[Row]] = {"trends": [trend_row(case, verdict)]}
        for _, _, about in found:
            for name, each in about.items():
                rows.setdefault(name, []).extend(each)
        return Judged(verdict.outcome, verdict.sentence, rows)


def _floors(case: Case, capability: Capability) -> FloorCell:
    """The floors of the prompts that the case's models are given."""
    source = locate(case.experiment.model, case.experiment.revision) if case.experiment.chat_template else None
    return FloorCell(capability.task, capability.num_fewshot, capability.folder, source)


def _cell_row(case: Case, each: Arm, record: Record) -> Row:
    """What a cell cost and scored, without its items."""
    return {
        "model": case.experiment.subject,
        "arm": record.arm,
        "control": each.criterion not in (None, case.experiment.criterion),
        "ratio": show_ratio(each.ratio),
        "task": record.task,
        "part": str(record.settings.get("part", "")),
        "prompts": len(record.items),
        "truncated": record.truncated,
        "new_tokens": sum(record.lengths),
        "scores": {name: _aggregate(name, score) for name, score in record.metrics.items()},
        "size": {**record.size.model_dump(), "expansion_ratio": record.size.expansion_ratio},
        "cost": record.cost.model_dump(),
    }


def _aggregate(metric: str, scores: ScoreRecord) -> list[float]:
    """A score, its standard error (that of a perplexity by the rule for logarithms), and how many things it is over."""
    error = standard_error(scores.values, scores.weights)
    scored = sum(map(len, scores.parts)) or len(scores.values)
    return [scores.score, error * scores.score if scale_of(metric) == "nats" else error, scored]


def _floor_rows(capability: Capability, floors: FloorRecord) -> list[Row]:
    """What the null models score, as the checks of evidence take it."""
    return [
        {
            "task": floors.task,
            "metric": capability.metric,
            "null": name,
            "score": scores[capability.metric].score,
            "sd": spread(scores[capability.metric].values, scores[capability.metric].weights),
            "items": len(floors.items),
        }
        for name, scores in floors.nulls.items()
        if capability.metric in scores
    ]
