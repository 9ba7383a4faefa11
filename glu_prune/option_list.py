"""The options of the plugin: what they are called, what may be given, and what help says of them."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from glu_prune.clean import one_line
from glu_prune.errors import EvaluationError
from glu_prune.evaluation import local_data
from glu_prune.evaluation.backend import Backend
from glu_prune.models.dtypes import AUTO, EXACT, HALF
from glu_prune.report import github
from glu_prune.report.lines import CONTROLS, DEFAULT, NAMES
from glu_prune.sources.judged import RUNS
from glu_prune.units import fraction, whole


@dataclass(frozen=True)
class Option:
    """One option: its name, and what argparse is told of it."""

    name: str
    settings: Mapping[str, Any]


def _option(name: str, help_text: str, **settings: Any) -> Option:
    return Option(name, {"help": help_text, **settings})


def _number(name: str, what: str, help_text: str, default: int | None = None) -> Option:
    return _option(name, help_text, type=_positive(what), default=default, metavar="N")


def _positive(what: str) -> Callable[[str], int]:
    """A parser of whole numbers from 1, for an option that is about `what`."""

    def parse(text: str) -> int:
        if (number := whole(text)) is None or number < 1:
            msg = f"{what} {text!r} is not allowed; it is a whole number of at least 1"
            raise pytest.UsageError(msg)
        return number

    return parse


def _backend(text: str) -> str:
    try:
        Backend.parse(text)
    except EvaluationError as error:
        raise pytest.UsageError(one_line(str(error))) from error
    return text


def _columns(text: str) -> tuple[str, ...]:
    names = tuple(each.strip() for each in text.split(","))
    for name in names:
        _refuse_column("--glu-columns", name, NAMES)
    return names


def _sort(text: str) -> str:
    if text:
        _refuse_column("--glu-sort", text.removeprefix("-"), [name for name in NAMES if name != CONTROLS])
    return text


def _refuse_column(option: str, name: str, allowed: Sequence[str]) -> None:
    if name not in allowed:
        close = difflib.get_close_matches(name, allowed, 1)
        meant = f"; did you mean {close[0]!r}?" if close else ";"
        msg = f"{option}: there is no column {name!r}{meant} there are: {', '.join(allowed)}"
        raise pytest.UsageError(msg)


def _share(text: str) -> float:
    if (share := fraction(text)) is None:
        msg = f"share {text!r} is not allowed; it is a share of items from 0 to 1, such as 0.2"
        raise pytest.UsageError(msg)
    return share


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not 0.1 <= seconds <= 3600:
        msg = f"window {text!r} is not allowed; it is a number of seconds from 0.1 to 3600"
        raise pytest.UsageError(msg)
    return seconds


_DATA_OPTIONS = (
    _option("--glu-model", "only the expectations about this model", metavar="NAME"),
    _option("--glu-expectations", "a file or folder of expectations (default: expectations/)", metavar="PATH"),
    _option("--glu-store", "where records are kept (default: .glu-prune/); also s3://BUCKET/NAME", metavar="DIR"),
    _option("--glu-baselines", "where baselines are (default: baselines/)", metavar="DIR"),
    _option("--glu-results", "where tables are written (default: results/)", metavar="DIR"),
    _option(
        "--glu-summary",
        f"where a page of Markdown about the session is written (default: at the end of the file that "
        f"{github.SUMMARY} names, if it is set)",
        metavar="PATH",
    ),
    _option(
        "--glu-report",
        "write a page with every verdict, figure and table to this file, *.html (pip install 'glu-prune[report]')",
        metavar="PATH",
    ),
    _option(
        "--glu-track",
        "log what is found as a run of this experiment tracker, too (pip install 'glu-prune[mlflow]', or [trackio])",
        choices=("mlflow", "trackio"),
    ),
    _option(
        "--glu-data", f"a folder of benchmark data (default: the one that {local_data.VARIABLE} names)", metavar="DIR"
    ),
    _option("--glu-offline", "open no connection, whatever libraries would like to; see doctor", action="store_true"),
)
"""What is asked for, and where things are."""

_JUDGING_OPTIONS = (
    _option(
        "--glu-evidence",
        "judge what is run here (default: runs), the figures that expectation files name as published, or what was run "
        "elsewhere: a folder of `glu-prune store pack`, or its name in evidence/ beside the expectation files",
        default=RUNS,
        metavar="runs|published|NAME",
    ),
    _option("--glu-save-baseline", "pin what this session measures as a baseline", metavar="NAME"),
    _option("--glu-compare", "fail cases of which an arm does worse than in this baseline", metavar="NAME"),
    _option(
        "--glu-allow-missing",
        "with --glu-compare: what is pinned of this model, arm, capability or task may be missing (repeatable)",
        action="append",
        default=[],
        metavar="NAME",
    ),
    _option("--glu-strict", "fail cases that are unexpectedly inconclusive", action="store_true"),
    _option(
        "--glu-sequential",
        "answer items part by part until a claim about a direction is decided, by tests that hold at every look "
        "(default: answer all)",
        action="store_true",
    ),
    _option(
        "--glu-plan",
        "run nothing; print the smallest effect that this run would find of each claim, and whether it can answer it",
        action="store_true",
    ),
    _option(
        "--glu-probe",
        "with --glu-plan: load each model and answer each task of which the store has no arm for so many seconds, to "
        "tell how long a run takes",
        type=_seconds,
        metavar="SECONDS",
    ),
    _option(
        "--glu-changed",
        "with --glu-plan: share of right-or-wrong items assumed to change, where no record tells (default: 0.2)",
        type=_share,
        default=0.2,
        metavar="SHARE",
    ),
    _number("--glu-limit", "number of items", "a quick look at N items of each task, drawn once (default: all)"),
    _option("--glu-contract", "check every property of pruning on this model", metavar="MODEL"),
    _number("--glu-contract-examples", "number of examples", "examples per property (default: 25)", 25),
)
"""What is judged, and when a case fails."""

_SCREEN_OPTIONS = (
    _option(
        "--glu-columns",
        f"columns of the lines in the terminal, separated by commas, of: {', '.join(NAMES)}",
        type=_columns,
        default=DEFAULT,
        metavar="NAME,...",
    ),
    _option(
        "--glu-sort",
        "order the lines in the terminal by this column, with - before it from the largest down (default: what failed, "
        "what surprises, what held)",
        type=_sort,
        default="",
        metavar="[-]NAME",
    ),
)
"""What the terminal shows."""

_MODEL_OPTIONS = (
    _option("--glu-device", "torch device (default: cpu)", default="cpu", metavar="DEVICE"),
    _option(
        "--glu-dtype",
        "dtype of the weights while they are evaluated (default: float32); auto: the fastest on this processor in "
        "which the model says what it says in float32",
        default=EXACT,
        choices=(AUTO, EXACT, *HALF),
    ),
    _option(
        "--glu-device-map",
        "how accelerate spreads models over several devices (default: all on one)",
        default="",
        choices=("auto", "balanced", "balanced_low_0", "sequential"),
    ),
    _option(
        "--glu-attention",
        "implementation of attention, such as sdpa or eager (default: what transformers chooses)",
        default="",
        metavar="NAME",
    ),
    _number("--glu-batch-size", "batch size", "sequences at once in evaluations (default: 64)", 64),
    _option(
        "--glu-backend",
        "which of lm-eval's models answers, such as vllm or hf, and arguments for it (default: none of them; "
        "this project's own scoring)",
        type=_backend,
        metavar="NAME[,key=value,...]",
    ),
)
"""How models are run."""

_EXECUTOR_OPTIONS = (
    _option(
        "--glu-executor",
        "what runs cells: this process (local), or a Ray cluster (pip install 'glu-prune[ray]'; default: local)",
        default="local",
        choices=("local", "ray"),
    ),
    _option(
        "--glu-ray-address",
        "the cluster, such as auto or ray://HOST:10001 (default: one on this machine, as long as the session lasts)",
        default="",
        metavar="ADDRESS",
    ),
    _option(
        "--glu-ray-worker",
        "what of a machine each worker takes (default: cpus=1, or gpus=1 where models run on one)",
        default="",
        metavar="cpus=N,gpus=N,memory=BYTES,accelerator=NAME",
    ),
)
"""Where cells are run."""

_COST_OPTIONS = (
    _number("--glu-rounds", "number of rounds", "turns of every arm when costs are measured (default: 8)", 8),
    _number(
        "--glu-processes",
        "number of processes",
        "fresh processes per arm and workload in which memory is measured (default: 4)",
        4,
    ),
    _option(
        "--glu-window",
        "least length of a window when costs are measured (default: what the energy counters here need)",
        type=_seconds,
        metavar="SECONDS",
    ),
    _option("--glu-grid", "country whose CO2 per kWh is assumed (default: USA)", default="USA", metavar="ISO3"),
)
"""How costs are measured."""

OPTIONS = (*_DATA_OPTIONS, *_JUDGING_OPTIONS, *_SCREEN_OPTIONS, *_MODEL_OPTIONS, *_EXECUTOR_OPTIONS, *_COST_OPTIONS)
"""All of them, in the order in which help shows them."""
