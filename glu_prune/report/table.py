"""Columns over rows. Formats only print them, and do no arithmetic."""

import os
import shutil
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from glu_prune.clean import markdown, one_line

if TYPE_CHECKING:
    import pandas as pd

_WIDEST = 100
_NARROWEST = 6
_TIGHT, _READABLE = 10, 25
"""Characters of a column: in the narrowest window, in a table that is kept in one piece, and in one that is not or in a
column that says which row it is."""
_FEW = 5
"""Columns of a table that is always kept in one piece."""
_GAP, _PADDING = 2, 2
"""Characters between columns, and those that tabulate leaves free beside headings."""
RowT = TypeVar("RowT", contravariant=True)


@dataclass(frozen=True)
class Column(Generic[RowT]):
    """One column: its heading, its value in a row, and how that is written for people."""

    name: str
    get: Callable[[RowT], Any]
    show: Callable[[Any], str] = str
    parts: tuple[str, ...] = ()
    """For values that are several numbers: what each is; files have a column for each."""
    key: bool = False
    """Whether it says which row this is: each part of a table that is too wide begins with it."""

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


def render(columns: Sequence[Column[RowT]], rows: Iterable[RowT], style: str) -> str:
    """`rows` as text that only shows, whatever is in them: style `pipe` for Markdown, `simple` for terminals.

    For terminals no line is longer than `terminal_width()`: the widest columns go on in the next line, and a table with
    too many columns follows in parts, each of which begins with the columns that say which row it is.
    """
    safe = markdown if style == "pipe" else one_line
    every = list(rows)
    cells = [[safe(column.name), *(safe(column.show(column.get(row))) for row in every)] for column in columns]
    if style == "pipe":
        return _tabulated(cells, style)
    widths = [_width(texts) for texts in cells]
    least = [
        min(width, _READABLE if column.key else max(_TIGHT, min(_longest_word(texts), _READABLE)))
        for width, texts, column in zip(widths, cells, columns, strict=True)
    ]
    keys = [place for place, column in enumerate(columns) if column.key] or [0]
    room = terminal_width()
    found = []
    for part in _parts(widths, least, keys, room):
        fitted = _fitting([widths[place] for place in part], [least[place] for place in part], room)
        found.append(
            _tabulated([_filled(cells[place], width) for place, width in zip(part, fitted, strict=True)], style)
        )
    return "\n\n".join(found)


def _tabulated(columns: Sequence[Sequence[str]], style: str) -> str:
    """Columns of text, each below its heading."""
    from tabulate import tabulate

    names, *rows = zip(*columns, strict=True)
    return tabulate(rows, names, tablefmt=style, disable_numparse=True)


def _filled(column: Sequence[str], width: int) -> list[str]:
    """The texts of a column in lines of at most `width` characters.

    Not by tabulate, which takes `2,603.4` for a number when it wraps, and fails.
    """
    heading, *cells = column
    shape = partial(textwrap.fill, break_on_hyphens=False)
    return [shape(heading, max(width - _PADDING, 1)), *(shape(cell, width) for cell in cells)]


def _width(column: Sequence[str]) -> int:
    """Characters of a column of which the first text is the heading."""
    return max(len(column[0]) + _PADDING, *map(len, column))


def _longest_word(column: Sequence[str]) -> int:
    return max((len(word) for text in column for word in text.split()), default=0)


def _parts(widths: Sequence[int], least: Sequence[int], keys: Sequence[int], room: int) -> list[list[int]]:
    """Which columns stand beside each other so that each part fits; `keys` are the first in all of them."""
    others = [place for place in range(len(widths)) if place not in keys]
    if len(widths) <= _FEW or sum(least) + _GAP * (len(least) - 1) <= room:
        return [[*keys, *others]]
    readable = [min(width, _READABLE) + _GAP for width in widths]
    first = sum(readable[place] for place in keys)
    found, used = [list(keys)], first
    for place in others:
        if used + readable[place] - _GAP > room and len(found[-1]) > len(keys):
            found.append(list(keys))
            used = first
        found[-1].append(place)
        used += readable[place]
    return found


def _fitting(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """`widths` of columns that fit into `room` characters together: the widest give way, if need be below `least`."""
    found = list(widths)
    while sum(found) + _GAP * (len(found) - 1) > room and max(found) > _NARROWEST:
        spare = [width if width > low else 0 for width, low in zip(found, least, strict=True)]
        found[spare.index(max(spare)) if any(spare) else found.index(max(found))] -= 1
    return found
