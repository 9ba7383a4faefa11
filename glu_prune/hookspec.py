"""The hooks that a `conftest.py` or a plugin of yours can implement."""

from collections.abc import Mapping
from typing import Any

import pytest

from glu_prune.results.report import Report


@pytest.hookspec
def pytest_glu_columns(table: str, row: Mapping[str, Any]) -> Mapping[str, str | float | bool | None] | None:
    """Further columns of one row of a table, by their headings; None, or nothing, for no more.

    They stand after the table's own, in the terminal and in all files. The same row must give the same values: a row
    that several cases give is shown once.

    Args:
        table: `scores`, `why`, `groups`, `trends`, `curves`, `costs`, `findings`, `efficiency`, `energy` or
            `recomputed`; the name of its CSV file.
        row: What is known of it, as in `report.json`, such as `model`, `ratio`, `capability`, `dense` and `pruned`.
    """


@pytest.hookspec
def pytest_glu_report(report: Report, config: pytest.Config) -> str | None:
    """Takes what a session came to, to log it elsewhere; a line that the terminal shows, or None.

    Called once, in the process that has the terminal, after all files are written, if the session came to its end and
    a case was judged. What it raises is one line, and changes neither the outcome nor what others log.

    Args:
        report: All of `report.json`; docs/report.schema.json describes its fields.
        config: Of the session; `config.getoption("--glu-limit")` and the like say how it was run.
    """
