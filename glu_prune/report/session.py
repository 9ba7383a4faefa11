"""The results of one session: collected from its cases, shown in the terminal, written to files."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from glu_prune.report.table import (
    EFFICIENCY,
    GROUPS,
    Column,
    Row,
    efficiency_rows,
    frame,
    render,
    score_columns,
)

_HOW_TO_READ = (
    "delta = pruned - dense on the same items, low..high its 95 % interval, p two-sided; claims speak of the "
    "capability, whichever way its metric counts."
)
_ENERGY_NOTE = (
    "tokens/s and J per 1000 tokens: over the likelihood tasks, where every arm does the same work. "
    '"modelled" energy is assumed power x time, not a reading: a saving in it is only a saving of time.'
)


class SessionReport:
    """Rows of the cases that have run, in order."""

    def __init__(self) -> None:
        """Empty."""
        self.scores: list[Row] = []
        self.groups: list[Row] = []
        self.costs: list[Row] = []

    def add(self, rows: dict[str, Any]) -> None:
        """Takes the rows of one judged case."""
        self.scores.append(rows["score"])
        self.groups.extend(rows["groups"])
        self.costs.extend(rows["costs"])

    def tables(self, style: str) -> Iterator[tuple[str, str]]:
        """(heading, text) of each table, model by model."""
        efficiency = efficiency_rows(self.costs)
        for model in dict.fromkeys(row["model"] for row in self.scores):
            scores = [row for row in self.scores if row["model"] == model]
            yield f"{model}: capabilities", render(score_columns(scores), scores, style)
            if groups := self._distinct_groups(model):
                yield f"{model}: by group", render(GROUPS, groups, style)
            mine = [row for row in efficiency if row["model"] == model]
            yield f"{model}: efficiency", render(EFFICIENCY, mine, style)

    def _distinct_groups(self, model: str) -> list[Row]:
        rows = {(row["ratio"], row["capability"], row["group"]): row for row in self.groups if row["model"] == model}
        return list(rows.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """How the tables are to be read."""
        return (_HOW_TO_READ, _ENERGY_NOTE)

    def write(self, folder: Path) -> None:
        """Writes `scores.csv`, `groups.csv`, `efficiency.csv`, `report.md` and `report.json`, each whole."""
        folder.mkdir(parents=True, exist_ok=True)
        efficiency = efficiency_rows(self.costs)
        headed: dict[str, tuple[tuple[Column, ...], Sequence[Row]]] = {
            "scores": (score_columns(self.scores), self.scores),
            "groups": (GROUPS, self.groups),
            "efficiency": (EFFICIENCY, efficiency),
        }
        for name, (columns, rows) in headed.items():
            table = frame(columns, rows)
            table.insert(0, "model", [row["model"] for row in rows])
            _replace(folder / f"{name}.csv", table.to_csv(index=False))
        parts = [f"## {heading}\n\n{text}\n" for heading, text in self.tables("pipe")]
        sentences = "".join(f"- {row['model']}, ratio {row['ratio']}: {row['sentence']}\n" for row in self.scores)
        _replace(folder / "report.md", "\n".join([*parts, *self.notes, f"\n## Verdicts\n\n{sentences}"]))
        data = {"scores": self.scores, "groups": self.groups, "efficiency": efficiency, "cells": self.costs}
        _replace(folder / "report.json", json.dumps(data, indent=1) + "\n")


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
