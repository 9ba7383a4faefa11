"""The state of one pytest session: its cases, what they are judged by, and what they found."""

import shlex
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from glu_prune import options
from glu_prune.baseline.compare import NAMED, was_compared
from glu_prune.baseline.gate import Gate, failures
from glu_prune.clean import one_line
from glu_prune.errors import BaselineError, GluPruneError, first_line
from glu_prune.judgement.case import Case
from glu_prune.judgement.conclusion import conclude
from glu_prune.judgement.kinds import CASES
from glu_prune.judgement.sources import Source
from glu_prune.readiness.check import Run
from glu_prune.readiness.requirements import Requirements, requirements, requirements_of_contract
from glu_prune.report import files
from glu_prune.results.baselines import BaselineResult
from glu_prune.results.report import CaseOutcome, CaseResult, CaseTables, Report
from glu_prune.session.collection import cases_of_others, left_out, read_cases
from glu_prune.session.screen import Screen
from glu_prune.sources.published import PublishedSource

if TYPE_CHECKING:
    from glu_prune.sources.packed import PackedSource

Order = tuple[str, int, str]
"""By which cases are sorted: the test that judges it, its place among all cases, and the name of the node."""
FIXTURES = {kind.FIXTURE: kind for kind in CASES}
"""The argument of a test to the kind of case that it is called with."""


class Session:
    """One per process; under pytest-xdist, the process that started the workers gathers what they found."""

    def __init__(self, config: pytest.Config) -> None:
        """Nothing is read or loaded yet.

        Raises:
            BaselineError: a baseline that the options name cannot be used.
        """
        self._config = config
        self.screen = Screen(config)
        self._found: dict[Order, CaseResult] = {}
        self._ended: dict[Order, CaseOutcome] = {}
        self.pinned = ""
        """A line about what was pinned; empty if nothing was to be."""
        self._left_out: list[Case] = []
        self.unselected: frozenset[int] | None = None
        """Places in the baseline of what is not looked for; None if nothing is, or the session stopped early."""
        against, save_as = (config.getoption(each) for each in ("--glu-compare", "--glu-save-baseline"))
        allowed = tuple(config.getoption("--glu-allow-missing"))
        self.gate = Gate(options.place(config, "--glu-baselines"), against, save_as, allowed)
        self.written = ""
        """Lines about the tables that were written; empty if there were none."""
        self.tracked: list[str] = []
        """A line for each tracker that says one, or that failed."""
        if config.getoption("--glu-strict"):
            self.gate.refuse_missing()
        self.gate.refuse_unknown()

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """All cases that may be collected."""
        cases = read_cases(self._config, self._pack.models if self._pack else None)
        if options.judges_published(self._config):
            self.source.preflight(cases)
        return cases

    @cached_property
    def source(self) -> Source:
        """What cases are judged by."""
        config = self._config
        if options.judges_published(config):
            return PublishedSource()
        if self._pack:
            return self._pack
        from glu_prune.experiment.engine import Engine
        from glu_prune.experiment.store import Store
        from glu_prune.sources.runs import Extent, RunSource

        say, work = self.screen.say, self.screen.work
        executor = options.executor(config, self.store, say, work)
        config.add_cleanup(executor.shutdown)
        engine = Engine(Store(self.store), executor, say, work)
        extent = Extent(config.getoption("--glu-sequential"), config.getoption("--glu-limit"))
        return RunSource(engine, options.settings(config), options.effort(config), extent, self.gate)

    @cached_property
    def _pack(self) -> "PackedSource | None":
        """The records of a pack, if these are judged.

        Raises:
            StoreError: there is no such pack.
        """
        if (folder := options.pack(self._config)) is None:
            return None
        from glu_prune.sources.packed import PackedSource

        return PackedSource(folder)

    @property
    def store(self) -> Path:
        """Where records are kept."""
        return options.store(self._config)

    def preflight(self, items: Iterable[pytest.Item]) -> None:
        """Finds what would stop the run of `items`, before any model loads.

        Raises:
            GluPruneError: something is missing, or cannot be trusted.
        """
        self.source.submit(self._checked([case for item in items if (case := case_of(item)) is not None]))

    def preflight_of_workers(self, ids: Iterable[str]) -> None:
        """The same for tests of workers, which are known by name here: a line of one process, and none of each worker.

        Raises:
            GluPruneError: something is missing, or cannot be trusted.
        """
        shown = [each.partition("[")[2] for each in ids if "[" in each]
        self._checked([case for case in self._cases_of_workers if any(_is_named(case, each) for each in shown)])

    @property
    def _cases_of_workers(self) -> Sequence[Case]:
        """All cases; none if they cannot be read: whoever asked for them has said so, and maybe nobody did."""
        try:
            return self.cases
        except GluPruneError:
            return ()

    def _checked(self, cases: Sequence[Case]) -> Sequence[Case]:
        """Which of `cases` have something to run; raises `GluPruneError` for what would stop the session."""
        to_run = self.source.preflight(cases) if cases else []
        if to_run:
            self._refuse_obstacles(requirements(to_run))
        if model := self._config.getoption("--glu-contract"):
            self._refuse_obstacles(requirements_of_contract(model))
        return to_run

    def _refuse_obstacles(self, required: Requirements) -> None:
        from glu_prune.readiness.preflight import refuse_obstacles

        refuse_obstacles(Run(required, options.settings(self._config), self.store))

    def count(self, items: list[pytest.Item]) -> None:
        """Counts what `items` need, and what of it is missing, for those who look at how far the session is."""
        with suppress(GluPruneError):  # the cases say it themselves
            self.source.missing([case for item in items if (case := case_of(item)) is not None])
        self.screen.work.show()

    def leave_out(self, items: Iterable[pytest.Item]) -> None:
        """Takes the tests that the user deselects."""
        self._left_out += filter(None, map(case_of, items))

    def select(self, items: Iterable[pytest.Item]) -> None:
        """Takes the tests that were collected, and finds out what of the baseline they leave out.

        Raises:
            GluPruneError: an expectation file cannot be used.
        """
        asked = [item for item in items if FIXTURES.keys() & {*getattr(item, "fixturenames", ())}]
        by_name = options.selects(self._config)
        if not self.gate.baseline or (not asked and (by_name or self._left_out)):
            return
        selected = [case for item in asked if (case := case_of(item)) is not None]
        named = [case for case in self.cases if case not in selected] if by_name else []
        others = cases_of_others(self._config)
        self.unselected = self.gate.unselected([*self._left_out, *named, *others], selected)

    def plan(self, items: list[pytest.Item]) -> str:
        """What a run of `items` would be able to show, and what it would take, as text; nothing is kept."""
        from glu_prune.readiness.network import offline
        from glu_prune.report.power import text
        from glu_prune.sources.pilots import Pilots

        cases = [case for item in items if (case := case_of(item)) is not None]
        if not cases:
            return "nothing to plan: no selected claim is about a model that is here; --glu-model NAME says more"
        pilots = Pilots(self.store, self._config.getoption("--glu-limit"))
        with offline():
            shown = text(*pilots.plan(cases, self._config.getoption("--glu-changed")))
        return f"{shown}\n\n{self._takes(cases)}"

    def _takes(self, cases: list[Case]) -> str:
        """What a run would take, tried for some seconds of each task if that is asked for."""
        from glu_prune.report import forecast
        from glu_prune.sources.runs import RunSource

        prober, source = None, self.source
        assert isinstance(source, RunSource)
        if (budget := self._config.getoption("--glu-probe")) is not None:
            from glu_prune.experiment.executors.probing import Prober

            prober = Prober(budget, self.screen.say)
        return forecast.text(source.forecast(cases, prober))

    def place(self, case: Case) -> int:
        """Where `case` stands among all cases that may be collected."""
        return next((place for place, each in enumerate(self.cases) if each is case), len(self.cases))

    def add(self, result: CaseResult, order: Order) -> None:
        """Takes what was found about a case."""
        self._found[order] = result

    def end(self, outcome: CaseOutcome, order: Order) -> None:
        """Takes how a case ended."""
        self._ended[order] = outcome

    def report(self) -> Report:
        """What has come in so far, as if that were all."""
        found = [*(self._found[order].tables for order in sorted(self._found)), CaseTables(baseline=self._missing)]
        return conclude(found, [self._ended[order] for order in sorted(self._ended)])

    @property
    def _missing(self) -> tuple[BaselineResult, ...]:
        """What the baseline pins, and this session looked for and did not find."""
        if self.unselected is None:
            return ()
        found = {place for each in self._found.values() for place in each.tables.pinned}
        return self.gate.missing(found | self.unselected)

    def lacking(self) -> str:
        """Why the comparison with the baseline fails as a whole, in a line; empty if it does not."""
        if self.unselected is None:
            return ""
        against = f"against baseline {self.gate.against}"
        if missing := self._missing:
            named = ", ".join(f"{row.model} {row.arm} {row.capability} {row.metric}" for row in missing[:NAMED])
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            return one_line(
                f"{against}: {len(missing)} pinned outcomes were not found: {named}{more}; measure them, pin again, or "
                "allow it with --glu-allow-missing NAME (a model, arm, capability or task)"
            )
        rows = [row for each in self._found.values() for row in each.tables.baseline]
        if not rows and not self.gate.allowed:
            return f"{against}: nothing was compared: no claim that was selected is about what it pins; select others"
        if rows and not any(map(was_compared, rows)):
            return one_line(f"{against}: nothing can be compared: {rows[0].sentence}; and {len(rows) - 1} more")
        return ""

    def idle(self) -> str:
        """Why nothing was judged, in a line, if tests asked for claims and there were none to run; else empty."""
        none = "cases" in vars(self) and not self.cases and not self._config.option.collectonly
        if not none or options.judges_published(self._config) or self._pack:
            return ""
        return one_line(f"nothing was judged: claims are about {left_out(self._config) or 'no model'}")

    def write(self) -> bool:
        """Writes the tables, if there is anything to write; whether that went well."""
        report, folder = self.report(), options.place(self._config, "--glu-results")
        if not (report or report.cases):
            return True
        try:
            done = files.write(report, folder)
        except OSError as error:
            self.written = one_line(f"tables were not written to {folder}: {error}")
            return False
        pages = [name for name in done.names if name.startswith("report.")]
        count = len(done.names) - len(pages)
        lines = [f"tables: {options.relative(self._config, folder)}/ ({', '.join([*pages, f'{count} tables'])})"]
        if done.left:
            lines.append(f"not of this run, and not known to be of an earlier one: {', '.join(done.left)} in {folder}/")
        shown = self._show(report, lines)
        self.written = "\n".join(map(one_line, lines))
        return shown

    def _show(self, report: Report, lines: list[str]) -> bool:
        """Writes the page that is asked for, and tells of it in `lines`; whether that went well."""
        if (page := options.named(self._config, "--glu-report")) is None:
            return True
        from glu_prune.report.page.saved import save_page
        from glu_prune.sources.changes import changes
        from glu_prune.sources.provenance import provenance

        try:
            decided = [self.cases[place] for _, place, _ in sorted(self._found)]
            command = f"pytest {shlex.join(self._config.invocation_params.args)}"
            kept = options.pack(self._config) or (self.store if options.runs(self._config) else None)
            facts = provenance(kept, (case.experiment.model for case in decided)) if kept else []
            save_page(report, page, [command], changes(self.source, decided), [facts])
        except GluPruneError as error:
            lines.append(f"the page was not written: {error}")
            return False
        lines.append(f"page: {page}")
        return True

    def track(self) -> None:
        """Hands the report to all who want to log it; what one of them raises is a line, and the others get theirs."""
        if not (report := self.report()):
            return
        plugins = self._config.pluginmanager
        takers = [each.plugin for each in plugins.hook.pytest_glu_report.get_hookimpls()]
        for taker in takers:
            others = [each for each in takers if each is not taker]
            try:
                said = plugins.subset_hook_caller("pytest_glu_report", others)(report=report, config=self._config)
                self.tracked += [one_line(str(line)) for line in said]
            except (Exception, SystemExit) as error:  # noqa: BLE001 - what was found is found, whatever it raises
                self.tracked.append(one_line(f"not tracked by {plugins.get_name(taker)}: {first_line(error)}"))

    def _differs(self) -> str:
        """Why what was measured may not take the place of the baseline that it was compared with; empty if it may."""
        strict = bool(self._config.getoption("--glu-strict"))
        if worse := sum(bool(failures(each.tables, strict=strict)) for each in self._found.values()):
            return f"{worse} {'case fails' if worse == 1 else 'cases fail'} against it"
        if self.unselected is None:
            return "the session stopped early"
        return "what it pins was not all compared" if self.lacking() else ""

    def pin(self, status: int) -> bool:
        """Pins what was measured, if it is to be; whether that went well."""
        name = self.gate.pins
        if not name or status == pytest.ExitCode.NO_TESTS_COLLECTED or self._config.option.collectonly:
            return True
        from glu_prune.experiment.store import Store

        try:
            if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
                msg = "the session did not come to its end"
                raise BaselineError(msg)
            if self.gate.replaces and (why := self._differs()):
                msg = f"{why}; it stays as it was: pin under another name, or without --glu-compare"
                raise BaselineError(msg)
            pins = [pin for order in sorted(self._found) for pin in self._found[order].tables.pins]
            self.pinned = one_line(self.gate.pin(Store(self.store), pins))
        except GluPruneError as error:
            self.pinned = one_line(f"baseline {name} was not pinned: {error}")
            return False
        return True


def _is_named(case: Case, name: str) -> bool:
    """Whether the name of a test, in ASCII unless an ini file says otherwise, is that of one about `case`."""
    shown = one_line(case.id)
    return shown in name or shown.encode("unicode_escape").decode("ascii") in name


def case_of(item: pytest.Item) -> Case | None:
    """The case that `item` is about, if it is about one."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return next((params[name] for name in FIXTURES if isinstance(params.get(name), Case)), None)
