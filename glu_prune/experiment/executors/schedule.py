"""Which task a worker of a cluster is given: a rule apart from whatever runs it, so that it can be simulated."""

import math
from collections import Counter, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

CellT = TypeVar("CellT")


@dataclass(eq=False)
class Task(Generic[CellT]):
    """Cells of one model and task, in an order in which each arm is cut from the one before."""

    left: deque[CellT]
    model: Hashable
    """What a worker has to load for it."""
    kind: Hashable
    """What takes about as long for one model as for another."""
    workers: int = 0
    """How many are at it."""


TaskT = TypeVar("TaskT", bound=Task)  # type: ignore[type-arg]


@dataclass
class Schedule(Generic[TaskT]):
    """Tasks that are to be done.

    A worker is given a task of the model that it has loaded, else one of the model that has most tasks left for each
    worker; of these the first, as claims are judged in that order beside. Where there is none, it joins the one that
    will take longest of those that others are at, and takes its cells from the other end, unless it would load a model
    for a single one.
    """

    waiting: deque[TaskT] = field(default_factory=deque)
    """Those that no worker is at."""
    begun: list[TaskT] = field(default_factory=list)
    """Those that some are at."""
    took: dict[Hashable, float] = field(default_factory=dict)
    """By the kind of a task, the seconds of the last cell of one."""

    def __iter__(self) -> Iterator[TaskT]:
        """All that are not done."""
        yield from self.waiting
        yield from self.begun

    def give(self, model: Hashable) -> tuple[TaskT, bool] | None:
        """A task for a worker that has `model`, and whether it joins others at it; None if there is nothing to do."""
        task, joins = self._next(model), False
        if task is None:
            task, joins = self._joined(model), True
        if task is None:
            return None
        if not joins:
            self.waiting.remove(task)
            self.begun.append(task)
        task.workers += 1
        return task, joins

    def leave(self, task: TaskT) -> bool:
        """A worker is at `task` no longer; whether all of it is done. What is left goes back if nobody is at it."""
        task.workers -= 1
        if task.workers:
            return False
        self.begun.remove(task)
        if task.left:
            self.waiting.appendleft(task)
            return False
        return True

    def _next(self, model: Hashable) -> TaskT | None:
        if not self.waiting:
            return None
        left = Counter(each.model for each in self.waiting)
        if model not in left:
            at: Counter[Hashable] = Counter()
            for each in self.begun:
                at[each.model] += each.workers
            model = max(left, key=lambda each: left[each] / (1 + at[each]))
        return self._of(model)

    def _of(self, model: Hashable) -> TaskT:
        """The one of that model that is begun next."""
        return next(each for each in self.waiting if each.model == model)

    def _joined(self, model: Hashable) -> TaskT | None:
        there = [each for each in self.begun if len(each.left) > (each.model != model)]
        return max(there, key=self._will_take, default=None)

    def _will_take(self, task: TaskT) -> float:
        """Seconds, as far as that is known from others; of a kind of which nothing is known yet, more than any."""
        return len(task.left) * self.took.get(task.kind, math.inf)
