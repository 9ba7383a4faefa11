"""What CI is told at the end of a session."""

import os
from collections.abc import Iterator
from pathlib import Path

from glu_prune.clean import one_line
from glu_prune.report import github, summary
from glu_prune.results.report import Report


def told(report: Report, page: Path | None, started: Path, root: Path) -> Iterator[str]:
    """Writes the page of the session where it is wanted; gives the lines that are to be printed.

    `page` is the file that the user wants it in; paths of cases are seen from `started`, and `root` is the folder of
    the repository unless GitHub names one.
    """
    if not report.cases:
        return
    text = summary.summary(report)
    if page is not None:
        yield from _written(page, text)
    if there := os.environ.get(github.SUMMARY):
        try:
            summary.append(Path(there), text)
        except OSError as error:
            yield one_line(f"{github.SUMMARY}: the summary was not written: {error}")
    if github.annotated():
        yield from github.annotations(report.cases, started, github.root(root))


def _written(page: Path, text: str) -> Iterator[str]:
    try:
        summary.write(page, text)
    except OSError as error:
        yield one_line(f"the summary was not written to {page}: {error}")
    else:
        yield one_line(f"summary: {page}")
