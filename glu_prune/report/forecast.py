"""What a run will take, as a table for people."""

from collections.abc import Iterator

from glu_prune.clean import one_line
from glu_prune.report.table import Column, render, wrapped
from glu_prune.sources.forecast import Forecast, TaskWork

_MINUTE, _HOUR, _KWH = 60, 3600, 3_600_000


def duration(seconds: float) -> str:
    """In the unit that suits."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    return f"{seconds / _MINUTE:.0f} min" if seconds < 2 * _HOUR else f"{seconds / _HOUR:.1f} h"


def _energy(joules: float) -> str:
    return f"{joules / _KWH:.2f} kWh" if joules >= _KWH / 10 else f"{joules:,.0f} J"


def _tokens(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"


_COLUMNS: tuple[Column[TaskWork], ...] = (
    Column("model", lambda row: row.model, key=True),
    Column("task", lambda row: row.task, key=True),
    Column("arms", lambda row: f"{row.arms} of {row.arms + row.stored}"),
    Column("tokens each", lambda row: row.tokens, _tokens),
    Column("takes", lambda row: row.seconds, lambda value: "?" if value is None else duration(value)),
    Column("known", lambda row: row.how),
)


def text(found: Forecast) -> str:
    """A line for each task that is not all in the store, and what all of it comes to."""
    rows = [row for row in found.tasks if row.arms]
    table = [render(_COLUMNS, rows, "simple"), ""] if rows else []
    return "\n".join([*table, *map(wrapped, _said(found, rows))])


def _said(found: Forecast, rows: list[TaskWork]) -> Iterator[str]:
    known = [row.seconds for row in rows if row.seconds is not None]
    stored = sum(row.stored for row in found.tasks)
    to_run = sum(row.arms for row in rows)
    unknown = len(rows) - len(known)
    takes = duration(sum(known) + found.loading)
    said = f"{to_run} cells are to be run, {stored} are in the store; "
    if unknown:
        said += f"{takes} for those that are known, of {unknown} tasks that is unknown (--glu-probe 10 tries them)"
    else:
        said += f"{takes} on this machine, one after the other"
    yield one_line(f"{said}; {found.gigabytes:.2f} GB of weights are read, by each machine.")
    if joules := [row.joules for row in rows if row.joules is not None]:
        yield f"{_energy(sum(joules))} by this machine's meters, for {len(joules)} of {len(rows)} tasks."
    others = {
        "floors": found.floors,
        "series of costs": found.series,
        "cells of KL, each as long as two arms": found.distances,
    }
    if also := ", ".join(f"{count} {what}" for what, count in others.items() if count):
        yield f"Not in it: {also}; judging. Pruned arms are taken to be as slow as the dense one, and to write as much."
