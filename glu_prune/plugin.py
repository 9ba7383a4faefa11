"""The pytest plugin: thin hooks that translate pytest's events into calls on typed objects.

Silent unless a test asks for the fixture `glu_case`, which is then parametrized with the claims of expectation files.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from glu_prune.errors import ExpectationError, GluPruneError, ModelNotFoundError
from glu_prune.experiment.cell import Settings
from glu_prune.judgement.expectation import Case, read
from glu_prune.lab import Lab
from glu_prune.report.session import SessionReport
from glu_prune.zoo.source import locate

ROW_PROPERTY = "glu_prune_rows"
"""The user property by which a case's rows travel from worker to controller, as JSON."""

_report = pytest.StashKey[SessionReport]()
_lab = pytest.StashKey[Lab]()
_cases = pytest.StashKey[tuple[Case, ...]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """All options start with `--glu-`."""
    group = parser.getgroup("glu-prune", "what width pruning does to a language model")
    group.addoption("--glu-model", metavar="NAME", help="only the expectations about this model")
    group.addoption(
        "--glu-expectations", metavar="PATH", help="a file or folder of expectations (default: expectations/)"
    )
    group.addoption("--glu-store", metavar="DIR", help="where records are kept (default: .glu-prune/)")
    group.addoption("--glu-results", metavar="DIR", help="where tables are written (default: results/)")
    group.addoption("--glu-strict", action="store_true", help="fail cases that are unexpectedly inconclusive")
    group.addoption("--glu-device", default="cpu", metavar="DEVICE", help="torch device (default: cpu)")
    group.addoption(
        "--glu-dtype",
        default="float32",
        choices=("float32", "bfloat16", "float16"),
        help="dtype of the weights while they are evaluated (default: float32)",
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
        help="sequences at once (default: 64)",
    )


def _positive(what: str) -> Callable[[str], int]:
    """A parser of whole numbers from 1, for an option that is about `what`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < 1:
            msg = f"{what} {text!r} is not allowed; it is a whole number of at least 1"
            raise pytest.UsageError(msg)
        return int(text)

    return parse


def _path(config: pytest.Config, option: str, default: str) -> Path:
    """A path option, relative to where pytest was started; its default is relative to pytest's root."""
    chosen = config.getoption(option)
    return config.invocation_params.dir / chosen if chosen else config.rootpath / default


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def pytest_configure(config: pytest.Config) -> None:
    """Prepares an empty report; it stays silent while it is empty."""
    config.stash[_report] = SessionReport()
    if config.getoption("--glu-contract"):
        _collect_contract(config)
    if not _is_worker(config):
        config.pluginmanager.register(_Collector(config), "glu-prune-collector")


def _collect_contract(config: pytest.Config) -> None:
    """Has the contract collected: alone, or beside the places that were named."""
    named = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    config.args = [*named, str(Path(__file__).parent / "contract" / "test_contract.py")]
    try:
        locate(config.getoption("--glu-contract"))
    except GluPruneError as error:
        raise pytest.UsageError(str(error)) from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per claim and ratio, for every test that asks for `glu_case`."""
    if "glu_case" not in metafunc.fixturenames:
        return
    try:
        cases = _read_cases(metafunc.config)
    except GluPruneError as error:
        raise pytest.Collector.CollectError(str(error)) from error
    absent = pytest.mark.skip(reason="no model of the expectation files is on this machine; --glu-model NAME says more")
    params = [pytest.param(case, id=case.id) for case in cases] or [pytest.param(None, id="no_model", marks=absent)]
    metafunc.parametrize("glu_case", params)


def _read_cases(config: pytest.Config) -> tuple[Case, ...]:
    if _cases in config.stash:
        return config.stash[_cases]
    place = _path(config, "--glu-expectations", "expectations")
    files = sorted(place.glob("*.yaml")) if place.is_dir() else [place]
    if not files:
        msg = f"{place} holds no expectation files (*.yaml)"
        raise ExpectationError(msg)
    cases = [case for file in files for case in read(_relative(file, config))]
    wanted = config.getoption("--glu-model")
    if wanted is not None:
        models = dict.fromkeys(case.model for case in cases)
        cases = [case for case in cases if case.model == wanted]
        if not cases:
            msg = f"no expectation file in {place} is about model {wanted!r}; they are about: {', '.join(models)}"
            raise ExpectationError(msg)
        locate(wanted, cases[0].revision)
    config.stash[_cases] = tuple(case for case in cases if wanted is not None or _is_here(case))
    return config.stash[_cases]


def _relative(file: Path, config: pytest.Config) -> Path:
    """`file` as people would name it from where they stand."""
    here = config.invocation_params.dir
    return file.relative_to(here) if file.is_relative_to(here) else file


def _is_here(case: Case) -> bool:
    try:
        locate(case.model, case.revision)
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
        _make_lab(config).preflight(cases)
    except GluPruneError as error:
        raise pytest.UsageError(str(error)) from error


def _case(item: pytest.Item) -> Case | None:
    """The case that `item` is about, if it is about one."""
    case = getattr(getattr(item, "callspec", None), "params", {}).get("glu_case")
    return case if isinstance(case, Case) else None


def _make_lab(config: pytest.Config) -> Lab:
    """The laboratory of this session; one per process."""
    if _lab not in config.stash:
        from glu_prune.efficiency.meter import CodeCarbonMeter, Meter, NoMeter
        from glu_prune.experiment.engine import Engine
        from glu_prune.experiment.store import Store

        settings = Settings(
            dtype=config.getoption("--glu-dtype"),
            device=config.getoption("--glu-device"),
            batch_size=config.getoption("--glu-batch-size"),
        )
        meter: Meter = CodeCarbonMeter()
        if _is_worker(config):
            meter = NoMeter("not measured: cases ran side by side under pytest-xdist")
        engine = Engine(Store(_path(config, "--glu-store", ".glu-prune")), meter, _progress(config))
        config.stash[_lab] = Lab(engine, settings)
    return config.stash[_lab]


def _progress(config: pytest.Config) -> Callable[[str], None]:
    """Writes a line to the terminal, past pytest's capture; workers have no terminal."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")

    def write(line: str) -> None:
        if reporter and capture and reporter.verbosity >= 0 and not _is_worker(config):
            with capture.global_and_fixture_disabled():
                reporter.ensure_newline()
                reporter.write_line(f"  {line}")

    return write


@pytest.fixture
def glu_check(request: pytest.FixtureRequest) -> Callable[[Case], None]:
    """Judges a case; passes when the verdict is the declared one, and puts its rows into the session's tables."""
    config = request.config

    def check(case: Case) -> None:
        __tracebackhide__ = True
        try:
            judged = _make_lab(config).judge(case)
        except GluPruneError as error:
            pytest.fail(f"{case.file}:{case.line}: {error}", pytrace=False)
        request.node.user_properties.append((ROW_PROPERTY, json.dumps(judged.rows)))
        found, declared = judged.verdict.outcome, case.expectation.verdict
        if found == declared:
            return
        message = f"{case.file}:{case.line}: declared {declared}, found {judged.verdict.sentence}"
        if found == "inconclusive" and not config.getoption("--glu-strict"):
            pytest.skip(message)
        pytest.fail(message, pytrace=False)

    return check


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

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes the rows once per case, from the report that carries all properties."""
        if report.when == "teardown":
            for name, value in report.user_properties:
                if name == ROW_PROPERTY:
                    self._config.stash[_report].add(json.loads(str(value)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the tables and writes them to files, if any case was judged."""
    results = config.stash[_report]
    if not results.scores:
        return
    for heading, text in results.tables("simple"):
        terminalreporter.section(heading)
        terminalreporter.write_line(text)
    terminalreporter.write_line("")
    for note in results.notes:
        terminalreporter.write_line(note)
    for report in terminalreporter.stats.get("inconclusive", []):
        terminalreporter.write_line(f"INCONCLUSIVE {report.nodeid}: {report.longrepr[2]}")
    folder = _path(config, "--glu-results", "results")
    try:
        results.write(folder)
    except OSError as error:
        terminalreporter.write_line(f"tables were not written to {folder}: {error}", red=True)
    else:
        terminalreporter.write_line(
            f"tables: {folder}/ (scores.csv, groups.csv, efficiency.csv, report.md, report.json)"
        )
