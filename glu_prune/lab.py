"""Judges cases: finds their cells, has them run or read, and turns records into verdicts and table rows."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from glu_prune.experiment.cell import DENSE, Arm, Cell, Settings
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.record import Record
from glu_prune.judgement.expectation import Case
from glu_prune.judgement.verdict import Verdict, judge
from glu_prune.pruning.importance import REVERSED
from glu_prune.pruning.ratio import show_ratio
from glu_prune.zoo.source import locate


@dataclass(frozen=True)
class Judged:
    """A case with its verdict and the rows that show it."""

    case: Case
    verdict: Verdict
    rows: dict[str, Any]
    """`score`: one row; `groups` and `costs`: lists of rows; plain JSON values only."""


class Lab:
    """Everything a case needs."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        """`settings` hold for every cell of the session."""
        self._engine = engine
        self._settings = settings

    def preflight(self, cases: Iterable[Case]) -> None:
        """Finds, before any model loads, what would stop a run later.

        Raises:
            GluPruneError: a model is not here, or a stored record cannot be trusted.
        """
        for case in cases:
            for cell in self.cells(case).values():
                self._engine.stored(cell)

    def cells(self, case: Case) -> dict[str, Cell]:
        """The cells of `case`: `dense`, `pruned`, and one per control criterion."""
        source = locate(case.model, case.revision)
        arms = {"dense": DENSE, "pruned": Arm(case.criterion, case.ratio, case.seed)}
        for control in case.controls:  # `reversed` alone is the reverse of the case's own criterion
            name = f"{REVERSED}-{case.criterion}" if control == REVERSED else control
            arms[control] = Arm(name, case.ratio, case.seed)
        task = case.capability
        return {
            role: Cell(source, arm, task.task, task.num_fewshot, task.group, self._settings)
            for role, arm in arms.items()
        }

    def judge(self, case: Case) -> Judged:
        """The verdict on `case`; runs what the store lacks.

        Raises:
            GluPruneError: a cell cannot be run, stored or paired.
        """
        records = {role: self._engine.record(cell) for role, cell in self.cells(case).items()}
        verdict = judge(case, records["dense"], records["pruned"])
        rows = {
            "score": _score_row(case, verdict, records),
            "groups": _group_rows(case, records),
            "costs": [_cost_row(case, role, record) for role, record in records.items()],
        }
        return Judged(case, verdict, rows)


def _score_row(case: Case, verdict: Verdict, records: dict[str, Record]) -> dict[str, Any]:
    return {
        "model": case.model,
        "ratio": show_ratio(case.ratio),
        **asdict(verdict),
        "sentence": verdict.sentence,
        "declared": case.expectation.verdict,
        "why": case.expectation.why,
        "better": "higher" if case.capability.higher_is_better else "lower",
        "chance": case.capability.chance,
        "controls": {name: records[name].metrics[verdict.metric].score for name in case.controls},
        "where": f"{case.file}:{case.line}",
    }


def _group_rows(case: Case, records: dict[str, Record]) -> list[dict[str, Any]]:
    metric = case.capability.metric
    dense, pruned = records["dense"], records["pruned"]
    rows = []
    for group in dict.fromkeys(dense.groups):
        members = [index for index, name in enumerate(dense.groups) if name == group]
        means = {}
        for role, record in (("dense", dense), ("pruned", pruned)):
            scores = record.metrics[metric]
            weight = sum(scores.weights[i] for i in members)
            means[role] = sum(scores.values[i] * scores.weights[i] for i in members) / weight
        rows.append(
            {
                "model": case.model,
                "ratio": show_ratio(case.ratio),
                "capability": case.capability.name,
                "group": group,
                "items": len(members),
                **means,
            }
        )
    return rows


def _cost_row(case: Case, role: str, record: Record) -> dict[str, Any]:
    return {
        "model": case.model,
        "arm": record.arm,
        "ratio": "0.0" if role == "dense" else show_ratio(case.ratio),
        "task": record.task,
        "size": {**record.size.model_dump(), "expansion_ratio": record.size.expansion_ratio},
        "cost": record.cost.model_dump(),
    }
