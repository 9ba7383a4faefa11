"""The options of the plugin: what they are called, and what they mean in a session."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import local_data
from glu_prune.evaluation.backend import Backend
from glu_prune.experiment.cell import Settings
from glu_prune.report import github
from glu_prune.report.clean import one_line
from glu_prune.units import whole

if TYPE_CHECKING:
    from glu_prune.efficiency.benchmark import Effort

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
    group.addoption("--glu-model", metavar="NAME", help="only the expectations about this model")
    group.addoption(
        "--glu-expectations", metavar="PATH", help="a file or folder of expectations (default: expectations/)"
    )
    group.addoption(
        "--glu-evidence",
        choices=("runs", "published"),
        default="runs",
        help="judge what is run here (default), or the figures that an expectation file names as published",
    )
    group.addoption("--glu-store", metavar="DIR", help="where records are kept (default: .glu-prune/)")
    group.addoption("--glu-save-baseline", metavar="NAME", help="pin what this session measures as a baseline")
    group.addoption("--glu-compare", metavar="NAME", help="fail cases of which an arm does worse than in this baseline")
    group.addoption("--glu-baselines", metavar="DIR", help="where baselines are (default: baselines/)")
    group.addoption("--glu-results", metavar="DIR", help="where tables are written (default: results/)")
    group.addoption(
        "--glu-summary",
        metavar="PATH",
        help=f"where a page of Markdown about the session is written (default: at the end of the file that "
        f"{github.SUMMARY} names, if it is set)",
    )
    group.addoption(
        "--glu-data",
        metavar="DIR",
        help=f"a folder of benchmark data (default: the one that {local_data.VARIABLE} names)",
    )
    group.addoption(
        "--glu-offline", action="store_true", help="open no connection, whatever libraries would like to; see doctor"
    )
    group.addoption("--glu-strict", action="store_true", help="fail cases that are unexpectedly inconclusive")
    group.addoption(
        "--glu-sequential",
        action="store_true",
        help="answer items part by part until a claim about a direction is decided, by tests that hold at every look "
        "(default: answer all)",
    )
    group.addoption(
        "--glu-limit",
        type=_positive("number of items"),
        metavar="N",
        help="a quick look at N items of each task, drawn once (default: all)",
    )
    group.addoption("--glu-device", default="cpu", metavar="DEVICE", help="torch device (default: cpu)")
    group.addoption(
        "--glu-dtype",
        default="float32",
        choices=("float32", "bfloat16", "float16"),
        help="dtype of the weights while they are evaluated (default: float32)",
    )
    group.addoption(
        "--glu-device-map",
        default="",
        choices=("auto", "balanced", "balanced_low_0", "sequential"),
        help="how accelerate spreads models over several devices (default: all on one)",
    )
    group.addoption(
        "--glu-attention",
        default="",
        metavar="NAME",
        help="implementation of attention, such as sdpa or eager (default: what transformers chooses)",
    )
    group.addoption("--glu-contract", metavar="MODEL", help="check every property of pruning on this model")
    group.addoption(
        "--glu-contract-examples",
        type=_positive("number of examples"),
        default=25,
        metavar="N",
        help="examples per property (default: 25)",
    )
    group.addoption(
        "--glu-batch-size",
        type=_positive("batch size"),
        default=64,
        metavar="N",
        help="sequences at once in evaluations (default: 64)",
    )
    group.addoption(
        "--glu-backend",
        type=_backend,
        metavar="NAME[,key=value,...]",
        help="which of lm-eval's models answers, such as vllm or hf, and arguments for it (default: none of them; "
        "this project's own scoring)",
    )
    group.addoption(
        "--glu-rounds",
        type=_positive("number of rounds"),
        default=8,
        metavar="N",
        help="turns of every arm when costs are measured (default: 8)",
    )
    group.addoption(
        "--glu-processes",
        type=_positive("number of processes"),
        default=4,
        metavar="N",
        help="fresh processes per arm and workload in which memory is measured (default: 4)",
    )
    group.addoption(
        "--glu-window",
        type=_seconds,
        metavar="SECONDS",
        help="least length of a window when costs are measured (default: what the energy counters here need)",
    )
    group.addoption(
        "--glu-grid", default="USA", metavar="ISO3", help="country whose CO2 per kWh is assumed (default: USA)"
    )


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
    from glu_prune.efficiency.benchmark import Effort

    return Effort(*map(config.getoption, ("--glu-rounds", "--glu-window", "--glu-processes", "--glu-grid")))


def refuse_contradictions(config: pytest.Config) -> None:
    """Raises `pytest.UsageError` for options that cannot be meant together."""
    sequential, published = config.getoption("--glu-sequential"), judges_published(config)
    if sequential and published:
        msg = "--glu-sequential stops runs early; with --glu-evidence published nothing is run"
        raise pytest.UsageError(msg)
    if sequential and config.getoption("--glu-limit"):
        msg = "--glu-sequential and --glu-limit both say how many items are asked; give one of them"
        raise pytest.UsageError(msg)
    baselines = any(config.getoption(each) for each in ("--glu-compare", "--glu-save-baseline"))
    if baselines and (sequential or published):
        msg = "baselines are of all items of runs; leave out --glu-sequential and --glu-evidence published"
        raise pytest.UsageError(msg)


def judges_published(config: pytest.Config) -> bool:
    """Whether published figures are judged, and nothing is run."""
    return bool(config.getoption("--glu-evidence") == "published")


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


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = float("nan")
    if not 0.1 <= seconds <= 3600:
        msg = f"window {text!r} is not allowed; it is a number of seconds from 0.1 to 3600"
        raise pytest.UsageError(msg)
    return seconds
