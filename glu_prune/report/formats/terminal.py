"""A report in the terminal: tables under headings, then verdicts if they are wanted, then how to read all of it."""

from collections.abc import Iterator
from dataclasses import dataclass

from glu_prune.clean import one_line
from glu_prune.report.table import render
from glu_prune.report.tables import notes, sections, sentences
from glu_prune.results.report import Report


@dataclass(frozen=True)
class Block:
    """Text under a heading; without a heading it just follows."""

    heading: str
    text: str


def blocks(report: Report, *, long: bool) -> Iterator[Block]:
    """What is printed; with `long`, also long tables and every verdict as a sentence."""
    for section in sections(report, long=long):
        yield Block(one_line(section.heading), render(section.columns, section.rows, "simple"))
    if long:
        yield Block("verdicts", "\n".join(sentences(report)))
    yield Block("", "\n".join(["", *notes(report)]))


def text(report: Report) -> Iterator[str]:
    """All tables, each under its heading, and how to read them: what a command prints."""
    for section in sections(report):
        yield f"{one_line(section.heading)}\n{render(section.columns, section.rows, 'simple')}"
    yield from notes(report)
