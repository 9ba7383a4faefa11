"""Columns that users add to tables: checked where they are made, and kept in a row beside what it had."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

from glu_prune.errors import ReportError
from glu_prune.judgement.verdict import digits
from glu_prune.report.table import Column, headings
from glu_prune.results.base import Row

Extended = TypeVar("Extended", bound=Row)
Value = str | float | bool | None


def with_extra(row: Extended, columns: Sequence[Column[Extended]], found: Iterable[object]) -> Extended:
    """`row` of a table of `columns` with the values that were `found` for it, each a mapping from heading to value.

    Raises:
        ReportError: one of them is something else, or has a heading or a value that a table cannot show.
    """
    extra: dict[str, Value] = {}
    taken = {"model", *headings(columns)}
    for values in found:
        if not isinstance(values, Mapping):
            msg = f"returned {values!r}; a mapping from heading to value is allowed, or None"
            raise ReportError(msg)
        for heading, value in values.items():
            _refuse_unfit(heading, value, taken)
            taken.add(heading)
            extra[heading] = value
    return row.model_copy(update={"extra": extra}) if extra else row


def _refuse_unfit(heading: object, value: object, taken: set[str]) -> None:
    if not isinstance(heading, str) or not heading:
        msg = f"returned the heading {heading!r}; a text is allowed"
    elif heading in taken:
        msg = f"returned a column {heading!r}, which the table has already; choose another heading"
    elif type(value) not in (str, int, float, bool, type(None)):
        msg = f"returned {value!r} ({type(value).__name__}) for {heading!r}; str, int, float, bool and None are allowed"
    elif isinstance(value, float) and not math.isfinite(value):
        msg = f"returned {value!r} for {heading!r}; give None where there is no number"
    else:
        return
    raise ReportError(msg)


def extra_columns(rows: Sequence[Row]) -> tuple[Column[Row], ...]:
    """A column for each value that was added to some row, in order of appearance."""
    names = dict.fromkeys(name for row in rows for name in row.extra)
    return tuple(Column(name, _entry(name), _show) for name in names)


def _entry(name: str) -> Callable[[Row], Value]:
    return lambda row: row.extra.get(name)


def _show(value: Value) -> str:
    if value is None:
        return "-"
    return digits(value) if isinstance(value, float) else str(value)
