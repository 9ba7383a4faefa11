"""Each table as Parquet: the plain numbers of the CSV files, with their types."""

import io
from collections.abc import Iterator, Sequence
from typing import Any

from glu_prune.report.formats import Format
from glu_prune.report.table import Column
from glu_prune.report.tables import data_frame, filled
from glu_prune.results.base import Row
from glu_prune.results.report import Report


def _table(columns: Sequence[Column[Any]], rows: Sequence[Row]) -> bytes:
    data = data_frame(columns, rows)
    # A column of several kinds of values has no type in Parquet; as CSV files do, it has what is shown.
    for name in [each for each in data if data[each].dtype.name == "object"]:
        data[name] = [None if value is None else str(value) for value in data[name]]
    stream = io.BytesIO()
    data.to_parquet(stream, index=False)
    return stream.getvalue()


def _files(report: Report) -> Iterator[tuple[str, bytes]]:
    for name, columns, rows in filled(report):
        yield f"{name}.parquet", _table(columns, rows)


FORMAT = Format(".parquet", _table, _files, order=5, always=False)
