"""What a check is, what it finds, and a table of many findings."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from glu_prune.experiment.cell import Settings
from glu_prune.models.dtypes import AUTO, EXACT
from glu_prune.readiness.requirements import Requirements
from glu_prune.report.table import Column, render

State = Literal["ready", "note", "missing"]
"""`note`: a run works without it, and should know that."""


@dataclass(frozen=True)
class CheckResult:
    """The state of one thing that a run needs."""

    what: str
    state: State
    detail: str
    """What was found."""
    remedy: str = ""
    """How to get what is missing."""
    downloadable: bool = False
    """Whether a run that has a connection fetches it by itself."""

    @property
    def missing(self) -> bool:
        """Whether a run would fail without it."""
        return self.state == "missing"


@dataclass(frozen=True)
class Run:
    """A run that is about to be, or may be."""

    requirements: Requirements
    settings: Settings
    store: Path

    @property
    def dtype(self) -> str:
        """Of the weights while they are evaluated; where that is left open, the largest that may be taken."""
        return EXACT if self.settings.dtype == AUTO else self.settings.dtype


@dataclass(frozen=True)
class Check:
    """One kind of thing that a run needs, found out about without a connection and without loading a model."""

    name: str
    results: Callable[[Run], Iterator[CheckResult]]
    """What is found, a row each; none where the run does not need it, or another check says why it cannot be told."""
    refuses: bool = True
    """Whether a run is refused for what it finds missing; else only `doctor` says so, as much can be done without."""


_COLUMNS: tuple[Column[CheckResult], ...] = (
    Column("what", lambda row: row.what),
    Column("state", lambda row: row.state),
    Column("found", lambda row: row.detail),
    Column("how to get it", lambda row: row.remedy),
)


def table(results: Iterable[CheckResult]) -> str:
    """`results`, one per row."""
    return render(_COLUMNS, results, "simple")
