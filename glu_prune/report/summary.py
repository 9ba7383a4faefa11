"""A session as one page of Markdown, for a CI run: what changed, capabilities, what to look at, findings."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from glu_prune.clean import markdown
from glu_prune.files import write_whole
from glu_prune.report.baseline_notes import counts
from glu_prune.report.formats.markdown import headed
from glu_prune.results.report import CaseOutcome, Report

LIMIT = 1_000_000
"""Bytes of a page; GitHub refuses one of more than 1 MiB as a whole."""
_CUT = "\n_Cut here: a page holds no more. The tables are whole in the results folder._\n"
_RESULTS = get_args(CaseOutcome.model_fields["result"].annotation)
_LOOK_AT = ("failed", "inconclusive")


def summary(report: Report) -> str:
    """The page."""
    return "\n".join(_lines(report)) + "\n"


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
    yield from _headed(report, "baseline", long=False)
    for line in counts(report.baseline):
        yield from ("", markdown(line))
    yield from _headed(report, "scores")
    if look_at := [case for case in report.cases if case.result in _LOOK_AT]:
        yield from ("", "## To look at", "", *map(_item, look_at))
    yield from _headed(report, "findings")


def _headed(report: Report, name: str, *, long: bool = True) -> Iterator[str]:
    for heading, text in headed(report, (name,), long=long):
        yield from ("", f"## {heading}", "", text)


def _counts(cases: Sequence[CaseOutcome]) -> str:
    counts = Counter(case.result for case in cases)
    return ", ".join(f"{counts[result]} {result}" for result in _RESULTS if counts[result]) + f" of {len(cases)} cases"


def _item(case: CaseOutcome) -> str:
    where = markdown(f"{case.file}:{case.line}")
    return f"- **{case.result}** {where} {markdown(case.case)}: {markdown(case.message)}"
