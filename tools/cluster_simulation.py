"""Simulates a large sweep on a cluster with the rule by which workers are given tasks.

20 models, 6 ratios and the dense model, 4 criteria, the study's 13 benchmarks, on 64 GPUs: `python -m
tools.cluster_simulation`. Nothing is run: how long a cell takes is computed from tokens and what one GPU does, all of
which is assumed below. It shows what a rule changes, not what a sweep costs; for that there is `pytest --glu-plan
--glu-probe 10`.
"""

import argparse
import heapq
import random
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import fmean

from glu_prune.experiment.executors.schedule import Schedule, Task

MODELS = (0.14, 0.27, 0.36, 0.5, 0.6, 1.0, 1.2, 1.5, 1.7, 2.0, 2.6, 3.0, 3.2, 4.0, 7.0, 7.6, 8.0, 9.0, 12.0, 14.0)
"""Billions of parameters, in bfloat16."""
RATIOS, CRITERIA = 7, 4
TASKS = {
    "mmlu": (1.4e6, 0), "hellaswag": (1.6e6, 0), "lambada_openai": (0.45e6, 0), "boolq": (0.4e6, 0),
    "arc_challenge": (0.2e6, 0), "piqa": (0.15e6, 0), "winogrande": (0.07e6, 0), "truthfulqa_mc1": (0.25e6, 0),
    "truthfulqa_mc2": (0.25e6, 0), "musr": (0.8e6, 0), "wikitext": (0.3e6, 0), "ifeval": (0.03e6, 0.43e6),
    "gsm8k": (1.1e6, 0.26e6),
}  # fmt: skip
"""Tokens that an arm reads once shared ones are, and tokens that it writes: counted on SmolLM2, or by the item."""
READS = 989e12 * 0.35
"""Operations per second of a GPU that reads: an H100's in bfloat16, of which 35 % are reached."""
WRITES = 3.35e12 * 0.5 * 64
"""Bytes of weights per second, times texts at once, of a GPU that writes."""
FIXED = 3.0
"""Seconds of a cell that no GPU shortens: questions are put, answers scored, neurons cut."""
NETWORK = 5e9
"""Bytes per second from where weights are, for all machines together."""
MACHINE = 1.5e9
"""The same for one GPU, decoding and copying included."""
NOISE = 0.2
"""Log-normal spread of how long a cell takes."""


@dataclass(eq=False)
class _Cells(Task[float]):
    """Seconds of each arm."""

    size: float = 0.0
    name: str = ""


class _Alone(Schedule[_Cells]):
    """No task is shared: the rule before this one."""

    def give(self, model: object) -> tuple[_Cells, bool] | None:
        """As the real one, while a task waits."""
        return super().give(model) if self.waiting else None


class _LongestFirst(Schedule[_Cells]):
    """Of a model's tasks the longest is begun first."""

    def _of(self, model: object) -> _Cells:
        return max((each for each in self.waiting if each.model == model), key=self._will_take)


class _LongestFirstAlone(_LongestFirst, _Alone):
    """Both."""


RULES = {
    "in order, alone": _Alone, "longest first, alone": _LongestFirstAlone,
    "in order, shared": Schedule[_Cells], "longest first, shared": _LongestFirst,
}  # fmt: skip


@dataclass
class Outcome:
    """What a sweep came to, in seconds."""

    makespan: float
    computing: float
    loading: float
    loads: int
    last_tenth: float
    """From when nine tenths of the GPUs were busy for the last time."""
    gigabytes: float
    by_task: dict[str, float] = field(default_factory=dict)


def tasks(seed: int) -> Iterator[_Cells]:
    """Of each model and benchmark."""
    drawn = random.Random(seed)
    for size in MODELS:
        for name, (reads, writes) in TASKS.items():
            arms = [0.0, *(ratio / 10 for _ in range(CRITERIA) for ratio in range(1, RATIOS))]
            cells = deque(_seconds(size, reads, writes, arm) * drawn.lognormvariate(0, NOISE) for arm in arms)
            yield _Cells(cells, model=size, kind=name, size=size, name=name)


def _seconds(size: float, reads: float, writes: float, ratio: float) -> float:
    parameters = size * 1e9 * (1 - 0.6 * ratio)
    return FIXED + reads * 2 * parameters / READS + writes * 2 * parameters / WRITES


def simulate(rule: type[Schedule[_Cells]], workers: int, seed: int = 0) -> Outcome:
    """A sweep by `rule` on so many GPUs."""
    schedule = rule(waiting=deque(tasks(seed)))
    found = Outcome(0.0, 0.0, 0.0, 0, 0.0, 0.0)
    events: list[tuple[float, int, object, _Cells | None, bool, float]] = [
        (0.0, number, None, None, False, 0.0) for number in range(workers)
    ]
    network_free, busy = 0.0, workers
    while events:
        now, number, model, task, joins, took = heapq.heappop(events)
        if task is not None:
            schedule.took[task.kind] = took
            if not task.left:
                schedule.leave(task)
                task = None
        if task is None and (given := schedule.give(model)) is not None:
            task, joins = given
        if task is None:
            busy -= 1
            if busy >= 0.9 * workers:
                found.last_tenth = now
            found.makespan = max(found.makespan, now)
            continue
        seconds, load = task.left.pop() if joins else task.left.popleft(), 0.0
        if task.model != model:
            size = task.size * 2e9
            network_free = max(network_free, now) + size / NETWORK
            load = max(network_free - now, size / MACHINE)
            found.loads += 1
            found.gigabytes += size / 1e9
        found.loading += load
        found.computing += seconds
        found.by_task[task.name] = found.by_task.get(task.name, 0.0) + seconds
        heapq.heappush(events, (now + load + seconds, number, task.model, task, joins, load + seconds))
    return found


def lines(gpus: int, seeds: int) -> Iterator[str]:
    """What each rule comes to, as the mean over several draws of how long cells take."""
    yield f"{len(MODELS)} models, {len(TASKS)} tasks, {1 + CRITERIA * (RATIOS - 1)} arms, {gpus} GPUs"
    for name, rule in RULES.items():
        runs = [simulate(rule, gpus, seed) for seed in range(seeds)]
        makespan = fmean(run.makespan for run in runs)
        busy = fmean((run.computing + run.loading) / gpus / run.makespan for run in runs)
        tail = fmean(run.makespan - run.last_tenth for run in runs)
        loading = fmean(run.loading / (run.computing + run.loading) for run in runs)
        moved = fmean(run.gigabytes for run in runs)
        yield (
            f"{name:21} {makespan / 3600:5.2f} h; GPUs busy {busy:.0%}; last {tail / 60:.1f} min with a tenth idle or "
            f"more; {moved:,.0f} GB of weights moved, {loading:.1%} of the time"
        )
    one = simulate(Schedule[_Cells], gpus)
    shares = sorted(one.by_task.items(), key=lambda each: -each[1])
    yield "time by task: " + ", ".join(f"{name} {seconds / one.computing:.0%}" for name, seconds in shares[:5])


def main() -> None:
    """Prints them."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--gpus", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    sys.stdout.writelines(f"{line}\n" for line in lines(given.gpus, given.seeds))


if __name__ == "__main__":
    main()
