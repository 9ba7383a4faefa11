"""What the options of `glu_prune.option_list` mean in a session."""

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import pytest

from glu_prune.errors import ReportError
from glu_prune.experiment.cell import Settings
from glu_prune.experiment.shared import folder_of, is_address
from glu_prune.models.dtypes import AUTO
from glu_prune.option_list import OPTIONS
from glu_prune.sources.judged import PUBLISHED, RUNS, named_store

if TYPE_CHECKING:
    from glu_prune.efficiency.effort import Effort
    from glu_prune.experiment.executors import Executor
    from glu_prune.progress.work import Work
    from glu_prune.report.formats.terminal import Shape

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
    for option in OPTIONS:
        group.addoption(option.name, **option.settings)


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


def shape(config: pytest.Config) -> "Shape":
    """What the terminal is to show."""
    from glu_prune.report.formats.terminal import Shape

    return Shape(config.option.verbose > 0, config.getoption("--glu-columns"), config.getoption("--glu-sort"))


def executor(config: pytest.Config, folder: Path, progress: Callable[[str], None], work: "Work") -> "Executor":
    """What runs cells: this process, which measures what that costs unless others run cells beside it; or a cluster.

    What has to lie on disk for a while is put in `folder`; `progress` is called with one line about what is being done,
    `work` is told how far a job is.

    Raises:
        NotReadyError: the cluster cannot be used.
    """
    from glu_prune.efficiency.meter import Meter, NoMeter
    from glu_prune.efficiency.tracking import CodeCarbonMeter
    from glu_prune.experiment.executors.local import LocalExecutor

    if is_worker(config):
        meter: Meter = NoMeter("not measured: cases run side by side under pytest-xdist; measure with -n 0")
    else:
        meter = CodeCarbonMeter(effort(config).grid)
    here = LocalExecutor(folder, meter, progress, work.step)
    if config.getoption("--glu-executor") == "local":
        return here
    from glu_prune.experiment.executors.on_ray import RayExecutor
    from glu_prune.experiment.executors.shares import share_of

    share = share_of(config.getoption("--glu-ray-worker"), settings(config))
    return RayExecutor(config.getoption("--glu-ray-address"), share, here, progress, work)


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
    if config.getoption("--glu-probe") is not None and not plans(config):
        msg = "--glu-probe tells how long a run takes; add --glu-plan"
        raise pytest.UsageError(msg)
    if plans(config) and (sequential or kept):
        msg = f"--glu-plan is about runs of all items; leave out {'--glu-sequential' if sequential else evidence}"
        raise pytest.UsageError(msg)
    _refuse_no_cluster(config)
    if plans(config) and (is_worker(config) or config.getoption("numprocesses", None)):
        msg = "--glu-plan runs nothing, so there is nothing to divide among workers; leave out -n"
        raise pytest.UsageError(msg)
    if config.getoption("--glu-allow-missing") and not config.getoption("--glu-compare"):
        msg = "--glu-allow-missing is about what a baseline pins; name that baseline with --glu-compare"
        raise pytest.UsageError(msg)
    if config.getoption("--glu-contract") and config.getoption("--glu-dtype") == AUTO:
        msg = "--glu-dtype auto compares data types before models are scored; with --glu-contract, name one"
        raise pytest.UsageError(msg)


def _refuse_no_cluster(config: pytest.Config) -> None:
    """Raises `pytest.UsageError` for options of a cluster without one, or that say nothing that it understands."""
    address, worker = (config.getoption(each) for each in ("--glu-ray-address", "--glu-ray-worker"))
    if config.getoption("--glu-executor") == "local":
        if address or worker:
            msg = f"--glu-ray-{'address' if address else 'worker'} is about a cluster; add --glu-executor ray"
            raise pytest.UsageError(msg)
        return
    if is_worker(config) or config.getoption("numprocesses", None):
        msg = "--glu-executor ray runs cells side by side itself; leave out -n"
        raise pytest.UsageError(msg)
    from glu_prune.experiment.executors.shares import share_of

    try:
        share_of(worker, settings(config))
    except ValueError as error:
        msg = f"--glu-ray-worker: {error}"
        raise pytest.UsageError(msg) from error


def refuse_report(config: pytest.Config) -> None:
    """Raises `pytest.UsageError`, before anything long begins, if the page that is asked for cannot be made."""
    from glu_prune.report.page.saved import refuse_page

    if (page := named(config, "--glu-report")) is None:
        return
    try:
        refuse_page(page)
    except ReportError as error:
        msg = f"--glu-report: {error}"
        raise pytest.UsageError(msg) from error


def plans(config: pytest.Config) -> bool:
    """Whether only the power of a run is asked for, and nothing is run."""
    return bool(config.getoption("--glu-plan"))


def judges_published(config: pytest.Config) -> bool:
    """Whether published figures are judged, and nothing is run."""
    return bool(config.getoption("--glu-evidence") == PUBLISHED)


def runs(config: pytest.Config) -> bool:
    """Whether what is judged is run here."""
    return bool(config.getoption("--glu-evidence") == RUNS)


def store(config: pytest.Config) -> Path:
    """The folder of records; of a store elsewhere, its copy.

    Raises:
        StoreError: the copy cannot be made.
    """
    named = str(config.getoption("--glu-store") or "")
    return folder_of(named) if is_address(named) else place(config, "--glu-store")


def pack(config: pytest.Config) -> Path | None:
    """The pack of records that is judged; None if none is.

    Raises:
        StoreError: there is none of that name.
    """
    named = str(config.getoption("--glu-evidence"))
    if named in (RUNS, PUBLISHED):
        return None
    return named_store(named, place(config, "--glu-expectations"), config.invocation_params.dir)


def selects(config: pytest.Config) -> bool:
    """Whether the command line names files or tests; what these leave out, pytest does not say."""
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return False
    return any("::" in each or each.endswith(".py") for each in config.args)
