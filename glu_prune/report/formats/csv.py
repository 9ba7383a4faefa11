"""Each table as a CSV file of plain numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

from glu_prune.report.formats import Format
from glu_prune.report.table import Column
from glu_prune.report.tables import data_frame, filled
from glu_prune.results.base import Row
from glu_prune.results.report import Report


def _table(columns: Sequence[Column[Any]], rows: Sequence[Row]) -> str:
    return data_frame(columns, rows).to_csv(index=False)


def _files(report: Report) -> Iterator[tuple[str, str]]:
    for name, columns, rows in filled(report):
        yield f"{name}.csv", _table(columns, rows)


FORMAT = Format(".csv", _table, _files, order=1)
