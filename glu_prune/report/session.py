"""The results of one session: collected from its cases, shown in the terminal, written to files."""

import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glu_prune.report.against import counts, is_news
from glu_prune.report.clean import markdown, one_line
from glu_prune.report.columns import (
    AGAINST,
    COST_CLAIMS,
    EFFICIENCY,
    ENERGY,
    EVALUATIONS,
    FINDINGS,
    GROUPS,
    RECOMPUTED,
    TRENDS,
    WHY,
    score_columns,
)
from glu_prune.report.efficiency import evaluation_rows
from glu_prune.report.looks import looks, truncations
from glu_prune.report.more import more_columns, with_more
from glu_prune.report.rows import Row, Rows
from glu_prune.report.soundness import own_findings
from glu_prune.report.table import Column, frame, render
from glu_prune.statistics.comparison import holm

Columns = Callable[[Sequence[Row]], tuple[Column, ...]]


@dataclass(frozen=True)
class _Table:
    """One kind of table: its heading, its columns, and how it is to be read."""

    heading: str
    columns: Columns
    note: str = ""
    long: bool = False
    """Whether it is shown in the terminal only when more is asked for."""
    shown: Callable[[Row], bool] | None = None
    """Which of its rows are shown in the terminal when no more is asked for; None: all."""

    def of(self, rows: Sequence[Row]) -> tuple[Column, ...]:
        """The columns for `rows`, those that users added to them included."""
        return (*self.columns(rows), *more_columns(rows))


def _fixed(columns: tuple[Column, ...]) -> Columns:
    return lambda _: columns


_TABLES = {
    "scores": _Table(
        "capabilities",
        score_columns,
        "delta = pruned - dense on the same items, low..high its 95 % interval; p of the claim's own test, then "
        "corrected for the ratios of the claim (which decides), then for all claims of the file (Holm); floor: the "
        "best that content-free answers score. Claims speak of the capability, whichever way its metric counts.",
    ),
    "why": _Table(
        "why it moved",
        _fixed(WHY),
        "dense -> pruned. margin: best right choice over best wrong one; flawed outputs are empty, loop, echo the "
        'prompt, or are cut by the length limit; "score without" leaves out items where either output is flawed.',
    ),
    "groups": _Table("by group", _fixed(GROUPS), long=True),
    "baseline": _Table(
        "against {against}",
        _fixed(AGAINST),
        "delta = now - before on the same items, low..high its 95 % interval, p corrected for all that the baseline "
        "pins of the model. A change is one where p is at most 0.05 and the difference is larger than the noise band "
        "and the margin. See docs/baselines.md.",
        shown=is_news,
    ),
    "trends": _Table("across ratios", _fixed(TRENDS)),
    "costs": _Table("claims about cost", _fixed(COST_CLAIMS)),
    "findings": _Table("evidence checks", _fixed(FINDINGS)),
    "efficiency": _Table(
        "efficiency",
        _fixed(EFFICIENCY),
        "Means over n rounds (or processes) and their 95 % intervals (Student's t); change: of the geometric mean, "
        "over rounds in which both did the same work; dense again: the same for a copy of the dense model, which "
        "shows how steady the machine was. See docs/efficiency.md.",
    ),
    "energy": _Table("energy by channel", _fixed(ENERGY), long=True),
    "recomputed": _Table("energy per token, recomputed from published energies", _fixed(RECOMPUTED), long=True),
    "evaluations": _Table(
        "what the evaluations cost",
        _fixed(EVALUATIONS),
        "tokens/s and J per 1000 tokens: over the likelihood tasks, where every arm does the same work. "
        '"modelled" energy is assumed power x time, not a reading: a saving in it is only a saving of time. others: '
        "share of the processors that other processes used meanwhile, which may be all that differs between arms.",
    ),
}


VERSION = 1
"""Of `report.json`, as docs/report.schema.json describes it; another number when a reader of this one would err."""
_CASES = "cases"
"""How each case ended: no table, and nothing to show by itself."""
_CORRECTED = ("scores", "costs")
"""Tables of claims at ratios, whose p-values are corrected together, file by file."""


def extended(rows: Rows, ask: Callable[[str, Row], Iterable[object]]) -> Rows:
    """`rows` with what `ask` has to add to each row of each table.

    Raises:
        ReportError: what it gives cannot be shown.
    """
    return {
        name: [with_more(row, _TABLES[name].columns([row]), ask(name, row)) for row in found]
        if name in _TABLES
        else found
        for name, found in rows.items()
    }


class SessionReport:
    """Rows of the cases that have run, in order."""

    def __init__(self) -> None:
        """Empty."""
        self._rows: dict[str, list[Row]] = {}

    def add(self, rows: Rows) -> None:
        """Takes the rows of one judged case; a row that several cases give is kept once."""
        for name, found in rows.items():
            kept = self._rows.setdefault(name, [])
            kept.extend(row for row in found if row not in kept)

    def __bool__(self) -> bool:
        """Whether there is anything to show."""
        return bool(self._rows.keys() - {_CASES})

    def rows(self, name: str) -> list[Row]:
        """The rows of one table, complete."""
        if name == "evaluations":
            return [*evaluation_rows(self._rows.get("cells", []))]
        rows = self._rows.get(name, [])
        if name == "findings":
            return [*rows, *own_findings(self._rows.get("cells", []), self._rows.get("floors", []))]
        return self._with_holm(name) if name in _CORRECTED else rows

    def tables(
        self, style: str, *, long: bool = True, names: Collection[str] = tuple(_TABLES)
    ) -> Iterator[tuple[str, str]]:
        """(heading, text) of each table of `names`, model by model; without the long ones if they are not wanted.

        Style `simple` is for terminals, `pipe` is Markdown, headings included.
        """
        safe = markdown if style == "pipe" else one_line
        every = {name: self.rows(name) for name in names}
        for model in dict.fromkeys(row["model"] for rows in every.values() for row in rows):
            for name, table in ((name, _TABLES[name]) for name in names):
                mine = [
                    row
                    for row in every[name]
                    if row["model"] == model and (long or not table.shown or table.shown(row))
                ]
                if mine and (long or not table.long):
                    heading = table.heading.format_map(mine[0])
                    yield safe(f"{model}: {heading}"), render(table.of(mine), mine, style)

    @property
    def notes(self) -> tuple[str, ...]:
        """How the tables are to be read, each in one line that only shows."""
        cells = self._rows.get("cells", [])
        tables = (table.note for name, table in _TABLES.items() if table.note and self.rows(name))
        found = (*counts(self.rows("baseline")), *looks(cells), *truncations(cells))
        return (*tables, *map(one_line, found))

    def write(self, folder: Path) -> tuple[str, ...]:
        """Writes each table as CSV, and all of them as `report.md` and `report.json`, each whole; gives their names."""
        folder.mkdir(parents=True, exist_ok=True)
        files = {}
        for name, table in _TABLES.items():
            if rows := self.rows(name):
                data = frame(table.of(rows), rows)
                data.insert(0, "model", [row["model"] for row in rows])
                files[f"{name}.csv"] = data.to_csv(index=False)
        parts = [f"## {heading}\n\n{text}\n" for heading, text in self.tables("pipe")]
        files["report.md"] = "\n".join(
            [
                *parts,
                *map(markdown, self.notes),
                "\n## Verdicts\n\n" + "".join(f"- {markdown(each)}\n" for each in self.sentences),
            ]
        )
        everything = {name: self.rows(name) for name in (*_TABLES, "cells", _CASES)}
        files["report.json"] = json.dumps({"version": VERSION, **everything}, indent=1) + "\n"
        for name, text in files.items():
            _replace(folder / name, text)
        return tuple(files)

    def _with_holm(self, name: str) -> list[Row]:
        """Rows with `holm`: p corrected for all claims at ratios of its file; those that did not run count as 1."""
        every = [(table, row) for table in _CORRECTED for row in self._rows.get(table, [])]
        found: list[Row] = []
        for file in dict.fromkeys(row["file"] for _, row in every):
            mine = [(table, row) for table, row in every if row["file"] == file]
            adjusted = holm([row["p"] for _, row in mine], family=mine[0][1]["in_file"])
            found += [{**row, "holm": p} for (table, row), p in zip(mine, adjusted, strict=True) if table == name]
        return found

    @property
    def sentences(self) -> tuple[str, ...]:
        """One line per verdict that only shows, with the numbers that led to it."""
        at_ratios = [*self.rows("scores"), *self.rows("costs")]
        lines = [f"{row['model']}, ratio {row['ratio']}: {row['sentence']}" for row in at_ratios]
        return tuple(map(one_line, (*lines, *(f"{row['model']}: {row['sentence']}" for row in self.rows("trends")))))


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
