"""Every table that a session can show: what its rows are called, its columns, and how it is to be read."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glu_prune.clean import one_line
from glu_prune.report import columns
from glu_prune.report.baseline_notes import counts, is_news
from glu_prune.report.extent_notes import dequantizations, left_out, limits, near_ties, truncations
from glu_prune.report.extra_columns import extra_columns
from glu_prune.report.table import Column, frame
from glu_prune.results.base import Row
from glu_prune.results.claims import ArmResult, ClaimResult
from glu_prune.results.report import Report

if TYPE_CHECKING:
    import pandas as pd

Columns = Callable[[Sequence[Any]], tuple[Column[Any], ...]]


@dataclass(frozen=True)
class Table:
    """One kind of table."""

    heading: str
    own_columns: Columns
    note: str = ""
    """How it is to be read."""
    news: Callable[[Any], bool] | None = None
    """Which of its rows are shown where room is scarce; None: all."""

    def columns(self, rows: Sequence[Row]) -> tuple[Column[Any], ...]:
        """The columns for `rows`, those that users added to them included."""
        return (*self.own_columns(rows), *extra_columns(rows))


def _fixed(chosen: tuple[Column[Any], ...]) -> Columns:
    return lambda _: chosen


TABLES = {
    "scores": Table(
        "capabilities",
        columns.score_columns,
        "delta = pruned - dense on the same items, low..high its 95 % interval; p of the claim's own test, then "
        "corrected for the ratios of the claim (which decides), then for all claims of the file (Holm); floor: the "
        "best that content-free answers score. Claims speak of the capability, whichever way its metric counts.",
    ),
    "why": Table(
        "why it moved",
        _fixed(columns.WHY),
        "dense -> pruned. other answers: than the dense model gives, right or wrong (95 % interval). "
        "commonest answer: of all, with its share. "
        "margin: best right choice over best wrong one; flawed outputs are empty, loop, echo the "
        'prompt, or are cut by the length limit; "score without" leaves out items where either output is flawed; '
        "matched length: texts as long as before, within 5 %.",
    ),
    "groups": Table("by group", _fixed(columns.GROUPS)),
    "distances": Table(
        "how far from the dense model",
        _fixed(columns.DISTANCES),
        "flips: share of items whose answer is another one than the dense model's, right or wrong; kl: divergence of "
        "the pruned model's predictions from the dense model's (Kullback-Leibler), in nats per token. low..high its "
        "95 % interval; p of a one-sided test that it is below what is claimed. See docs/judgement.md.",
    ),
    "baseline": Table(
        "against {against}",
        _fixed(columns.AGAINST),
        "delta = now - before on the same items, low..high its 95 % interval, p corrected for all that the baseline "
        "pins of the model. A change is one where p is at most 0.05 and the difference is larger than the noise band "
        "and the margin. See docs/baselines.md.",
        news=is_news,
    ),
    "trends": Table("across ratios", _fixed(columns.TRENDS)),
    "choices": Table(
        "choices",
        _fixed(columns.CHOICES),
        "chosen: the pruning of least cost among those that are certified to lose less than each margin; with at least "
        "the confidence, all that are certified do. See docs/choose.md.",
    ),
    "curves": Table("dose-response", _fixed(columns.CURVES)),
    "costs": Table("claims about cost", _fixed(columns.COST_CLAIMS)),
    "findings": Table("evidence checks", _fixed(columns.FINDINGS)),
    "efficiency": Table(
        "efficiency",
        _fixed(columns.EFFICIENCY),
        "Means over n rounds (or processes) and their 95 % intervals (Student's t); change: of the geometric mean, "
        "over rounds in which both did the same work; dense again: the same for a copy of the dense model, which "
        "shows how steady the machine was. See docs/efficiency.md.",
    ),
    "energy": Table("energy by channel", _fixed(columns.ENERGY)),
    "recomputed": Table("energy per token, recomputed from published energies", _fixed(columns.RECOMPUTED)),
    "evaluations": Table(
        "what the evaluations cost",
        _fixed(columns.EVALUATIONS),
        "tokens/s and J per 1000 tokens: over the likelihood tasks, where every arm does the same work. "
        '"modelled" energy is assumed power x time, not a reading: a saving in it is only a saving of time. others: '
        "share of the processors that other processes used meanwhile, which may be all that differs between arms.",
    ),
}
"""By the name that they have in `report.json`, CSV files and users' hooks, in the order in which they are shown."""


def filled(report: Report) -> Iterator[tuple[str, tuple[Column[Any], ...], Sequence[Row]]]:
    """(name, columns, rows) of each table that has rows, of all models."""
    for name, table in TABLES.items():
        if rows := report.rows(name):
            yield name, table.columns(rows), rows


def data_frame(columns: Sequence[Column[Any]], rows: Sequence[Row]) -> "pd.DataFrame":
    """A table as files have it: plain values, the model first."""
    data = frame(columns, rows)
    data.insert(0, "model", [row.model for row in rows])
    return data


@dataclass(frozen=True)
class Section:
    """One table about one model."""

    heading: str
    columns: tuple[Column[Any], ...]
    rows: Sequence[Row]


def sections(report: Report, *, long: bool = True, names: Collection[str] = tuple(TABLES)) -> Iterator[Section]:
    """The tables of `names`, model by model; without `long` only what is news."""
    every = {name: report.rows(name) for name in names}
    for model in dict.fromkeys(row.model for rows in every.values() for row in rows):
        for name in names:
            table = TABLES[name]
            mine = [row for row in every[name] if row.model == model and (long or not table.news or table.news(row))]
            if mine:
                heading = table.heading.format_map(vars(mine[0]))
                yield Section(f"{model}: {heading}", table.columns(mine), mine)


def notes(report: Report) -> tuple[str, ...]:
    """How the tables are to be read, each in one line that only shows."""
    read = (table.note for name, table in TABLES.items() if table.note and report.rows(name))
    return (*read, *extents(report), *map(one_line, near_ties(report.cells)))


def extents(report: Report) -> tuple[str, ...]:
    """What of everything was compared, asked and shown, each in one line that only shows."""
    cells = report.cells
    found = (
        *counts(report.baseline),
        *left_out(report.cases),
        *dequantizations(cells),
        *limits(cells),
        *truncations(cells),
    )
    return tuple(map(one_line, found))


def sentences(report: Report) -> tuple[str, ...]:
    """One line per verdict that only shows, with the numbers that led to it."""
    return tuple(one_line(f"{_about(row)}: {row.sentence}") for row in report.claims)


def _about(row: ClaimResult) -> str:
    if not isinstance(row, ArmResult):
        return row.model
    return f"{row.model}, {row.named or f'ratio {row.at}'}"
