"""Columns over rows. Formats only print them, and do no arithmetic."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from glu_prune.report.clean import markdown, one_line

if TYPE_CHECKING:
    import pandas as pd

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


def render(
    columns: Sequence[Column[RowT]], rows: Iterable[RowT], style: str, widths: Sequence[int] | None = None
) -> str:
    """`rows` as text that only shows, whatever is in them: style `simple` for terminals, `pipe` for Markdown.

    With `widths`, one for each column, in characters, longer values go on in the next line.
    """
    from tabulate import tabulate

    safe = markdown if style == "pipe" else one_line
    cells = [[safe(column.show(column.get(row))) for column in columns] for row in rows]
    names = [safe(column.name) for column in columns]
    return tabulate(cells, names, tablefmt=style, disable_numparse=True, maxcolwidths=widths and list(widths))
