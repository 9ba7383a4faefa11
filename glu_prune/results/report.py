"""The results of one case, and of a whole session."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from glu_prune.results.base import Result, Row
from glu_prune.results.baselines import BaselineResult, Pin
from glu_prune.results.choices import ChoiceResult
from glu_prune.results.claims import CapabilityResult, ClaimResult, CostResult, DistanceResult, TrendResult
from glu_prune.results.costs import (
    CellResult,
    ChannelEnergy,
    EvaluationCost,
    FigureResult,
    FloorScore,
    RecomputedEnergy,
)
from glu_prune.results.curves import CurvePoint
from glu_prune.results.explanations import Explanation, GroupScores
from glu_prune.results.findings import Finding

VERSION: Literal[1] = 1
"""Of `report.json`, as docs/report.schema.json describes it; another number when a reader of this one would err."""


class Tables(Result):
    """Rows by the table that they belong to."""

    scores: tuple[CapabilityResult, ...] = ()
    why: tuple[Explanation, ...] = ()
    groups: tuple[GroupScores, ...] = ()
    distances: tuple[DistanceResult, ...] = ()
    baseline: tuple[BaselineResult, ...] = ()
    trends: tuple[TrendResult, ...] = ()
    choices: tuple[ChoiceResult, ...] = ()
    curves: tuple[CurvePoint, ...] = ()
    costs: tuple[CostResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    efficiency: tuple[FigureResult, ...] = ()
    energy: tuple[ChannelEnergy, ...] = ()
    recomputed: tuple[RecomputedEnergy, ...] = ()

    @property
    def claims(self) -> tuple[ClaimResult, ...]:
        """Every verdict: on claims about arms, then across ratios, then on choices."""
        return (*self.scores, *self.distances, *self.costs, *self.trends, *self.choices)

    def rows(self, table: str) -> Sequence[Row]:
        """The rows of the table of that name."""
        found: Sequence[Row] = getattr(self, table)
        return found


class CaseTables(Tables):
    """Everything that one case gives to the tables of its session."""

    cells: tuple[CellResult, ...] = ()
    floors: tuple[FloorScore, ...] = ()
    pins: tuple[Pin, ...] = ()
    pinned: tuple[int, ...] = ()
    """The places in the baseline of the outcomes that it was compared with."""

    def joined(self, others: Sequence["CaseTables"]) -> "CaseTables":
        """These rows, then those of `others`; a row that several have is kept once."""
        fields: dict[str, tuple[object, ...]] = {}
        for name in CaseTables.model_fields:
            every = (row for each in (self, *others) for row in getattr(each, name))
            # By JSON, as rows with mappings have no hash, and comparing each with all takes as long as judging them.
            found = {row.model_dump_json() if isinstance(row, Result) else row: row for row in every}
            fields[name] = tuple(found.values())
        return self.model_copy(update=fields)


class CaseResult(Result):
    """What was found about one case: what a worker sends to the process that has the terminal."""

    outcome: str
    """The verdict; of a check of evidence, `clean`, `flawed`, or what differs from the declared flaws."""
    sentence: str
    """The verdict and the numbers that led to it."""
    tables: CaseTables


class CaseHead(Result):
    """What is known of a case before it is judged."""

    case: str
    model: str
    file: str
    line: int
    declared: str


class CaseOutcome(CaseHead):
    """How one test ended."""

    result: Literal["passed", "failed", "inconclusive", "skipped"]
    message: str
    """Empty where it passed."""


class Report(Tables):
    """`report.json`: each table under its name.

    A reader may meet more fields than these under the same version; none of these is removed or changes its meaning.
    """

    version: Literal[1] = Field(default=VERSION, description="Another number when a reader of this one would err.")
    evaluations: tuple[EvaluationCost, ...] = ()
    cells: tuple[CellResult, ...] = ()
    cases: tuple[CaseOutcome, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything to show beside how the cases ended."""
        return any(getattr(self, name) for name in (*Tables.model_fields, "cells"))
