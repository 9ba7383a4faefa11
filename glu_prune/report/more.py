"""Columns that users add to tables: checked where they are made, and kept in a row beside what it had."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from glu_prune.errors import ReportError
from glu_prune.judgement.verdict import digits
from glu_prune.report.rows import Row
from glu_prune.report.table import Column, headings

MORE = "more"
"""The key of a row under which added values stand."""


def with_more(row: Row, columns: Sequence[Column], found: Iterable[object]) -> Row:
    """`row` of a table of `columns` with the values that were `found` for it, each a mapping from heading to value.

    Raises:
        ReportError: one of them is something else, or has a heading or a value that a table cannot show.
    """
    more: dict[str, Any] = {}
    taken = {"model", *headings(columns)}
    for values in found:
        if not isinstance(values, Mapping):
            msg = f"returned {values!r}; a mapping from heading to value is allowed, or None"
            raise ReportError(msg)
        for heading, value in values.items():
            _refuse_unfit(heading, value, taken)
            taken.add(heading)
            more[heading] = value
    return {**row, MORE: more} if more else row


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


def more_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """A column for each value that was added to some row, in order of appearance."""
    names = dict.fromkeys(name for row in rows for name in row.get(MORE, ()))
    return tuple(Column(name, _entry(name), _show) for name in names)


def _entry(name: str) -> Any:
    return lambda row: row.get(MORE, {}).get(name)


def _show(value: str | float | None) -> str:
    if value is None:
        return "-"
    return digits(value) if isinstance(value, float) else str(value)
