"""Subsets of a task: runs of its documents in one random order, the same for every model."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.shared_sources import Document, Place

ORDER_SEED = 20251222
SHARED = "source"
"""In place of a field: documents that share a source are one unit."""
NO_SOURCES: Mapping[Place, str] = {}
_FIRST_DOCUMENTS, _FIRST_UNBOUNDED, _FIRST_CLUSTERS = 64, 128, 32
_HALVES = 2
_MOST = 1 << 20
"""No subset begins after so many units: no task has as many."""


@dataclass(frozen=True)
class Subset:
    """Some units of a task by their places in the random order: documents, or clusters of them, which stay together."""

    start: int
    stop: int
    """The first place after it; a task may end before."""
    cluster: str | None = None
    """The document field that names clusters, or `SHARED`; None where each document is a unit, and each of several
    tasks has its share of them (MMLU's subjects)."""
    step: int = 1
    """Every so many of them: two subsets that begin one after the other, with a step of 2, are halves."""

    def __str__(self) -> str:
        """For people: `64-128`, `32-64 by subject`, `half 2`, `half 1 of 200`, `half 1, 128-200`."""
        places = f"{self.start}-{self.stop}"
        if self.step > 1:
            first, whole = self.start % self.step, "" if self.stop == _MOST else f" of {self.stop}"
            of = f", {places}" if self.start >= self.step else whole
            places = f"{'half' if self.step == _HALVES else f'part in {self.step}'} {first + 1}{of}"
        return places + ("" if self.cluster in (None, SHARED) else f" by {self.cluster}")

    def documents(
        self, tasks: Mapping[str, Sequence[Document]], sources: Mapping[Place, str] = NO_SOURCES
    ) -> dict[str, list[int]]:
        """Task to the places of its documents in this subset, ascending; tasks without any are left out.

        `sources` are those that documents share, by place.
        """
        units = self._in_shares(tasks) if self.cluster is None else self._clusters(tasks, sources)
        found: dict[str, list[int]] = {}
        for task, place in sorted(each for unit in units[self.start : self.stop : self.step] for each in unit):
            found.setdefault(task, []).append(place)
        return found

    def _clusters(
        self, tasks: Mapping[str, Sequence[Document]], sources: Mapping[Place, str]
    ) -> Sequence[Sequence[Place]]:
        """All units, in random order."""

        def unit(task: str, number: int) -> object:
            if self.cluster in (None, SHARED):
                return sources.get((task, number), (task, number))
            return str(tasks[task][number][self.cluster])

        units: dict[object, list[Place]] = {}
        for task in sorted(tasks):
            for number in range(len(tasks[task])):
                units.setdefault(unit(task, number), []).append((task, number))
        order = list(units.values())
        random.Random(ORDER_SEED).shuffle(order)
        return order

    @staticmethod
    def _in_shares(tasks: Mapping[str, Sequence[Document]]) -> Sequence[Sequence[Place]]:
        """All documents, in an order that is random, but of each task takes an equal share at any point."""
        draw = random.Random(ORDER_SEED)
        placed = []
        for task in sorted(tasks):
            numbers = list(range(len(tasks[task])))
            draw.shuffle(numbers)
            begin = draw.random()
            placed += [((rank + begin) / len(numbers), (task, number)) for rank, number in enumerate(numbers)]
        return [[place] for _, place in sorted(placed)]


def halves(capability: Capability, most: int | None = None) -> tuple[Subset, Subset]:
    """Two halves of all units of a task, or of the first `most` of the random order, that share no source."""
    cluster, stop = capability.cluster or SHARED, most or _MOST
    return Subset(0, stop, cluster, _HALVES), Subset(1, stop, cluster, _HALVES)


def growing_subsets(capability: Capability) -> Iterator[Subset]:
    """The subsets that are evaluated one after the other, each as large as all before it together."""
    return pieces(capability, Subset(0, _MOST, capability.cluster or SHARED), _MOST)


def pieces(capability: Capability, whole: Subset, units: int) -> Iterator[Subset]:
    """The same of a subset that has so many units."""
    # Totals that double keep the number of looks logarithmic and waste at most half of the items. The first piece has
    # as many units as the tests need at least: tests of unbounded values and of clusters are asymptotic.
    first = _FIRST_UNBOUNDED if capability.logarithmic else _FIRST_DOCUMENTS
    start, stop = 0, _FIRST_CLUSTERS if capability.cluster else first
    while start < units:
        begin, end = (whole.start + whole.step * place for place in (start, min(stop, units)))
        yield replace(whole, start=begin, stop=end)
        start, stop = stop, 2 * stop
