"""How long a sweep over pruning ratios takes: ours, and the usual loop of OptiPFair 0.4.2 and lm-eval.

Both meet the same model, the same items and the same prompts, in turns: for each ratio and each benchmark, the one and
then the other, in alternating order. The usual loop prunes on the clock, with OptiPFair, and then answers with what
ours keeps: among neurons of equal score, of which a dequantised model has many, the two keep different ones. The items
are a part of the real ones, in the study's proportions, but at least 32 prompts of IFEval, each with all of its tokens.
MMLU is made smaller by whole subjects, as few as average ones would be enough: its 14,042 questions are 246 to a
subject, which all begin with the same five worked examples, and a few of each subject would not be the benchmark that
people run.

The usual loop is given the batch size that suits it best, found for each benchmark on the dense model before the clock
starts; its time of a benchmark is that of wrapping the model and of `simple_evaluate`. What that spends on describing
the machine counts once per ratio, as if one call had evaluated all benchmarks. The charitable loop is the same with
lm-eval's index of tasks built once: its further buildings are left out of the sum, nothing is measured anew.

What ours does besides answering counts, too: loading, ranking, cutting, hashing weights and storing records as "loading
and pruning", indexing and loading tasks as part of the benchmark that needs them.
"""

import argparse
import copy
import json
import logging
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from glu_prune.efficiency.meter import NoMeter
from glu_prune.errors import GluPruneError
from glu_prune.evaluation.local_data import VARIABLE
from glu_prune.evaluation.metrics import LIKELIHOODS
from glu_prune.experiment.cell import DENSE, Arm, Cell, Settings
from glu_prune.experiment.code import library_versions
from glu_prune.experiment.executors.arms import Arms
from glu_prune.experiment.executors.local import local_engine
from glu_prune.experiment.record import Record
from glu_prune.experiment.store import Store
from glu_prune.models.source import ModelSource, locate
from glu_prune.pruning.ratio import Ratio, parse_ratio, show_ratio
from perf.pruning_speed import busy_elsewhere, load_oracle, machine
from perf.sweep_items import BENCHMARKS, LARGE, SMALL, TOKENS, Benchmark, missing, scale_down, write_model
from perf.sweep_table import HEAD, Row, make_row, totals, verdict
from perf.usual_loop import Answers, Turn, UsualLoop, muted, timed, write_tasks

RATIOS = "0 0.2 0.4 0.6".split()
TRAINED = "smollm2-135m-instruct"
RANDOM = "random"


@dataclass(frozen=True)
class Kind:
    """What is compared on one kind of device."""

    model: str
    """The random one, in words."""
    dtype: str
    batch_sizes: tuple[int, ...]
    """Those that the usual loop may choose from."""
    trial_rows: int
    """How many sequences it may choose by; all on a GPU, whose memory must be enough for the longest."""
    exact: bool
    """Whether a difference is a failure; in half precision, the order of additions decides some choices."""


KINDS = {
    "cpu": Kind(
        "a random Llama of 32 million parameters, which soon loops",
        "float32",
        (1, 4, 8, 16, 32, 64),
        trial_rows=64,
        exact=True,
    ),
    "cuda": Kind(
        "Llama-3.2-1B's shape, random weights, which soon loops",
        "bfloat16",
        (1, 4, 8, 16, 32, 64, 128, 256),
        trial_rows=1 << 30,
        exact=False,
    ),
}


class OurSweep:
    """This package's engine with an empty store."""

    def __init__(self, source: ModelSource, store: Path, settings: Settings) -> None:
        """Nothing is loaded before the first turn."""
        self._source = source
        self._settings = settings
        self._engine = local_engine(Store(store), NoMeter("the clock is enough"), lambda _: None)

    def run(self, benchmark: Benchmark, ratio: Ratio) -> tuple[Turn, float]:
        """One benchmark at one ratio, and the seconds that went to models and records, not to answers."""
        arm = Arm("ppm", ratio) if ratio else DENSE
        records, seconds = timed(lambda: {task: self._record(benchmark, arm, task) for task in benchmark.tasks})
        costs = [found.cost for each in records.values() if (found := self._engine.cost(each)) is not None]
        evaluating = sum(each.seconds for each in costs)
        tokens = sum(each.positions or 0 for each in records.values())
        answers = {task: _answers(record) for task, record in records.items()}
        return Turn(evaluating, tokens, answers), seconds - evaluating

    def _record(self, benchmark: Benchmark, arm: Arm, task: str) -> Record:
        cell = Cell(self._source, arm, task, benchmark.num_fewshot, benchmark.fields, self._settings)
        return self._engine.record(cell)


def _answers(record: Record) -> Answers:
    """Those in a record."""
    texts = record.outputs if record.lengths else ()
    return Answers(
        texts=texts,
        likelihoods=() if texts else tuple(tuple(json.loads(each)) for each in record.outputs),
        marks={name: metric.values for name, metric in record.metrics.items() if name not in LIKELIHOODS},
        scores={name: metric.score for name, metric in record.metrics.items()},
        near_ties=record.near_ties,
    )


@dataclass(frozen=True)
class Comparison:
    """What is measured, and on what."""

    benchmarks: Sequence[Benchmark]
    ratios: Sequence[Ratio]
    usual: UsualLoop
    ours: OurSweep
    arms: Arms
    """What the usual loop answers with."""

    def batches(self, kind: Kind) -> dict[str, int]:
        """The usual loop's best batch size for each benchmark, on the dense model; it leaves everything imported."""
        with muted():
            self.usual.load(Ratio(0))
            self.usual.index()
        found = {}
        for each in self.benchmarks:
            found[each.name] = self.usual.best_batch(each, kind.batch_sizes, kind.trial_rows)
            say(f"{each.name}: the usual loop is fastest with batches of {found[each.name]}")
        return found

    def truncated(self) -> str:
        """How many of the requests are too long for the model, in words."""
        cut = [self.usual.truncated(each) for each in self.benchmarks]
        return (
            f"{sum(some for some, _ in cut):,} of {sum(every for _, every in cut):,} requests are cut to fit the model"
        )

    def measure(self, batches: Mapping[str, int]) -> list[Row]:
        """Every ratio and benchmark by both, in turns."""
        loading, indexing, preparing = [], [], []
        turns: dict[str, list[tuple[Turn, Turn]]] = {each.name: [] for each in self.benchmarks}
        for round_, ratio in enumerate(self.ratios):
            self.usual.unload()
            loading.append(timed(partial(self.usual.load, ratio))[1])
            if ratio:
                with muted():
                    self.usual.score(copy.deepcopy(self.arms.prepared(Arm("ppm", ratio)).model))
            indexing.append(timed(self.usual.index)[1])
            preparing.append(0.0)
            for place, each in enumerate(self.benchmarks):
                pair, other = self._both(each, ratio, batches[each.name], ours_first=(round_ + place) % 2 == 1)
                turns[each.name].append(pair)
                preparing[-1] += other
                usual, ours = (turn.seconds for turn in pair)
                say(f"ratio {show_ratio(ratio)} {each.name}: {usual:.1f} s usual, {ours:.1f} s ours")
        return [
            *(make_row(each, batches[each.name], turns[each.name]) for each in self.benchmarks),
            Row("loading and pruning", loading, preparing),
            Row(
                "lm-eval's report",
                [min(turn[0].report for turn in each) for each in zip(*turns.values(), strict=True)],
                [0.0] * len(indexing),
            ),
            Row("TaskManager", indexing, [0.0] * len(indexing)),
        ]

    def _both(self, each: Benchmark, ratio: Ratio, batch: int, *, ours_first: bool) -> tuple[tuple[Turn, Turn], float]:
        """The usual loop's turn and ours, and what ours spent besides answering."""
        if ours_first:
            mine, other = self.ours.run(each, ratio)
            return (self.usual.run(each, batch), mine), other
        turn = self.usual.run(each, batch)
        mine, other = self.ours.run(each, ratio)
        return (turn, mine), other


def say(line: str) -> None:
    """Progress."""
    sys.stderr.write(f"{line}\n")


def _ratio(text: str) -> Ratio:
    try:
        return parse_ratio(text)
    except GluPruneError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _options() -> argparse.Namespace:
    names = [each.name for each in BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--ratios", type=_ratio, nargs="+", default=[parse_ratio(each) for each in RATIOS])
    parser.add_argument("--tasks", choices=names, nargs="+", default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--scale", type=float, default=150, help="one item in so many is asked (default: 150)")
    parser.add_argument("--model", help=f"as for --glu-model, or `{RANDOM}` (default: {TRAINED} on a CPU)")
    parser.add_argument("--seed", type=int, default=0, help="draws the items (default: 0)")
    parser.add_argument("--device", choices=list(KINDS), default="cpu")
    options = parser.parse_args()
    options.ratios = list(dict.fromkeys(options.ratios))
    options.model = options.model or (TRAINED if options.device == "cpu" else RANDOM)
    if not options.scale >= 1:
        parser.error("--scale is at least 1")
    return options


def _obstacle(options: argparse.Namespace, data: Path, chosen: Sequence[Benchmark]) -> str | None:
    """Why there is nothing to compare on this machine."""
    if lacking := missing(data, chosen):
        return f"{data} lacks {lacking}: set {VARIABLE} to a folder of benchmark data"
    try:
        if options.model != RANDOM:
            locate(options.model)
    except GluPruneError as error:
        return f"{error}; or --model {RANDOM}"
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            return "--device cuda needs a GPU that torch can use; `--device cpu` is always there"
    return None


def _hush() -> None:
    """Turns off warnings and logs, which go to where the output was when their libraries were imported."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def _compare(options: argparse.Namespace, data: Path, chosen: Sequence[Benchmark], folder: Path) -> int:
    """Prepares both sides in `folder`, measures, and writes the table."""
    kind, items = KINDS[options.device], folder / "data"
    os.environ[VARIABLE], os.environ["NLTK_DATA"] = str(items), str(items / "nltk_data")
    say(f"making {kind.model}, and a tokenizer" if options.model == RANDOM else f"with {options.model}")
    with muted():
        benchmarks = scale_down(data, items, chosen, options.scale, options.seed)
        source = _model(options, data, folder / "model")
        write_tasks(folder / "tasks", items, benchmarks)
    comparison = Comparison(
        benchmarks,
        options.ratios,
        UsualLoop(source.folder, folder / "tasks", kind.dtype, options.device),
        OurSweep(source, folder / "store", Settings(kind.dtype, options.device)),
        Arms(source, Settings(kind.dtype, options.device)),
    )
    batches, cut = comparison.batches(kind), comparison.truncated()
    began, elsewhere = time.perf_counter(), busy_elsewhere()
    rows = comparison.measure(batches)
    elsewhere = (busy_elsewhere() - elsewhere) / (time.perf_counter() - began)
    last, agreement = totals(rows)
    lines = [
        *_header(options, kind, benchmarks),
        cut,
        f"meanwhile, other processes kept {max(0.0, elsewhere):.1f} CPUs busy",
    ]
    sys.stdout.write(
        "\n".join([*lines, "", HEAD, *map(str, rows), "", verdict(agreement, exact=kind.exact), *last]) + "\n"
    )
    return int(kind.exact and not agreement.holds)


def _model(options: argparse.Namespace, data: Path, folder: Path) -> ModelSource:
    """The one that was asked for; a random one is written to `folder`."""
    if options.model != RANDOM:
        return locate(options.model)
    shape = SMALL if options.device == "cpu" else LARGE
    write_model(folder, shape, KINDS[options.device].dtype, data, BENCHMARKS)
    return ModelSource(RANDOM, folder)


def _header(options: argparse.Namespace, kind: Kind, benchmarks: Sequence[Benchmark]) -> list[str]:
    """What is compared, and where."""
    versions: Mapping[str, Any] = library_versions()
    made = f"{kind.model}; {TOKENS:,} tokens, trained on the items' text"
    model = made if options.model == RANDOM else options.model
    ratios = ", ".join(map(show_ratio, options.ratios))
    subjects = [task.removeprefix("mmlu_") for each in benchmarks if each.name == "mmlu" for task in each.tasks]
    return [
        f"{model}, {kind.dtype}, on {_device(options.device)}",
        f"ratios {ratios} by ppm; one item in {options.scale:g}, drawn with seed {options.seed}"
        + (f"; MMLU: {', '.join(subjects)}" if subjects else ""),
        f"{machine()}, transformers {versions['transformers']}, lm-eval {versions['lm-eval']}",
    ]


def _device(name: str) -> str:
    import torch

    return torch.cuda.get_device_name() if name == "cuda" else name


def main() -> int:
    """Measures and writes the table."""
    options = _options()
    data = Path(os.environ.get(VARIABLE) or Path(__file__).resolve().parents[2] / "shared" / "data")
    chosen = [each for each in BENCHMARKS if each.name in options.tasks]
    if reason := _obstacle(options, data, chosen):
        say(reason)
        return 2
    _hush()
    load_oracle()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with suppress(KeyboardInterrupt), tempfile.TemporaryDirectory(prefix="glu-prune-sweep-") as folder:
        return _compare(options, data, chosen, Path(folder))
    say("interrupted")
    return 130


if __name__ == "__main__":
    sys.exit(main())
