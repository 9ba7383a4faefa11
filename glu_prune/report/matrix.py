"""The verdicts of a model at a glance: a row for each claim, a column for each ratio."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import get_args

from glu_prune.clean import markdown
from glu_prune.pruning.ratio import show_ratio
from glu_prune.report import lines
from glu_prune.report.table import Column, render
from glu_prune.results.base import Outcome
from glu_prune.results.claims import RatioResult
from glu_prune.results.report import Report

LEGEND = "; ".join(f"{sign} {name}" for name, sign in lines.SIGNS.items()) + "; **!** not as declared"


@dataclass(frozen=True)
class Cell:
    """One claim about one arm, in the matrix."""

    row: RatioResult

    @property
    def sign(self) -> str:
        """Of its verdict."""
        return lines.SIGNS[self.row.outcome]

    @property
    def failed(self) -> bool:
        """Whether something else was found than is declared."""
        return lines.has_failed(self.row)


@dataclass(frozen=True)
class Matrix:
    """The claims of one model, by ratio."""

    model: str
    ratios: tuple[Decimal, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]
    """(claim, its cell at each ratio)."""

    @property
    def text(self) -> str:
        """As a table of Markdown."""
        first = Column[tuple[str, tuple[Cell | None, ...]]]("claim", lambda row: row[0])
        return render((first, *map(self._column, range(len(self.ratios)))), self.rows, "pipe")

    def _column(self, place: int) -> Column[tuple[str, tuple[Cell | None, ...]]]:
        return Column(show_ratio(self.ratios[place]), lambda row: row[1][place], _shown)

    @property
    def counts(self) -> str:
        """How many verdicts of which kind."""
        every = [cell.row.outcome for _, cells in self.rows for cell in cells if cell]
        return ", ".join(f"{every.count(each)} {each}" for each in get_args(Outcome) if each in every)


def matrices(report: Report) -> Iterator[Matrix]:
    """A matrix for each model."""
    every: list[RatioResult] = [*report.scores, *report.distances, *report.costs]
    for model in dict.fromkeys(row.model for row in every):
        mine = [row for row in every if row.model == model]
        ratios = tuple(sorted({row.ratio for row in mine}))
        found = {(lines.claim(row), row.ratio): Cell(row) for row in mine}
        names = dict.fromkeys(name for name, _ in found)
        yield Matrix(
            model, ratios, tuple((name, tuple(found.get((name, ratio)) for ratio in ratios)) for name in names)
        )


def _shown(cell: Cell | None) -> str:
    return "" if cell is None else f"{cell.sign}{' !' if cell.failed else ''}"


def headed(report: Report) -> Iterator[tuple[str, str]]:
    """(heading, table) of each model, for a page of Markdown."""
    for matrix in matrices(report):
        yield markdown(f"{matrix.model}: {matrix.counts}"), matrix.text
