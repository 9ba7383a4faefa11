"""The table of model families, for the command that shows it and the page in the documentation."""

from collections import Counter
from typing import get_args

from glu_prune.models.families import Families, Family, Status
from glu_prune.report.table import Column, render

_COLUMNS: tuple[Column[Family], ...] = (
    Column("family", lambda row: row.family),
    Column("class", lambda row: row.model),
    Column("status", lambda row: row.status),
    Column("GLU blocks", lambda row: row.layouts),
    Column("remark", lambda row: row.why),
)
_ORDER = get_args(Status)


def families_table(found: Families, style: str) -> str:
    """The families as text, proven ones first, under a line that counts them."""
    counts = Counter(each.status for each in found.families)
    summary = ", ".join(f"{counts[status]} {status}" for status in _ORDER)
    ordered = sorted(found.families, key=lambda each: (_ORDER.index(each.status), each.family))
    return f"{summary} (transformers {found.transformers})\n\n{render(_COLUMNS, ordered, style)}"
