"""The state of one pytest session: its cases, what they are judged by, and what they found."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

import pytest

from glu_prune import options
from glu_prune.baseline.compare import NAMED, was_compared
from glu_prune.baseline.gate import Gate
from glu_prune.errors import BaselineError, GluPruneError
from glu_prune.judgement.case import Case
from glu_prune.judgement.conclusion import conclude
from glu_prune.judgement.kinds import CASES
from glu_prune.judgement.sources import Source
from glu_prune.report.clean import one_line
from glu_prune.results.baselines import BaselineResult
from glu_prune.results.report import CaseOutcome, CaseResult, CaseTables, Report
from glu_prune.session.collection import cases_of_others, read_cases
from glu_prune.session.progress import progress
from glu_prune.sources.published import PublishedSource

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
        self._found: list[CaseResult] = []
        self._ended: list[CaseOutcome] = []
        self.pinned = ""
        """A line about what was pinned; empty if nothing was to be."""
        self._left_out: list[Case] = []
        self.unselected: frozenset[int] | None = None
        """The places in the baseline of what the session does not look for; None if it looks for none, or stopped."""
        against, save_as = (config.getoption(each) for each in ("--glu-compare", "--glu-save-baseline"))
        allowed = tuple(config.getoption("--glu-allow-missing"))
        self.gate = Gate(options.place(config, "--glu-baselines"), against, save_as, allowed)
        if config.getoption("--glu-strict"):
            self.gate.refuse_missing()
        self.gate.refuse_unknown()

    @cached_property
    def cases(self) -> tuple[Case, ...]:
        """All cases that may be collected."""
        cases = read_cases(self._config)
        if options.judges_published(self._config):
            self.source.preflight(cases)
        return cases

    @cached_property
    def source(self) -> Source:
        """What cases are judged by."""
        config = self._config
        if options.judges_published(config):
            return PublishedSource()
        from glu_prune.experiment.engine import Engine
        from glu_prune.experiment.store import Store
        from glu_prune.sources.runs import Extent, RunSource

        say = progress(config)
        executor = options.executor(config, self._store, say)
        config.add_cleanup(executor.shutdown)
        engine = Engine(Store(self._store), executor, say)
        extent = Extent(config.getoption("--glu-sequential"), config.getoption("--glu-limit"))
        return RunSource(engine, options.settings(config), options.effort(config), extent, self.gate)

    @property
    def _store(self) -> Path:
        return options.place(self._config, "--glu-store")

    def preflight(self, items: list[pytest.Item]) -> None:
        """Finds what would stop the run, before any model loads.

        Raises:
            GluPruneError: something is missing, or cannot be trusted.
        """
        cases = [case for item in items if (case := case_of(item)) is not None]
        if cases and (to_run := self.source.preflight(cases)):
            from glu_prune.readiness.preflight import refuse_obstacles

            refuse_obstacles(to_run, options.settings(self._config), self._store)
            self.source.submit(to_run)

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
        if not self.gate.baseline or (by_name and not asked):
            return
        selected = [case for item in asked if (case := case_of(item)) is not None]
        named = [case for case in self.cases if case not in selected] if by_name else []
        others = cases_of_others(self._config)
        self.unselected = self.gate.unselected([*self._left_out, *named, *others], selected)

    def plan(self, items: list[pytest.Item]) -> str:
        """What a run of `items` would be able to show, as text; nothing is run."""
        from glu_prune.readiness.network import offline
        from glu_prune.report.power import text
        from glu_prune.sources.pilots import Pilots

        cases = [case for item in items if (case := case_of(item)) is not None]
        pilots = Pilots(self._store, self._config.getoption("--glu-limit"))
        with offline():
            return text(*pilots.plan(cases, self._config.getoption("--glu-changed")))

    def add(self, result: CaseResult) -> None:
        """Takes what was found about a case."""
        self._found.append(result)

    def end(self, outcome: CaseOutcome) -> None:
        """Takes how a case ended."""
        self._ended.append(outcome)

    def report(self) -> Report:
        """What has come in so far, as if that were all."""
        return conclude([*(each.tables for each in self._found), CaseTables(baseline=self._missing)], self._ended)

    @property
    def _missing(self) -> tuple[BaselineResult, ...]:
        """What the baseline pins, and this session looked for and did not find."""
        if self.unselected is None:
            return ()
        found = {place for each in self._found for place in each.tables.pinned}
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
        rows = [row for each in self._found for row in each.tables.baseline]
        if rows and not any(map(was_compared, rows)):
            return one_line(f"{against}: nothing can be compared: {rows[0].sentence}; and {len(rows) - 1} more")
        return ""

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
            pins = [pin for found in self._found for pin in found.tables.pins]
            self.pinned = one_line(self.gate.pin(Store(self._store), pins))
        except GluPruneError as error:
            self.pinned = one_line(f"baseline {name} was not pinned: {error}")
            return False
        return True


def case_of(item: pytest.Item) -> Case | None:
    """The case that `item` is about, if it is about one."""
    params = getattr(getattr(item, "callspec", None), "params", {})
    return next((params[name] for name in FIXTURES if isinstance(params.get(name), Case)), None)
