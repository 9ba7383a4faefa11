"""The hooks that a `conftest.py` or a plugin of yours can implement."""

from collections.abc import Mapping
from typing import Any

import pytest


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
