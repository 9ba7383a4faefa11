"""What a check of evidence is, and how its findings name runs."""

from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from glu_prune.evidence.figures import Evidence, Run
from glu_prune.results.findings import Finding

Key = TypeVar("Key", bound=Hashable)


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
