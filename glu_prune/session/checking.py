"""Judges the case of one test: what it found travels in the test's user properties, and decides how the test ends."""

from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

import pytest

from glu_prune.baseline.gate import failures
from glu_prune.clean import one_line
from glu_prune.errors import NotMeasuredError, ReportError
from glu_prune.judgement.case import Case
from glu_prune.report.extra_columns import with_extra
from glu_prune.report.tables import TABLES
from glu_prune.results.claims import ArmResult
from glu_prune.results.report import CaseHead, CaseOutcome, CaseResult, CaseTables
from glu_prune.session.session import Session
from glu_prune.sources.judged import head_of
from glu_prune.traces import told

RESULT = "glu_prune_result"
"""The user property in which a `CaseResult` travels from worker to controller, as JSON."""
HEAD = "glu_prune_case"
"""The user property in which a `CaseHead` does."""
PLACE = "glu_prune_place"
"""The user property in which the place of the case among all cases does: cases end in any order under pytest-xdist."""
_NUMBERS = ("dense", "pruned", "delta", "value", "low", "high", "p", "floor")


def check(session: Session, node: pytest.Item, case: Case) -> None:
    """Passes when the verdict is the declared one, and puts what was found into the tables of the session."""
    __tracebackhide__ = True
    properties, strict = node.user_properties, node.config.getoption("--glu-strict")
    properties.extend(((HEAD, head_of(case).model_dump_json()), (PLACE, str(session.place(case)))))
    properties.extend((("model", one_line(case.subject)), ("declared", case.declared)))
    try:
        found = case.judge(session.source)
        found = found.model_copy(update={"tables": _with_users_columns(node, found.tables)})
    except Exception as error:  # noqa: BLE001  whatever a case raises fails it in one line; the trace is in a file
        message = one_line(f"{case.where}: {told(error)}")
        if isinstance(error, NotMeasuredError) and not strict:
            raise pytest.skip.Exception(message) from None
        raise pytest.fail.Exception(message, pytrace=False) from None
    properties.append((RESULT, found.model_dump_json(by_alias=True)))
    properties.extend(_properties(found))
    worse = failures(found.tables, strict=strict)
    other = "" if found.outcome == case.declared else f"declared {case.declared}, found {found.sentence}"
    if not (worse or other):
        return
    message = one_line(f"{case.where}: {'; '.join(filter(None, (worse, other)))}")
    if found.outcome == "inconclusive" and not (worse or strict):
        pytest.skip(message)
    pytest.fail(message, pytrace=False)


def take(session: Session, report: pytest.TestReport) -> None:
    """Takes what travelled once per case; other reporters, such as JUnit's, are left what people can read."""
    found = {name: str(value) for name, value in report.user_properties if name in (RESULT, HEAD, PLACE)}
    order = report.nodeid.partition("[")[0], int(found.get(PLACE, 0)), report.nodeid
    if report.when == "call" and HEAD in found:
        head = CaseHead.model_validate_json(found[HEAD])
        session.end(_ended(head, report, judged=RESULT in found), order)
    if report.when == "teardown":
        if RESULT in found:
            session.add(CaseResult.model_validate_json(found[RESULT]), order)
        report.user_properties = [each for each in report.user_properties if each[0] not in found]


def is_inconclusive(report: pytest.TestReport) -> bool:
    """Whether a case was skipped because its verdict is inconclusive."""
    return report.when == "call" and report.skipped and any(name == RESULT for name, _ in report.user_properties)


def _ended(head: CaseHead, report: pytest.TestReport, *, judged: bool) -> CaseOutcome:
    """How the test of a case ended: what is not measured is skipped, what was judged and skipped is inconclusive."""
    result = "inconclusive" if report.outcome == "skipped" and judged else report.outcome
    message = "" if result == "passed" else one_line(_said(report))
    return CaseOutcome.model_validate({**dict(head), "result": result, "message": message})


def _said(report: pytest.TestReport) -> str:
    """Why a case did not pass, without the traceback if there is one."""
    if report.skipped and isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash else report.longreprtext)


def _properties(found: CaseResult) -> Iterator[tuple[str, str]]:
    """(name, value) of what people look for in a report of JUnit's format."""
    yield "verdict", one_line(found.outcome)
    tables = found.tables
    for row in (*tables.scores, *tables.distances, *tables.costs):
        yield "capability", one_line(row.capability)
        yield from _numbers(row)
        return
    for choice in tables.choices:
        yield "chosen", one_line(choice.chosen)
        return
    for trend in tables.trends:
        yield "capability", one_line(trend.about)
        return


def _numbers(row: ArmResult) -> Iterator[tuple[str, str]]:
    shown = row.json_row()
    return ((name, str(shown[name])) for name in ("ratio", *_NUMBERS) if shown.get(name) is not None)


def _with_users_columns(node: pytest.Item, tables: CaseTables) -> CaseTables:
    """`tables` with the columns that users add to them; fails the case where these cannot be shown."""
    __tracebackhide__ = True
    hook = node.ihook.pytest_glu_columns
    if not hook.get_hookimpls():
        return tables
    try:
        return tables.model_copy(update={name: _extended(hook, name, tables) for name in CaseTables.model_fields})
    except ReportError as error:
        codes = [each.function.__code__ for each in hook.get_hookimpls()]
        places = ", ".join(f"{code.co_filename}:{code.co_firstlineno}" for code in codes)
        pytest.fail(f"{places}: pytest_glu_columns {error}", pytrace=False)


def _extended(hook: Any, name: str, tables: CaseTables) -> tuple[Any, ...]:
    rows = getattr(tables, name)
    if (table := TABLES.get(name)) is None:
        return tuple(rows)
    asked = ((row, reversed(hook(table=name, row=MappingProxyType(row.json_row())))) for row in rows)
    return tuple(with_extra(row, table.own_columns([row]), found) for row, found in asked)
