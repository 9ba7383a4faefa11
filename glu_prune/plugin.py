"""The pytest plugin: hooks that translate pytest's events into calls on the session.

Silent unless a test asks for one of the fixtures in `FIXTURES`, which is then parametrized with the claims of
expectation files.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from glu_prune import options
from glu_prune.clean import one_line
from glu_prune.evaluation import local_data
from glu_prune.experiment.machine import see_one_gpu
from glu_prune.judgement.case import Case
from glu_prune.models.source import locate
from glu_prune.readiness.network import offline
from glu_prune.report import ci
from glu_prune.report.formats import terminal
from glu_prune.report.table import wrapped
from glu_prune.results.report import Report
from glu_prune.session import checking
from glu_prune.session.session import FIXTURES, Session
from glu_prune.traces import leave_out_lineless, told
from glu_prune.trackers import tracker

_session = pytest.StashKey[Session]()
_UNSELECTED = "glu_prune_unselected"
"""Under which a worker sends `Session.unselected`."""
_FIRST_WORKER = "gw0"
"""Counts for all workers, which have the same tests, what is to be computed."""


@contextmanager
def _one_line(kind: type[Exception]) -> Iterator[None]:
    """Turns whatever is raised inside into an error of pytest's that is shown as one line."""
    try:
        yield
    except pytest.UsageError:
        raise
    except Exception as error:
        raise kind(one_line(told(error))) from error


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Lets users implement the hooks of `glu_prune.hookspec`."""
    from glu_prune import hookspec

    pluginmanager.add_hookspecs(hookspec)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of `glu_prune.options`."""
    options.declare(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Prepares an empty session; it stays silent while it is empty."""
    options.refuse_contradictions(config)
    options.refuse_report(config)
    with _one_line(pytest.UsageError):
        config.stash[_session] = Session(config)
    if (name := config.getoption("--glu-track")) and not options.is_worker(config):
        with _one_line(pytest.UsageError):
            config.pluginmanager.register(tracker(name), f"glu-prune-{name}")
    if (data := options.named(config, "--glu-data")) is not None:
        _use_data(config, data)
    if config.getoption("--glu-offline"):
        unplugged = ExitStack()
        unplugged.enter_context(offline())
        config.add_cleanup(unplugged.close)
    if config.getoption("--glu-contract"):
        _collect_contract(config)
    if not options.is_worker(config):
        config.pluginmanager.register(_Collector(config), "glu-prune-collector")
    elif options.settings(config).device == "cuda":  # without a number: each worker has a GPU of its own
        see_one_gpu(int(config.workerinput["workerid"].removeprefix("gw")))  # type: ignore[attr-defined]


def _use_data(config: pytest.Config, folder: Path) -> None:
    """Names the data folder, for this process and those that it starts, until the session ends."""
    if not folder.is_dir():
        msg = f"--glu-data is {str(folder)!r}, which is no folder; name a folder of benchmark data"
        raise pytest.UsageError(msg)
    config.option.glu_data = str(folder)  # absolute, as workers may be elsewhere
    environment = pytest.MonkeyPatch()
    environment.setenv(local_data.VARIABLE, str(folder))
    config.add_cleanup(environment.undo)


def _collect_contract(config: pytest.Config) -> None:
    """Has the contract collected: alone, or beside the places that were named."""
    named = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    config.args = [*named, str(Path(__file__).parent / "contract" / "test_contract.py")]
    with _one_line(pytest.UsageError):
        locate(config.getoption("--glu-contract"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per claim, for every test that asks for one of the fixtures."""
    for fixture in (name for name in FIXTURES if name in metafunc.fixturenames):
        with _one_line(pytest.Collector.CollectError):
            every = metafunc.config.stash[_session].cases
        none = pytest.mark.skip(
            reason="no claim of this kind is about a model that is here; --glu-model NAME says more"
        )
        cases = [case for case in every if isinstance(case, FIXTURES[fixture])]
        params = [pytest.param(case, id=one_line(case.id)) for case in cases]
        metafunc.parametrize(fixture, params or [pytest.param(None, id="none", marks=none)])


def pytest_collection_finish(session: pytest.Session) -> None:
    """Finds what would stop the run before any model loads."""
    config = session.config
    if config.option.collectonly or options.plans(config):
        return
    with _one_line(pytest.UsageError):
        config.stash[_session].select(session.items)
        if not options.is_worker(config):
            config.stash[_session].preflight(session.items)
        elif config.workerinput["workerid"] == _FIRST_WORKER:  # type: ignore[attr-defined]
            config.stash[_session].count(session.items)


def pytest_deselected(items: list[pytest.Item]) -> None:
    """What the user leaves out is not missing."""
    if items:
        items[0].config.stash[_session].leave_out(items)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A worker tells what it was not asked for: the process that has the terminal collects nothing."""
    unselected = session.config.stash[_session].unselected
    if options.is_worker(session.config) and unselected is not None:
        session.config.workeroutput[_UNSELECTED] = sorted(unselected)  # type: ignore[attr-defined]


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Prints what the selected cases could show in place of running them, if that is asked for."""
    config = session.config
    if not options.plans(config) or config.option.collectonly or session.testsfailed:
        return None
    with _one_line(pytest.UsageError):
        said = config.stash[_session].plan(session.items)
    config.get_terminal_writer().line(f"\n{said}")
    return True


@pytest.fixture
def glu_check(request: pytest.FixtureRequest) -> Callable[[Case], None]:
    """Judges a case; passes when the verdict is the declared one, and puts what was found into the session's tables."""
    session = request.config.stash[_session]

    def check(case: Case) -> None:
        __tracebackhide__ = True
        checking.check(session, request.node, case)

    return check


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Shows a case that was skipped because it is inconclusive as what it is."""
    return ("inconclusive", "?", "INCONCLUSIVE") if checking.is_inconclusive(report) else None


class _Collector:
    """Gathers what finished cases found, on the process that has the terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._session = config.stash[_session]
        self._workers_are_checked = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logstart(self) -> Generator[None, object, object]:
        """Lets pytest write."""
        with self._session.screen.paused():
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, object, object]:
        """Takes what travelled once per case, and lets pytest write."""
        checking.take(self._session, report)
        with self._session.screen.paused():
            return (yield)

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tells a worker where to say how far it is."""
        self._session.screen.follow(node.workerinput)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """Finds what would stop the run once for all workers, which collect the same tests and wait for each other."""
        if not self._workers_are_checked:
            self._workers_are_checked = True
            with _one_line(pytest.UsageError):
                self._session.preflight_of_workers(ids)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: object) -> None:
        """Takes what a worker was not asked for."""
        told = getattr(node, "workeroutput", {})
        if _UNSELECTED in told:
            self._session.unselected = frozenset(told[_UNSELECTED])

    @pytest.hookimpl(tryfirst=True)
    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Keeps in mind that the user ended the session, as `pytest.exit` does not."""
        leave_out_lineless(excinfo.tb)  # at which pytest, whose turn is next, would fail
        self._session.screen.interrupted = excinfo.errisinstance(KeyboardInterrupt)

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Writes the tables, and pins what was measured, if it is to be; a failure is one of the session."""
        self._session.screen.close()
        if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) or session.shouldfail:
            self._session.unselected = None
        written = self._session.write()
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and not session.shouldfail:
            self._session.track()
        if not self._session.pin(exitstatus) or self._session.lacking() or not written:
            session.exitstatus = max(exitstatus, pytest.ExitCode.TESTS_FAILED)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the tables, if any case was judged, and where they are; tells CI of every case that has run."""
    session = config.stash[_session]
    report = session.report()
    if report:
        _show(report, terminalreporter, config)
    if lacking := session.lacking():
        terminalreporter.write_line(lacking, red=True)
    if idle := session.idle():
        terminalreporter.write_line(idle, yellow=True)
    for line in (*session.written.splitlines(), *session.tracked, *session.pinned.splitlines()):
        terminalreporter.write_line(wrapped(line))
    page = options.named(config, "--glu-summary")
    for line in ci.told(report, page, config.invocation_params.dir, config.rootpath):
        terminalreporter.write_line(line)
    if kept := session.screen.kept(session.store):
        terminalreporter.write_line(one_line(f"interrupted: {kept}"))


def _show(report: Report, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    shape = options.shape(config)
    encoding = getattr(terminalreporter._tw._file, "encoding", None) or "utf-8"
    for line in terminal.lines_of(report, shape):
        terminalreporter.write_line(terminal.printed(line, colour=terminalreporter.hasmarkup, encoding=encoding))
