"""Columns over rows. Formats only print them, and do no arithmetic."""

import os
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from glu_prune.clean import markdown, one_line

if TYPE_CHECKING:
    import pandas as pd

_WIDEST = 100
_NARROWEST = 6
"""Characters of a column."""
_GAP = 2
"""Characters between columns."""
RowT = TypeVar("RowT", contravariant=True)


@dataclass(frozen=True)
class Column(Generic[RowT]):
    """One column: its heading, its value in a row, and how that is written for people."""

    name: str
    get: Callable[[RowT], Any]
    show: Callable[[Any], str] = str
    parts: tuple[str, ...] = ()
    """For values that are several numbers: what each is; files have a column for each."""

    @property
    def headings(self) -> tuple[str, ...]:
        """Its headings in files."""
        return tuple(f"{self.name} {part}".rstrip() for part in self.parts) or (self.name,)

    def cells(self, row: RowT) -> Iterable[tuple[str, object]]:
        """Its values in files, by their headings."""
        value, names = self.get(row), self.headings
        if not self.parts:
            return ((self.name, list(value) if isinstance(value, tuple) else value),)  # as JSON has pairs
        return zip(names, (None,) * len(names) if value is None else value, strict=True)


def frame(columns: Sequence[Column[RowT]], rows: Iterable[RowT]) -> "pd.DataFrame":
    """`rows` as a data frame of plain values."""
    import pandas as pd

    values = [{name: value for column in columns for name, value in column.cells(row)} for row in rows]
    return pd.DataFrame(values, columns=headings(columns))


def headings(columns: Iterable[Column[RowT]]) -> list[str]:
    """The headings of `columns` in files."""
    return [name for column in columns for name in column.headings]


def terminal_width() -> int:
    """Characters of a line of what is shown: as `COLUMNS` says, or else the terminal, of which at most 100."""
    return int(os.environ.get("COLUMNS") or 0) or min(_WIDEST, shutil.get_terminal_size((_WIDEST, 24)).columns)


def wrapped(text: str) -> str:
    """`text`, one paragraph, in lines that the terminal holds."""
    return textwrap.fill(text, terminal_width(), break_on_hyphens=False)


def fitting(cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """The widths at which the columns of `cells` fit into `room` characters: the widest give way, evenly."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    while sum(widths) + _GAP * (len(widths) - 1) > room and max(widths) > _NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def render(
    columns: Sequence[Column[RowT]],
    rows: Iterable[RowT],
    style: str,
    widths: Sequence[int] | None = None,
    room: int | None = None,
) -> str:
    """`rows` as text that only shows, whatever is in them: style `simple` for terminals, `pipe` for Markdown.

    With `widths`, one for each column, in characters, longer values go on in the next line; with `room`, as much of it
    as a line has, so that all columns fit.
    """
    from tabulate import tabulate

    safe = markdown if style == "pipe" else one_line
    cells = [[safe(column.show(column.get(row))) for column in columns] for row in rows]
    names = [safe(column.name) for column in columns]
    if room is not None:
        widths = fitting([names, *cells], room)
    most = None if widths is None else list(widths)
    return tabulate(
        cells,
        names,
        tablefmt=style,
        disable_numparse=True,
        maxcolwidths=most,
        maxheadercolwidths=most if room else None,
    )
