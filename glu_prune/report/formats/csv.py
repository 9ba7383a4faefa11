"""Each table as a CSV file of plain numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

from glu_prune.report.formats import Format
from glu_prune.report.table import Column, frame
from glu_prune.report.tables import TABLES
from glu_prune.results.base import Row
from glu_prune.results.report import Report


def _table(columns: Sequence[Column[Any]], rows: Sequence[Row]) -> str:
    data = frame(columns, rows)
    data.insert(0, "model", [row.model for row in rows])
    return data.to_csv(index=False)


def _files(report: Report) -> Iterator[tuple[str, str]]:
    for name, table in TABLES.items():
        if rows := report.rows(name):
            yield f"{name}.csv", _table(table.columns(rows), rows)


FORMAT = Format(".csv", _table, _files, order=1)
