"""Tables: lists of columns over rows; renderers only print, and do no arithmetic."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glu_prune.report.clean import markdown, one_line
from glu_prune.report.rows import Row

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """One column: its heading, its value in a row, and how that is written for people."""

    name: str
    get: Callable[[Row], Any]
    show: Callable[[Any], str] = str
    parts: tuple[str, ...] = ()
    """For values that are several numbers: what each is; files have a column for each."""


def frame(columns: Sequence[Column], rows: Iterable[Row]) -> "pd.DataFrame":
    """`rows` as a data frame of plain values."""
    import pandas as pd

    return pd.DataFrame([{k: v for c in columns for k, v in _cells(c, row)} for row in rows], columns=headings(columns))


def headings(columns: Iterable[Column]) -> list[str]:
    """The headings of `columns` in files."""
    return [name for column in columns for name in _names(column)]


def _names(column: Column) -> tuple[str, ...]:
    return tuple(f"{column.name} {part}".rstrip() for part in column.parts) or (column.name,)


def _cells(column: Column, row: Row) -> Iterable[tuple[str, Any]]:
    value, names = column.get(row), _names(column)
    values = (value,) if not column.parts else (None,) * len(names) if value is None else value
    return zip(names, values, strict=True)


def render(columns: Sequence[Column], rows: Iterable[Row], style: str) -> str:
    """`rows` as text that only shows, whatever is in them: style `simple` for terminals, `pipe` for Markdown."""
    from tabulate import tabulate

    safe = markdown if style == "pipe" else one_line
    cells = [[safe(column.show(column.get(row))) for column in columns] for row in rows]
    return tabulate(cells, [safe(column.name) for column in columns], tablefmt=style, disable_numparse=True)
