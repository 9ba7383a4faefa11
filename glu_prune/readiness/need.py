"""One thing that a run needs, and a table of many."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from glu_prune.report.table import Column, render

State = Literal["ready", "note", "missing"]
"""`note`: a run works without it, and should know that."""


@dataclass(frozen=True)
class Need:
    """Something that a run needs."""

    what: str
    state: State
    detail: str
    """What was found."""
    remedy: str = ""
    """How to get what is missing."""

    @property
    def missing(self) -> bool:
        """Whether a run would fail without it."""
        return self.state == "missing"


_COLUMNS: tuple[Column[Need], ...] = (
    Column("what", lambda row: row.what),
    Column("state", lambda row: row.state),
    Column("found", lambda row: row.detail),
    Column("how to get it", lambda row: row.remedy),
)


def table(needs: Iterable[Need]) -> str:
    """`needs`, one per row."""
    return render(_COLUMNS, needs, "simple")


def size_of(size: int) -> str:
    """Bytes in words: `4.8 MB`, `2.5 GB`."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
