"""A session as one page of Markdown, for CI or a pull request: verdicts, what changed, what to look at, tables."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from glu_prune.clean import markdown
from glu_prune.files import write_whole
from glu_prune.report import matrix
from glu_prune.report.baseline_notes import counts
from glu_prune.report.formats.markdown import headed
from glu_prune.results.report import CaseOutcome, Report

LIMIT = 1_000_000
"""Bytes of a page; GitHub refuses one of more than 1 MiB as a whole."""
COMMENT_LIMIT = 65_000
"""Bytes of a comment; GitHub refuses one of more than 65,536 characters."""
MARK = "<!-- glu-prune -->"
_CUT = "\n_Cut here: a page holds no more. The tables are whole in the results folder._\n"
_RESULTS = get_args(CaseOutcome.model_fields["result"].annotation)
_LOOK_AT = ("failed", "inconclusive")


def summary(report: Report) -> str:
    """The page."""
    return "\n".join(_lines(report)) + "\n"


def comment(report: Report) -> str:
    """The page as a comment on a pull request, by whose first line the next one finds it."""
    return fitting(f"{MARK}\n{summary(report)}", COMMENT_LIMIT)


def append(path: Path, text: str) -> None:
    """Puts `text` at the end of the page `path`, as much of it as the page may still hold.

    Raises:
        OSError: the file cannot be written.
    """
    there = path.stat().st_size if path.exists() else 0
    with path.open("a", encoding="utf-8") as file:
        file.write(fitting(text, LIMIT - there))


def write(path: Path, text: str) -> None:
    """Makes `text` the page `path`, whole or not at all, as much of it as a page may hold.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, fitting(text, LIMIT))


def fitting(text: str, room: int) -> str:
    """The lines of `text` that fit into `room` bytes, and a note that some are missing; nothing if not even that."""
    if len(text.encode()) <= room:
        return text
    kept, left = [], room - len(_CUT.encode())
    for line in text.splitlines(keepends=True):
        left -= len(line.encode())
        if left < 0:
            break
        kept.append(line)
    return "".join([*kept, _CUT]) if left > -room and kept else ""


def _lines(report: Report) -> Iterator[str]:
    yield "# glu-prune"
    yield ""
    yield _counts(report.cases)
    for heading, table in matrix.headed(report):
        yield from ("", f"## {heading}", "", table)
    if report.scores or report.costs or report.distances:
        yield from ("", matrix.LEGEND)
    for heading, table in headed(report, ("baseline",), long=False):
        yield from ("", f"## {heading}", "", table)
    for line in counts(report.baseline):
        yield from ("", markdown(line))
    if look_at := [case for case in report.cases if case.result in _LOOK_AT]:
        yield from ("", "## To look at", "", *map(_item, look_at))
    for heading, table in headed(report, ("scores", "baseline", "findings")):
        yield from ("", f"<details><summary>{heading}</summary>", "", table, "", "</details>")


def _counts(cases: Sequence[CaseOutcome]) -> str:
    counts = Counter(case.result for case in cases)
    return ", ".join(f"{counts[result]} {result}" for result in _RESULTS if counts[result]) + f" of {len(cases)} cases"


def _item(case: CaseOutcome) -> str:
    where = markdown(f"{case.file}:{case.line}")
    return f"- **{case.result}** {where} {markdown(case.case)}: {markdown(case.message)}"
