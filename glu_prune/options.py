"""The options of the plugin: what they are called, and what they mean in a session."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

from glu_prune.clean import one_line
from glu_prune.errors import EvaluationError, StoreError
from glu_prune.evaluation import local_data
from glu_prune.evaluation.backend import Backend
from glu_prune.experiment.cell import Settings
from glu_prune.models.dtypes import AUTO, EXACT, HALF
from glu_prune.report import github
from glu_prune.units import fraction, whole

if TYPE_CHECKING:
    from glu_prune.efficiency.effort import Effort
    from glu_prune.experiment.executors import Executor
    from glu_prune.progress.work import Step

RUNS, PUBLISHED = "runs", "published"
"""What is judged, where it is no pack."""

_PLACES = MappingProxyType(
    {
        "--glu-expectations": "expectations",
        "--glu-store": ".glu-prune",
        "--glu-baselines": "baselines",
        "--glu-results": "results",
    }
)
"""The options that name a place, to where it is by default."""


def declare(parser: pytest.Parser) -> None:
    """Adds the options to pytest's; all start with `--glu-`."""
    group = parser.getgroup("glu-prune", "what width pruning does to a language model")
    for part in (_DATA_OPTIONS, _JUDGING_OPTIONS, _MODEL_OPTIONS, _COST_OPTIONS):
        for option in part:
            group.addoption(option.name, **option.settings)


@dataclass(frozen=True)
class _Option:
    """One option: its name, and what argparse is told of it."""

    name: str
    settings: Mapping[str, Any]


def _option(name: str, help_text: str, **settings: Any) -> _Option:
    return _Option(name, {"help": help_text, **settings})


def _number(name: str, what: str, help_text: str, default: int | None = None) -> _Option:
    return _option(name, help_text, type=_positive(what), default=default, metavar="N")


def named(config: pytest.Config, option: str) -> Path | None:
    """The path that an option names, relative to where pytest was started; None where it is not given."""
    chosen = config.getoption(option)
    return config.invocation_params.dir / str(chosen) if chosen else None


def place(config: pytest.Config, option: str) -> Path:
    """The path that an option names, or its default, relative to pytest's root if that is known.

    Without a configuration file pytest guesses: what lies above every folder on the command line, a model's included.
    """
    if (chosen := named(config, option)) is not None:
        return chosen
    known = config.inipath is not None or config.option.rootdir is not None
    return (config.rootpath if known else config.invocation_params.dir) / _PLACES[option]


def relative(config: pytest.Config, file: Path) -> Path:
    """`file` as people would name it from where they stand."""
    here = config.invocation_params.dir
    return file.relative_to(here) if file.is_relative_to(here) else file


def settings(config: pytest.Config) -> Settings:
    """How models are to be run."""
    return Settings(
        dtype=config.getoption("--glu-dtype"),
        device=config.getoption("--glu-device"),
        batch_size=config.getoption("--glu-batch-size"),
        backend=config.getoption("--glu-backend") or "",
        attention=config.getoption("--glu-attention"),
        device_map=config.getoption("--glu-device-map"),
    )


def effort(config: pytest.Config) -> "Effort":
    """How long and how often costs are to be measured."""
    from glu_prune.efficiency.effort import Effort

    return Effort(*map(config.getoption, ("--glu-rounds", "--glu-window", "--glu-processes", "--glu-grid")))


def executor(config: pytest.Config, folder: Path, progress: Callable[[str], None], step: "Step") -> "Executor":
    """What runs cells: this process, which measures what that costs unless others run cells beside it.

    What has to lie on disk for a while is put in `folder`; `progress` is called with one line about what is being done,
    `step` with how far a job is.
    """
    from glu_prune.efficiency.meter import Meter, NoMeter
    from glu_prune.efficiency.tracking import CodeCarbonMeter
    from glu_prune.experiment.executors.local import LocalExecutor

    if is_worker(config):
        meter: Meter = NoMeter("not measured: cases run side by side under pytest-xdist; measure with -n 0")
    else:
        meter = CodeCarbonMeter(effort(config).grid)
    return LocalExecutor(folder, meter, progress, step)


def is_worker(config: pytest.Config) -> bool:
    """Whether this process runs tests for another, which has the terminal."""
    return hasattr(config, "workerinput")


def refuse_contradictions(config: pytest.Config) -> None:
    """Raises `pytest.UsageError` for options that cannot be meant together."""
    sequential, kept = config.getoption("--glu-sequential"), not runs(config)
    evidence = f"--glu-evidence {config.getoption('--glu-evidence')}"
    baselines = any(config.getoption(each) for each in ("--glu-compare", "--glu-save-baseline"))
    if baselines and (sequential or kept or plans(config)):
        msg = "baselines are of all items of runs; leave out --glu-sequential, --glu-evidence and --glu-plan"
        raise pytest.UsageError(msg)
    for name, does in (("--glu-sequential", "stops runs early"), ("--glu-limit", "asks fewer items")):
        if config.getoption(name) and kept:
            msg = f"{name} {does}; with {evidence} nothing is run"
            raise pytest.UsageError(msg)
    if sequential and config.getoption("--glu-limit"):
        msg = "--glu-sequential and --glu-limit both say how many items are asked; give one of them"
        raise pytest.UsageError(msg)
    if plans(config) and (sequential or kept):
        msg = f"--glu-plan is about runs of all items; leave out {'--glu-sequential' if sequential else evidence}"
        raise pytest.UsageError(msg)
    if plans(config) and (is_worker(config) or config.getoption("numprocesses", None)):
        msg = "--glu-plan runs nothing, so there is nothing to divide among workers; leave out -n"
        raise pytest.UsageError(msg)
    if config.getoption("--glu-allow-missing") and not config.getoption("--glu-compare"):
        msg = "--glu-allow-missing is about what a baseline pins; name that baseline with --glu-compare"
        raise pytest.UsageError(msg)
    if config.getoption("--glu-contract") and config.getoption("--glu-dtype") == AUTO:
        msg = "--glu-dtype auto compares data types before models are scored; with --glu-contract, name one"
        raise pytest.UsageError(msg)


def plans(config: pytest.Config) -> bool:
    """Whether only the power of a run is asked for, and nothing is run."""
    return bool(config.getoption("--glu-plan"))


def judges_published(config: pytest.Config) -> bool:
    """Whether published figures are judged, and nothing is run."""
    return bool(config.getoption("--glu-evidence") == PUBLISHED)


def runs(config: pytest.Config) -> bool:
    """Whether what is judged is run here."""
    return bool(config.getoption("--glu-evidence") == RUNS)


def pack(config: pytest.Config) -> Path | None:
    """The pack of records that is judged; None if none is.

    Raises:
        StoreError: there is none of that name.
    """
    from glu_prune.experiment.marker import MARKER

    named = str(config.getoption("--glu-evidence"))
    if named in (RUNS, PUBLISHED):
        return None
    expectations = place(config, "--glu-expectations")
    beside = (expectations if expectations.is_dir() else expectations.parent) / "evidence"
    for folder in (beside / named, config.invocation_params.dir / named):
        if (folder / MARKER).is_file():
            return folder
    known = ", ".join(sorted(each.parent.name for each in beside.glob(f"*/{MARKER}")))
    msg = (
        f"--glu-evidence {named!r} is neither {RUNS}, {PUBLISHED}, a pack in {beside} (there: {known or 'none'}), nor "
        "a folder of `glu-prune store pack`"
    )
    raise StoreError(msg)


def selects(config: pytest.Config) -> bool:
    """Whether the command line names files or tests; what these leave out, pytest does not say."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return False
    return any("::" in each or each.endswith(".py") for each in config.args)


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
    _option("--glu-store", "where records are kept (default: .glu-prune/)", metavar="DIR"),
    _option("--glu-baselines", "where baselines are (default: baselines/)", metavar="DIR"),
    _option("--glu-results", "where tables are written (default: results/)", metavar="DIR"),
    _option(
        "--glu-summary",
        f"where a page of Markdown about the session is written (default: at the end of the file that "
        f"{github.SUMMARY} names, if it is set)",
        metavar="PATH",
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
