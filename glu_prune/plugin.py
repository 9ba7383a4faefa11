"""The pytest plugin: thin hooks that translate pytest's events into calls on typed objects.

Silent unless a test asks for one of the fixtures in `FIXTURES`, which is then parametrized with the claims of
expectation files.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import MappingProxyType

import pytest

from glu_prune import options
from glu_prune.baseline.gate import PINS, Gate, failures
from glu_prune.errors import (
    BaselineError,
    ExpectationError,
    GluPruneError,
    ModelNotFoundError,
    NotMeasuredError,
    ReportError,
)
from glu_prune.evaluation import local_data
from glu_prune.judgement.claims import ANY
from glu_prune.judgement.expectation import (
    Case,
    DirectionCase,
    EfficiencyCase,
    EvidenceCase,
    TrendCase,
    cases_about,
    files,
    read,
    told_apart,
)
from glu_prune.lab import Lab, RunLab
from glu_prune.models.source import locate
from glu_prune.published import PublishedLab
from glu_prune.readiness.network import offline
from glu_prune.report import ci
from glu_prune.report.case import case_properties, case_row, ended, verdict_properties
from glu_prune.report.clean import one_line
from glu_prune.report.rows import Rows, plain
from glu_prune.report.session import SessionReport, extended

FIXTURES: Mapping[str, type[Case]] = {
    "glu_case": DirectionCase,
    "glu_trend": TrendCase,
    "glu_efficiency": EfficiencyCase,
    "glu_evidence": EvidenceCase,
}
"""The argument of a test to the kind of claim that it is called with."""
_ABOUT_RUNS = (DirectionCase, TrendCase, EfficiencyCase)
"""Kinds of claim that runs can be judged by."""

ROW_PROPERTY = "glu_prune_rows"
"""The user property by which a case's rows travel from worker to controller, as JSON."""
CASE_PROPERTY = "glu_prune_case"
"""The user property by which it travels which case it was, as JSON."""

_report = pytest.StashKey[SessionReport]()
_lab = pytest.StashKey[Lab]()
_cases = pytest.StashKey[tuple[Case, ...]]()
_gate = pytest.StashKey[Gate]()
_pinned = pytest.StashKey[str]()


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    """Lets users implement the hooks of `glu_prune.hookspec`."""
    from glu_prune import hookspec

    pluginmanager.add_hookspecs(hookspec)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of `glu_prune.options`."""
    options.declare(parser)


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Prepares an empty report; it stays silent while it is empty."""
    if config.getoption("--glu-sequential") and options.judges_published(config):
        msg = "--glu-sequential stops runs early; with --glu-evidence published nothing is run"
        raise pytest.UsageError(msg)
    if config.getoption("--glu-sequential") and config.getoption("--glu-limit"):
        msg = "--glu-sequential and --glu-limit both say how many items are asked; give one of them"
        raise pytest.UsageError(msg)
    config.stash[_report] = SessionReport()
    config.stash[_gate] = _make_gate(config)
    config.stash[_pinned] = ""
    if (data := options.named(config, "--glu-data")) is not None:
        _use_data(config, data)
    if config.getoption("--glu-offline"):
        unplugged = ExitStack()
        unplugged.enter_context(offline())
        config.add_cleanup(unplugged.close)
    if config.getoption("--glu-contract"):
        _collect_contract(config)
    if not _is_worker(config):
        config.pluginmanager.register(_Collector(config), "glu-prune-collector")


def _make_gate(config: pytest.Config) -> Gate:
    """What this session does about baselines."""
    names = [config.getoption(each) for each in ("--glu-compare", "--glu-save-baseline")]
    if any(names) and (config.getoption("--glu-sequential") or options.judges_published(config)):
        msg = "baselines are of all items of runs; leave out --glu-sequential and --glu-evidence published"
        raise pytest.UsageError(msg)
    try:
        gate = Gate(options.place(config, "--glu-baselines"), *names)
        if config.getoption("--glu-strict"):
            gate.refuse_missing()
        _ = gate.baseline
    except GluPruneError as error:
        raise pytest.UsageError(str(error)) from error
    return gate


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
    try:
        locate(config.getoption("--glu-contract"))
    except GluPruneError as error:
        raise pytest.UsageError(one_line(str(error))) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per claim, for every test that asks for one of the fixtures."""
    for fixture in (name for name in FIXTURES if name in metafunc.fixturenames):
        try:
            cases = [case for case in _read_cases(metafunc.config) if isinstance(case, FIXTURES[fixture])]
        except GluPruneError as error:
            raise pytest.Collector.CollectError(one_line(str(error))) from error
        none = pytest.mark.skip(
            reason="no claim of this kind is about a model that is here; --glu-model NAME says more"
        )
        params = [pytest.param(case, id=one_line(case.id)) for case in cases] or [
            pytest.param(None, id="none", marks=none)
        ]
        metafunc.parametrize(fixture, params)


def _read_cases(config: pytest.Config) -> tuple[Case, ...]:
    if _cases in config.stash:
        return config.stash[_cases]
    place = options.place(config, "--glu-expectations")
    cases = told_apart([case for file in files(place) for case in read(options.relative(config, file))])
    wanted = config.getoption("--glu-model")
    if wanted is not None:
        models = dict.fromkeys(case.experiment.model for case in cases)
        cases = cases_about(cases, wanted)
        if not cases:
            msg = f"no expectation file in {place} is about model {wanted!r}; they are about: {', '.join(models)}"
            raise ExpectationError(msg)
    chosen = _published(place, cases) if options.judges_published(config) else _runnable(cases, wanted)
    if options.judges_published(config):
        _make_lab(config).preflight(chosen)
    config.stash[_cases] = tuple(chosen)
    return config.stash[_cases]


def _published(place: Path, cases: Sequence[Case]) -> list[Case]:
    """Cases about which figures have been published."""
    found = [case for case in cases if case.experiment.evidence is not None]
    if not found:
        models = ", ".join(dict.fromkeys(case.experiment.model for case in cases))
        msg = f"no expectation file in {place} about {models} names published figures; give it `evidence: FOLDER`"
        raise ExpectationError(msg)
    return found


def _runnable(cases: Sequence[Case], wanted: str | None) -> list[Case]:
    """Cases that can be run; those of a model that is `wanted` by name, else of models that are here.

    Raises:
        ModelNotFoundError: the wanted model is not here.
    """
    if wanted is not None:
        locate(wanted, cases[0].experiment.revision)
    return [case for case in cases if isinstance(case, _ABOUT_RUNS) and (wanted is not None or _is_here(case))]


def _is_here(case: Case) -> bool:
    """Whether the model is on this machine; one that a file names by a variable, or not at all, must be asked for."""
    if "$" in case.experiment.model or case.experiment.model == ANY:
        return False
    try:
        locate(case.experiment.model, case.experiment.revision)
    except ModelNotFoundError:
        return False
    return True


def pytest_collection_finish(session: pytest.Session) -> None:
    """Finds what would stop the run before any model loads."""
    config = session.config
    cases = [case for item in session.items if (case := _case(item)) is not None]
    if not cases or config.option.collectonly or _is_worker(config):
        return
    try:
        if to_run := _make_lab(config).preflight(cases):
            from glu_prune.readiness.obstacles import refuse_obstacles

            refuse_obstacles(to_run, options.settings(config))
    except GluPruneError as error:
        raise pytest.UsageError(one_line(str(error))) from error


def _case(item: pytest.Item) -> Case | None:
    """The case that `item` is about, if it is about one."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return next((params[name] for name in FIXTURES if isinstance(params.get(name), Case)), None)


def _make_lab(config: pytest.Config) -> Lab:
    """The laboratory of this session; one per process."""
    if _lab in config.stash:
        return config.stash[_lab]
    if options.judges_published(config):
        config.stash[_lab] = PublishedLab()
    else:
        from glu_prune.efficiency.meter import Meter, NoMeter
        from glu_prune.efficiency.tracking import CodeCarbonMeter
        from glu_prune.experiment.engine import Engine
        from glu_prune.experiment.store import Store

        effort = options.effort(config)
        if _is_worker(config):
            meter: Meter = NoMeter("not measured: cases run side by side under pytest-xdist; measure with -n 0")
        else:
            meter = CodeCarbonMeter(effort.grid)
        engine = Engine(Store(options.place(config, "--glu-store")), meter, _progress(config))
        items = {"sequential": config.getoption("--glu-sequential"), "limit": config.getoption("--glu-limit")}
        config.stash[_lab] = RunLab(engine, options.settings(config), effort, **items, gate=config.stash[_gate])
    return config.stash[_lab]


def _progress(config: pytest.Config) -> Callable[[str], None]:
    """Writes a line to the terminal, past pytest's capture; workers have no terminal."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")

    def write(line: str) -> None:
        if reporter and capture and reporter.verbosity >= 0 and not _is_worker(config):
            with capture.global_and_fixture_disabled():
                reporter.ensure_newline()
                reporter.write_line(f"  {one_line(line)}")

    return write


@pytest.fixture
def glu_check(request: pytest.FixtureRequest) -> Callable[[Case], None]:
    """Judges a case; passes when the verdict is the declared one, and puts its rows into the session's tables."""
    config = request.config

    def check(case: Case) -> None:
        __tracebackhide__ = True
        told, about = request.node.user_properties, case_row(case)
        told.extend([(CASE_PROPERTY, json.dumps(about)), *case_properties(about)])
        try:
            judged = _make_lab(config).judge(case)
        except GluPruneError as error:
            message, skips = one_line(f"{case.where}: {error}"), isinstance(error, NotMeasuredError)
            if skips and not config.getoption("--glu-strict"):
                raise pytest.skip.Exception(message) from None
            raise pytest.fail.Exception(message, pytrace=False) from None
        rows = _with_columns(request.node, plain(judged.rows))
        told.extend([(ROW_PROPERTY, json.dumps(rows, allow_nan=False)), *verdict_properties(judged.outcome, rows)])
        found, declared, strict = judged.outcome, case.declared, config.getoption("--glu-strict")
        worse = failures(rows, strict=strict)
        other = "" if found == declared else f"declared {declared}, found {judged.sentence}"
        if not (worse or other):
            return
        message = one_line(f"{case.where}: {'; '.join(filter(None, (worse, other)))}")
        if found == "inconclusive" and not (worse or strict):
            pytest.skip(message)
        pytest.fail(message, pytrace=False)

    return check


def _with_columns(node: pytest.Item, rows: Rows) -> Rows:
    """`rows` with the columns that users add to them; fails the case where these cannot be shown."""
    __tracebackhide__ = True
    hook = node.ihook.pytest_glu_columns
    try:
        return extended(rows, lambda table, row: reversed(hook(table=table, row=MappingProxyType(row))))
    except ReportError as error:
        codes = [each.function.__code__ for each in hook.get_hookimpls()]
        places = ", ".join(f"{code.co_filename}:{code.co_firstlineno}" for code in codes)
        pytest.fail(f"{places}: pytest_glu_columns {error}", pytrace=False)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Shows a case that was skipped because it is inconclusive as what it is."""
    if report.when == "call" and report.skipped and any(name == ROW_PROPERTY for name, _ in report.user_properties):
        return "inconclusive", "?", "INCONCLUSIVE"
    return None


class _Collector:
    """Gathers the rows of finished cases on the process that has the terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes what travelled once per case; other reporters, such as JUnit's, are left what people can read."""
        found = {name: str(value) for name, value in report.user_properties if name in (ROW_PROPERTY, CASE_PROPERTY)}
        results = self._config.stash[_report]
        if report.when == "call" and CASE_PROPERTY in found:
            case, said = json.loads(found[CASE_PROPERTY]), one_line(_said(report))
            results.add({"cases": [ended(case, report.outcome, said, judged=ROW_PROPERTY in found)]})
        if report.when == "teardown":
            if ROW_PROPERTY in found:
                results.add(json.loads(found[ROW_PROPERTY]))
            report.user_properties = [each for each in report.user_properties if each[0] not in found]

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Pins what was measured, if it is to be; that it cannot be is a failure of the session."""
        gate = self._config.stash[_gate]
        if not gate.pins or exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED or self._config.option.collectonly:
            return
        try:
            said = _pin(self._config, gate, exitstatus)
        except GluPruneError as error:
            said = f"baseline {gate.pins} was not pinned: {error}"
            session.exitstatus = max(exitstatus, pytest.ExitCode.TESTS_FAILED)
        self._config.stash[_pinned] = one_line(said)


def _pin(config: pytest.Config, gate: Gate, exitstatus: int) -> str:
    """Pins what was measured, unless the session was broken off; a line about that."""
    from glu_prune.experiment.store import Store

    if exitstatus not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        msg = "the session did not come to its end"
        raise BaselineError(msg)
    return gate.pin(Store(options.place(config, "--glu-store")), config.stash[_report].rows(PINS))


def _said(report: pytest.TestReport) -> str:
    """Why a case did not pass, without the traceback if there is one."""
    if report.skipped and not isinstance(report.longrepr, str) and isinstance(report.longrepr, Sequence):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longreprtext)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the tables and writes them to files, if any case was judged; tells CI of every case that has run."""
    results = config.stash[_report]
    if results:
        _show(results, terminalreporter, config)
    if pinned := config.stash[_pinned]:
        terminalreporter.write_line(pinned)
    page = options.named(config, "--glu-summary")
    for line in ci.told(results, page, config.invocation_params.dir, config.rootpath):
        terminalreporter.write_line(line)


def _show(results: SessionReport, terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    for heading, text in results.tables("simple", long=config.option.verbose > 0):
        terminalreporter.section(heading)
        terminalreporter.write_line(text)
    if config.option.verbose > 0:
        terminalreporter.section("verdicts")
        for sentence in results.sentences:
            terminalreporter.write_line(sentence)
    terminalreporter.write_line("")
    for note in results.notes:
        terminalreporter.write_line(note)
    for report in terminalreporter.stats.get("inconclusive", []):
        terminalreporter.write_line(one_line(f"INCONCLUSIVE {report.nodeid}: {report.longrepr[2]}"))
    folder = options.place(config, "--glu-results")
    try:
        names = results.write(folder)
    except OSError as error:
        terminalreporter.write_line(one_line(f"tables were not written to {folder}: {error}"), red=True)
    else:
        terminalreporter.write_line(one_line(f"tables: {folder}/ ({', '.join(names)})"))
