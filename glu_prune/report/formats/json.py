"""A report as JSON, for programs; docs/report.schema.json describes it."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from glu_prune.report.formats import Format
from glu_prune.report.table import Column
from glu_prune.results.base import Row
from glu_prune.results.report import VERSION, Report


def _written(value: object) -> str:
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _table(columns: Sequence[Column[Any]], rows: Sequence[Row]) -> str:
    del columns
    return _written([row.json_row() for row in rows])


def _files(report: Report) -> Iterator[tuple[str, str]]:
    yield "report.json", _written(report.json_row())


def schema() -> str:
    """The JSON schema of `report.json`, generated from the types of the results."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$comment": f"version {VERSION}"}
    return _written({**head, **Report.model_json_schema(mode="serialization")})


FORMAT = Format(".json", _table, _files, order=3)
