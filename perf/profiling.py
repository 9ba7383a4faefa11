"""Where the time of a run goes: every second belongs to exactly one stage.

First `pytest benchmarks -k "ratio_0.5 and not efficiency"` on the embedded models, as a user runs it, with an empty
store; then one random Llama of 32 million parameters, dense and pruned, on the embedded tasks: how much longer a sweep
takes than its forward passes alone.
"""

import contextlib
import io
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import wraps
from pathlib import Path
from typing import Any

import psutil
import pytest

from glu_prune.efficiency.meter import NoMeter
from glu_prune.evaluation.capability import SUITES
from glu_prune.experiment.cell import DENSE, Arm, Cell, Settings
from glu_prune.experiment.executors.arms import Arms
from glu_prune.experiment.executors.local import LocalExecutor, local_engine
from glu_prune.experiment.store import Store
from glu_prune.models.shapes import write_random_model
from glu_prune.models.source import locate
from perf.pruning_speed import busy_elsewhere, machine
from perf.sweep_items import SMALL

SELECTION = "ratio_0.5 and not efficiency"
MODEL = "forward passes"
WHOLE = {"floors"}
"""Stages that keep the time of what they call, except of models."""


class Clock:
    """Divides time among stages; the innermost stage that is running gets it."""

    def __init__(self) -> None:
        """Nothing is running."""
        self.seconds: dict[str, float] = defaultdict(float)
        self._running: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What runs within is `name`'s, unless a stage that keeps its time is running."""
        kept = next((each for each in self._running if each in WHOLE), name)
        self._charge()
        self._running.append(kept)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now

    def watch(self, owner: Any, name: str, stage: str) -> None:
        """Has the calls of a function, method or class attribute counted as `stage`."""
        call: Callable[..., Any] = getattr(owner, name)

        @wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage):
                return call(*args, **kwargs)

        setattr(owner, name, timed)


def watch(clock: Clock) -> None:
    """Has everything that takes time counted."""
    import lm_eval
    from transformers import PreTrainedModel

    from glu_prune.evaluation.evaluate import Evaluator
    from glu_prune.evaluation.scorer import SharedPrefixLM
    from glu_prune.experiment.executors import arms
    from glu_prune.judgement.kinds.direction import DirectionCase
    from glu_prune.pruning import ranking, surgery
    from glu_prune.report import files

    for owner, names, stage in (
        (PreTrainedModel, "__call__", MODEL),
        (arms, "load_model load_tokenizer", "loading models"),
        (ranking, "rank", "ranking and cutting"),
        (surgery, "apply", "ranking and cutting"),
        (Arms, "copy", "ranking and cutting"),
        (Evaluator, "_load", "loading tasks"),
        (SharedPrefixLM, "_plan _encoded", "tokens and prefix trees"),
        (SharedPrefixLM, "_difference", "proving that prefixes can be shared"),
        (SharedPrefixLM, "_answers", "around the forward passes: masks, log-probabilities"),
        (SharedPrefixLM, "generate_until", "around the forward passes: choosing tokens, texts"),
        (lm_eval, "evaluate", "lm-eval: requests, answers, scores"),
        (LocalExecutor, "_floors", "floors"),
        (DirectionCase, "_verdict _tables", "judging"),
        (Store, "get write", "records"),
        (files, "write", "tables"),
    ):
        for name in names.split():
            clock.watch(owner, name, stage)


def table(title: str, seconds: Mapping[str, float], whole: float) -> list[str]:
    """Lines with the share of every stage, the longest first."""
    rest = {**seconds, "everything else": whole - sum(seconds.values())}
    rows = sorted(rest.items(), key=lambda row: -row[1])
    return [
        f"{title}: {whole:.1f} s",
        *(f"  {name:<52}{taken:>8.2f} s{taken / whole:>7.1%}" for name, taken in rows if taken >= 0.005),
    ]


def embedded_run(folder: Path, clock: Clock) -> list[str]:
    """One run of the embedded models by pytest, in this process."""
    options = ["-q", "-k", SELECTION, "--glu-store", str(folder / "store"), "--glu-results", str(folder / "results")]
    with clock.stage("pytest, reports"), contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main(["benchmarks", *options, "-p", "no:cacheprovider"])
    if code:
        sys.exit(f"the run that was to be looked at failed:\n{said.getvalue()}")
    whole = time.time() - psutil.Process().create_time()
    return table(f'pytest benchmarks -k "{SELECTION}"', clock.seconds, whole)


def sweep(folder: Path, clock: Clock) -> list[str]:
    """A larger model, dense and at one ratio, on every embedded task."""
    model = folder / "model"
    write_random_model(SMALL, model, "float32", tokenizer="tiny-base")
    engine = local_engine(Store(folder / "sweep"), NoMeter("the clock is enough"), lambda _: None)
    clock.seconds.clear()
    begin = time.perf_counter()
    for arm in (DENSE, Arm("ppm", Decimal("0.5"))):
        for capability in {each.task: each for each in SUITES["embedded"].values()}.values():
            what = (capability.task, capability.num_fewshot, capability.fields)
            engine.record(Cell(locate(str(model)), arm, *what, Settings()))
    whole = time.perf_counter() - begin
    lines = table(
        "a random Llama of 32 million parameters on the embedded tasks, dense and ppm-0.5", clock.seconds, whole
    )
    return [*lines, f"wall time is {whole / clock.seconds[MODEL]:.2f} x the time of the forward passes"]


def main() -> int:
    """Runs both and writes the tables."""
    clock = Clock()
    watch(clock)
    began, elsewhere = time.perf_counter(), busy_elsewhere()
    with tempfile.TemporaryDirectory() as folder:
        lines = [*embedded_run(Path(folder), clock), "", *sweep(Path(folder), clock)]
    elsewhere = (busy_elsewhere() - elsewhere) / (time.perf_counter() - began)
    heading = [machine(), f"meanwhile, other processes kept {max(0.0, elsewhere):.1f} CPUs busy", ""]
    sys.stdout.write("\n".join([*heading, *lines]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
