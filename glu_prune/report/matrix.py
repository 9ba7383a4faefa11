"""The verdicts of a model at a glance: a row for each claim, a column for each arm."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import get_args

from glu_prune.clean import markdown
from glu_prune.report import lines
from glu_prune.report.table import Column, render
from glu_prune.results.base import Outcome
from glu_prune.results.claims import ArmResult, ClaimResult
from glu_prune.results.report import Report

LEGEND = "; ".join(f"{sign} {name}" for name, sign in lines.SIGNS.items()) + "; **!** not as declared"


Claimed = tuple[str, tuple[ArmResult | None, ...]]
"""A claim, and what was found of each arm."""


@dataclass(frozen=True)
class Matrix:
    """The claims of one model, by arm."""

    model: str
    arms: tuple[str, ...]
    """Ratios as they grow, then names."""
    rows: tuple[Claimed, ...]
    across: tuple[ClaimResult, ...] = ()
    """Claims about no arm alone: trends and choices."""
    named: str = ""
    """What arms with a name are, as far as cells tell."""

    @property
    def text(self) -> str:
        """As a table of Markdown."""
        first = Column[Claimed]("claim", lambda row: row[0])
        return render((first, *map(self._column, range(len(self.arms)))), self.rows, "pipe")

    def _column(self, place: int) -> Column[Claimed]:
        return Column(self.arms[place], lambda row: row[1][place], _shown)

    @property
    def counts(self) -> str:
        """How many verdicts of which kind."""
        every = [row.outcome for _, found in self.rows for row in found if row] + [row.outcome for row in self.across]
        return ", ".join(f"{every.count(each)} {each}" for each in get_args(Outcome) if each in every)


def matrices(report: Report) -> Iterator[Matrix]:
    """A matrix for each model."""
    every: list[ArmResult] = [*report.scores, *report.distances, *report.costs]
    others: list[ClaimResult] = [*report.trends, *report.choices]
    for model in dict.fromkeys(row.model for row in (*every, *others)):
        mine = [row for row in every if row.model == model]
        arms = tuple(dict.fromkeys(row.at for row in sorted(mine, key=lambda row: row.order)))
        found: dict[tuple[str, int], dict[str, ArmResult]] = {}
        for row in mine:
            name = lines.claim(row)
            # Claims of two files, or about the cost of two kinds of answers, may read the same.
            place = next(each for each in count() if row.at not in found.get((name, each), {}))
            found.setdefault((name, place), {})[row.at] = row
        rows = tuple((name, tuple(map(row.get, arms))) for (name, _), row in found.items())
        cuts = {
            cell.named: cell.arm for cell in report.cells if cell.model == model and cell.named not in ("", cell.arm)
        }
        named = "; ".join(f"{name}: {arm}" for name, arm in cuts.items())
        yield Matrix(model, arms, rows, tuple(row for row in others if row.model == model), named)


def _shown(row: ArmResult | None) -> str:
    return "" if row is None else f"{lines.SIGNS[row.outcome]}{' !' if lines.has_failed(row) else ''}"


def headed(report: Report) -> Iterator[tuple[str, str]]:
    """(heading, table) of each model, for a page of Markdown."""
    for matrix in matrices(report):
        if matrix.rows:
            yield markdown(f"{matrix.model}: {matrix.counts}"), matrix.text
