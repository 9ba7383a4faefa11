"""What a check of evidence is, and what it finds."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from glu_prune.evidence.figures import Evidence, Run

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with figures, or must be known of them."""

    check: str
    model: str
    subject: str
    """The column, workload, or task and metric that it is about."""
    says: str
    """What was found, with its numbers, in one line."""
    spoils: frozenset[str] = frozenset()
    """Names in `Run.figures` that cannot be used for what they are named after; empty if it is only to be known."""
    ratios: tuple[Decimal, ...] = ()
    """The pruning ratios concerned."""
    workloads: tuple[str, ...] = ()
    """The workloads concerned, if it is about runs."""
    leaves_open: bool = False
    """Whether what the spoilt figures seem to show may be so all the same."""

    def touches(self, model: str, figure: str, workload: str) -> bool:
        """Whether it spoils this figure of this workload."""
        return self.model == model and figure in self.spoils and workload in self.workloads


@dataclass(frozen=True)
class Check:
    """A way in which figures go wrong, and how to see it from the figures alone."""

    name: str
    finds: str
    """One line for people."""
    run: Callable[[Evidence], Iterable[Finding]]


def grouped(runs: Iterable[Run], key: Callable[[Run], Key]) -> Iterator[tuple[Key, tuple[Run, ...]]]:
    """Runs by `key`, in order of first occurrence."""
    groups: dict[Key, list[Run]] = {}
    for run in runs:
        groups.setdefault(key(run), []).append(run)
    return ((each, tuple(members)) for each, members in groups.items())


def ratios_of(runs: Iterable[Run]) -> tuple[Decimal, ...]:
    """The ratios of `runs`, ascending."""
    return tuple(sorted({run.ratio for run in runs}))


def workloads_of(runs: Iterable[Run]) -> tuple[str, ...]:
    """The workloads of `runs`, by name."""
    return tuple(sorted({run.workload for run in runs}))
