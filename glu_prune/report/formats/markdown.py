"""A report as one page of Markdown: all tables, how to read them, and all verdicts."""

from collections.abc import Iterator, Sequence
from typing import Any

from glu_prune.clean import markdown
from glu_prune.report.formats import Format
from glu_prune.report.table import Column, render
from glu_prune.report.tables import notes, sections, sentences
from glu_prune.results.base import Row
from glu_prune.results.report import Report

_STYLE = "pipe"


def _table(columns: Sequence[Column[Any]], rows: Sequence[Row]) -> str:
    return render(columns, rows, _STYLE) + "\n"


def headed(report: Report, names: Sequence[str], *, long: bool = True) -> Iterator[tuple[str, str]]:
    """(heading, table) of each table of `names`, model by model."""
    for section in sections(report, names=names, long=long):
        yield markdown(section.heading), render(section.columns, section.rows, _STYLE)


def _files(report: Report) -> Iterator[tuple[str, str]]:
    parts = [
        f"## {markdown(section.heading)}\n\n{_table(section.columns, section.rows)}" for section in sections(report)
    ]
    verdicts = "".join(f"- {markdown(each)}\n" for each in sentences(report))
    yield "report.md", "\n".join([*parts, *map(markdown, notes(report)), f"\n## Verdicts\n\n{verdicts}"])


FORMAT = Format(".md", _table, _files, order=2)
