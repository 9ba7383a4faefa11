"""What models cost, as a command prints it: a table for each workload, with each arm's change from the dense model."""

from collections.abc import Callable, Iterator

from glu_prune.clean import one_line
from glu_prune.judgement.verdict import digits
from glu_prune.report.formats.terminal import bullets
from glu_prune.report.table import Column, render, terminal_width, wrapped
from glu_prune.results.base import Interval
from glu_prune.results.costs import FigureResult
from glu_prune.results.report import Report

_LONG = 1000
_COARSE = 20
"""Percent from which a change is told without decimals."""
_REPLICATE = "dense again"
_LEGEND = (
    "Means; of arms, the change in percent with its 95 % interval (Student's t over turns in which all did the same "
    "work; open: no limit at so few turns). dense again: of a copy of the dense model, which shows how steady the "
    "machine was. --out DIR writes every mean with its interval, and energy by channel."
)

Figure = dict[str, FigureResult]
"""One figure of one workload: arm to its row."""


def text(report: Report) -> Iterator[str]:
    """Paragraphs: a table for each workload, then what checks found."""
    for workload in dict.fromkeys(row.workload for row in report.efficiency):
        rows = [row for row in report.efficiency if row.workload == workload]
        figures = [_figure(rows, name) for name in dict.fromkeys(row.figure for row in rows)]
        turns = max(row.n for row in rows)
        heading = f"{rows[0].model}, {workload}, {turns} turns"
        yield f"{one_line(heading)}\n{render(_columns(figures), figures, 'simple')}"
    if report.findings:
        yield "\n".join(line.plain for line in bullets(report.findings, terminal_width()))
    yield wrapped(_LEGEND)


def _figure(rows: list[FigureResult], name: str) -> Figure:
    return {row.arm: row for row in rows if row.figure == name}


def _columns(figures: list[Figure]) -> list[Column[Figure]]:
    arms = dict.fromkeys(arm for each in figures for arm in each)
    changes = [Column[Figure](arm, _change_of(arm)) for arm in arms if any(_pruned(each, arm) for each in figures)]
    again = [Column[Figure](_REPLICATE, lambda each: _percent(_any(each).replicate))] if changes else []
    return [Column("figure", lambda each: _any(each).figure, key=True), Column("dense", _dense), *changes, *again]


def _any(figure: Figure) -> FigureResult:
    return next(iter(figure.values()))


def _pruned(figure: Figure, arm: str) -> bool:
    return arm in figure and figure[arm].pruned is not None


def _change_of(arm: str) -> Callable[[Figure], str]:
    return lambda each: _percent(each[arm].change) if arm in each else "-"


def _dense(figure: Figure) -> str:
    row = _any(figure)
    mean = row.dense[0]
    said = f"{mean:,.0f}" if mean is not None and abs(mean) >= _LONG else "-" if mean is None else digits(mean)
    return f"{said} {row.unit}".rstrip()


def _percent(change: Interval | None) -> str:
    if change is None:
        return "-"
    mean, low, high = change
    places = 1 if all(abs(each) < _COARSE for each in change if each is not None) else 0
    said, *limits = ("open" if each is None else f"{each:+,.{places}f}" for each in change)
    return said if low == high == mean else f"{said} ({', '.join(limits)})"
