"""One case as CI is told of it: which claim it was, where that stands, and how it ended."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from glu_prune.report.clean import one_line
from glu_prune.report.rows import Row, Rows

if TYPE_CHECKING:
    from glu_prune.judgement.expectation import Case

_FIGURES = ("dense", "pruned", "delta", "low", "high", "p", "floor")


def case_row(case: "Case") -> dict[str, Any]:
    """What is known of `case` before it is judged."""
    return {
        "case": case.id,
        "model": case.experiment.subject,
        "file": case.file,
        "line": case.line,
        "declared": case.declared,
    }


def ended(case: Row, outcome: str, message: str, *, judged: bool) -> dict[str, Any]:
    """`case` with how its test ended: `passed`, `failed`, `inconclusive`, or `skipped`, as what is not measured is."""
    result = "inconclusive" if outcome == "skipped" and judged else outcome
    return {**case, "result": result, "message": "" if result == "passed" else message}


def case_properties(case: Row) -> Iterator[tuple[str, str]]:
    """(name, value) of what people look for in a report of JUnit's format, of a case that may never be judged."""
    yield "model", one_line(case["model"])
    yield "declared", case["declared"]


def verdict_properties(verdict: str, rows: Rows) -> Iterator[tuple[str, str]]:
    """What is added once it is judged, from its `rows`."""
    yield "verdict", one_line(verdict)
    claim = next(_claims(rows), None)
    if claim is None:
        return
    yield "capability", one_line(claim.get("capability") or claim["about"])
    for name in ("ratio", *_FIGURES):
        if claim.get(name) is not None:
            yield name, str(claim[name])


def _claims(rows: Rows) -> Iterator[Row]:
    """The rows about claims; those about checks of evidence have none."""
    return (row for table in ("scores", "costs", "trends") for row in rows.get(table, ()))
