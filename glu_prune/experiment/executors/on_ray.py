"""Runs cells on a Ray cluster: one worker per share of a machine, each with one model in its memory.

The driver gives every worker the next arm of the task it is at, else another task (`schedule.py` says which), so that a
model is loaded and ranked once by each worker that takes it up, and its arms are cut from each other.

What crosses is JSON there and the bytes of records back, cell by cell: whoever asked puts a record into the store as
soon as it is there, so that neither a lost machine nor a killed driver loses what was finished. Costs are measured by
the driver itself, when nothing runs on the cluster: they belong to the machine that they are asked for on.
"""

import itertools
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from glu_prune import errors
from glu_prune.errors import EvaluationError, NotReadyError
from glu_prune.experiment.cell import AnyCell, Settings
from glu_prune.experiment.executors import Answer, Arrived, Executor
from glu_prune.experiment.executors.ray_cluster import Remote, connected
from glu_prune.experiment.executors.schedule import Schedule, Task
from glu_prune.experiment.executors.shares import Share, refuse_other_gpus
from glu_prune.experiment.jobs import Job, job
from glu_prune.experiment.machine import gpus
from glu_prune.models.source import ModelSource
from glu_prune.progress.work import Work

TRIES = 3
"""So many workers may die of one cell before that is its error, and so many in a row before they begin. Those whose
machine is lost do not count."""
_LOOKED = 0.2
"""Seconds between two looks at what has come."""
_GOODBYE = 5.0
"""Seconds for workers to tidy up."""
_PASSED_ON = ("GLU_PRUNE_", "HF_", "NLTK_", "TOKENIZERS_")
"""Beginnings of the names of variables that workers are given."""

Model = tuple[ModelSource | None, Settings | None]
"""What a worker has in its memory: a model, and how it is loaded; neither where floors alone are asked for."""


@dataclass(eq=False)
class _Task(Task[Job]):
    """A job: its cells one by one, and what came of them."""

    arrived: Arrived = lambda _: None
    contents: list[bytes] = field(default_factory=list)
    error: Exception | None = None
    answer: "Future[tuple[bytes, ...]]" = field(default_factory=Future)

    @classmethod
    def of(cls, said: Job, arrived: Arrived) -> "_Task":
        """Of a job that was submitted."""
        first: Any = next(iter(said.answers))
        source = getattr(first, "source", None)
        model: Model = source, first.settings.loading if source else None
        return cls(deque(_one_by_one(said)), model, (type(first), getattr(first, "task", None)), arrived=arrived)


@dataclass
class _Worker:
    """An actor, and what it is at."""

    actor: Any
    name: str
    model: Hashable = (None, None)
    task: _Task | None = None
    cell: Job | None = None
    """Of its task, the one it is at."""
    since: float = 0.0
    backwards: bool = False
    """Whether it has joined a task, and takes its cells from the end."""
    around: frozenset[str] = frozenset()
    """The machines that there were when it was hired."""
    machine: str = ""
    """As Ray numbers it; empty until it has begun: there may be no room for it, whatever the cluster says it has."""


class RayExecutor:
    """Hands jobs to the workers of a cluster, from a thread of its own that alone talks to Ray."""

    ahead = True

    def __init__(self, address: str, share: Share, here: Executor, say: Callable[[str], None], work: Work) -> None:
        """The cluster is at `address`; where that is empty, one is started on this machine until `shutdown`.

        `here` measures costs; `say` is told what is lost, `work` what runs where.
        """
        self._address, self._here, self._share, self._say, self._work = address, here, share, say, work
        self._open = ExitStack()
        self._thread: threading.Thread | None = None
        self._workers: dict[Any, _Worker] = {}
        """By what they will give, which at first is where they are; of those that have nothing to do, by name."""
        self._failed_starts = 0
        """In a row."""
        self._tasks: Schedule[_Task] = Schedule()
        """All that somebody may wait for."""
        self._deaths: Counter[str] = Counter()
        """By the key of a job, how often its worker died."""
        self._lock = threading.Condition(threading.RLock())
        self._over, self._why = False, ""
        self._numbers = itertools.count(1)

    @cached_property
    def _ray(self) -> Any:
        """The cluster, joined when the first job comes.

        Raises:
            NotReadyError: Ray is not installed, or there is no such cluster, or no machine in it holds a share.
        """
        ray = connected(self._address, self._open)
        if not (count := self._share.times(ray.cluster_resources())):
            has = ", ".join(f"{name} {count:g}" for name, count in sorted(ray.cluster_resources().items()))
            msg = f"no worker that takes {self._share.options} fits a cluster of {has}"
            raise NotReadyError(msg)
        self._say(f"a cluster of {len(ray.nodes())} machines with room for {count} workers")
        return ray

    def submit(self, job: str, arrived: Arrived = lambda _: None) -> Answer:
        """Takes a job; costs are measured once nothing else is to be run, by whoever asks for the result.

        Raises:
            NotReadyError: there is no cluster that could run it.
            EvaluationError: it is over with this one.
        """
        said = Job.from_json(job)
        if said.series is not None:
            return _Quiet(self, job)
        task, _ = _Task.of(said, arrived), self._ray
        with self._lock:
            if self._over:
                raise EvaluationError(self._why or "the session has ended")
            self._tasks.waiting.append(task)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, daemon=True)
                self._thread.start()
            self._lock.notify_all()
        return task.answer

    def shutdown(self) -> None:
        """Ends all workers; and the cluster, if it was started here."""
        with self._lock:
            self._over = True
            self._lock.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._here.shutdown()
        self._open.close()

    def measured(self, job: str) -> tuple[bytes, ...]:
        """The result of a job about costs."""
        with self._lock:
            self._lock.wait_for(lambda: self._over or not any(self._tasks))
        return self._here.submit(job).result()

    @property
    def _busy(self) -> list[_Worker]:
        return [each for each in self._workers.values() if each.task]

    def _serve(self) -> None:
        """Until the end: gives work to whoever has none, and takes what has come."""
        try:
            while self._waited():
                self._employ()
                if not (refs := [ref for ref, each in self._workers.items() if each.task or not each.machine]):
                    time.sleep(_LOOKED)  # there are tasks, and no machine: others may join the cluster
                    continue
                for ref in self._ray.wait(refs, num_returns=1, timeout=_LOOKED)[0]:
                    worker = self._workers.pop(ref)
                    (self._take if worker.task else self._begun)(ref, worker)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._fail(error)
        else:
            self._fail(EvaluationError("the session ended before this was run"))
        finally:
            self._dismiss()

    def _waited(self) -> bool:
        """Whether it goes on; returns once there is something to do."""
        with self._lock:
            self._lock.wait_for(lambda: self._over or any(self._tasks))
            return not self._over

    def _dismiss(self) -> None:
        """Has idle workers remove what they wrote; whoever is at something is ended with the session."""
        idle = [each.actor.close.remote() for each in self._workers.values() if each.machine and not each.task]
        with suppress(self._ray.exceptions.RayError):
            self._ray.wait(idle, num_returns=len(idle), timeout=_GOODBYE) if idle else None
        for each in self._workers.values():
            self._ray.kill(each.actor)
        self._workers.clear()

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._over, self._why = True, str(error)
            for task in self._tasks:
                task.answer.set_exception(error)
            self._tasks = Schedule()
            self._lock.notify_all()

    def _employ(self) -> None:
        """Gives every idle worker something to do, and has as many as the machines that are there hold."""
        with self._lock:
            left = sum(len(each.left) for each in self._tasks)
            wanted = min(self._share.times(self._ray.cluster_resources()), left + len(self._busy))
            for _ in range(wanted - len(self._workers)):
                worker = self._hired()
                self._workers[worker.actor.where.remote()] = worker
            idle = [(key, each) for key, each in self._workers.items() if each.machine and not each.task]
            for key, worker in idle:
                if (given := self._tasks.give(worker.model)) is not None:
                    del self._workers[key]
                    worker.task, worker.backwards = given
                    worker.model = worker.task.model
                    self._send(worker)

    def _hired(self) -> _Worker:
        actor = self._ray.remote(Remote).options(scheduling_strategy="SPREAD", **self._share.options)
        env = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
        return _Worker(actor.remote(str(Path.cwd()), env), f"worker {next(self._numbers)}", around=self._machines)

    @property
    def _machines(self) -> frozenset[str]:
        """Those that are there."""
        return frozenset(each["NodeID"] for each in self._ray.nodes() if each["Alive"])

    def _begun(self, ref: Any, worker: _Worker) -> None:
        """A worker says where it is, or could not begin.

        Raises:
            EvaluationError: none can, or it has GPUs of another kind.
        """
        try:
            worker.machine, kind = self._ray.get(ref)
            refuse_other_gpus(self._share, gpus(), kind)
        except self._ray.exceptions.RayError as error:
            said = errors.first_line(error)
            self._failed_starts += worker.around <= self._machines
            self._say(f"{worker.name} could not begin: {said}")
            if self._failed_starts >= TRIES:
                msg = f"{TRIES} workers in a row could not begin: {said}"
                raise EvaluationError(msg) from error
        else:
            self._failed_starts = 0
            self._workers[worker.name] = worker

    def _send(self, worker: _Worker) -> None:
        """The next cell of its task."""
        task = worker.task
        assert task is not None
        cell = worker.cell = task.left.pop() if worker.backwards else task.left.popleft()
        worker.since = time.monotonic()
        self._workers[worker.actor.run.remote(cell.to_json())] = worker
        answers = cell.answers
        self._work.begin(worker.name, str(answers[0]), {each.key: each.about for each in answers})

    def _take(self, ref: Any, worker: _Worker) -> None:
        """What came of a cell; the next one is sent, or the task is done."""
        task = worker.task
        assert task is not None
        try:
            kind, says, contents = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._lost(worker, task, error)
            return
        self._work.end(worker.name)
        self._tasks.took[task.kind] = time.monotonic() - worker.since
        if kind:
            task.error = task.error or _as_ours(kind, says)
        else:
            task.contents += contents
            task.arrived(contents)
        with self._lock:
            if task.left and not self._over:
                self._send(worker)
                return
            worker.task = None
            self._workers[worker.name] = worker
            self._left(task)

    def _lost(self, worker: _Worker, task: _Task, error: Exception) -> None:
        """A worker died. Its cell is run again, unless workers die of it; the others of its task go on elsewhere."""
        self._work.end(worker.name, done=False)
        cell = worker.cell
        assert cell is not None
        said = str(error).strip().splitlines()[0]
        out_of_memory = isinstance(error, self._ray.exceptions.OutOfMemoryError)
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker.actor)  # it may only have been out of reach
        if worker.machine in self._machines:
            self._deaths[cell.key] += 1
        if out_of_memory or self._deaths[cell.key] >= TRIES:
            why = "memory ran out" if out_of_memory else f"{TRIES} workers died of it"
            task.error = task.error or EvaluationError(f"{cell.answers[0]}: {why}: {said}")
        else:
            task.left.appendleft(cell)
        self._say(f"{cell.answers[0]}: {worker.name} is lost: {said}")
        with self._lock:
            self._left(task)

    def _left(self, task: _Task) -> None:
        """A worker is no longer at `task`; when all of it is done, whoever waits is told what came of it."""
        if not self._tasks.leave(task):
            return
        if task.error is not None:
            task.answer.set_exception(task.error)
        else:
            task.answer.set_result(tuple(task.contents))
        self._lock.notify_all()


@dataclass(frozen=True)
class _Quiet:
    """A job about costs, which is run when its result is asked for."""

    executor: RayExecutor
    job: str

    def result(self) -> tuple[bytes, ...]:
        """Runs it, once nothing else does."""
        return self.executor.measured(self.job)


def _as_ours(kind: str, says: str) -> Exception:
    found = getattr(errors, kind, EvaluationError)
    made: Exception = found(says)
    return made


def _one_by_one(said: Job) -> Iterator[Job]:
    cells: Iterable[AnyCell] = said.cells or said.answers
    return map(job, cells)
