"""Tables: lists of columns over rows; renderers only print, and do no arithmetic."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glu_prune.report.rows import Row

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column: its heading, its value in a row, and how that is written for people."""

    name: str
    get: Callable[[Row], Any]
    show: Callable[[Any], str] = str


def frame(columns: Sequence[Column], rows: Iterable[Row]) -> "pd.DataFrame":
    """`rows` as a data frame of plain values."""
    import pandas as pd

    return pd.DataFrame([{c.name: c.get(row) for c in columns} for row in rows], columns=[c.name for c in columns])


def render(columns: Sequence[Column], rows: Iterable[Row], style: str) -> str:
    """`rows` as text: style `simple` for terminals, `pipe` for Markdown."""
    from tabulate import tabulate

    cells = [[column.show(column.get(row)) for column in columns] for row in rows]
    return tabulate(cells, [column.name for column in columns], tablefmt=style, disable_numparse=True)
