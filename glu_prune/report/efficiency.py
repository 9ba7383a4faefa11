"""What each arm cost: one row per model and arm from the cells that ran."""

from collections.abc import Iterable, Sequence
from typing import Any

from glu_prune.report.rows import Row


def efficiency_rows(costs: Iterable[Row]) -> list[dict[str, Any]]:
    """One row per model and arm from the cost rows of its cells.

    Speed and energy per token are taken over the log-likelihood tasks that all arms of a model have in common: there
    every arm does the same work. Generated text differs in length between arms, so per-token figures over it mislead.
    """
    cells = {(row["model"], row["arm"], row["task"]): row for row in costs}
    rows = []
    for model, arm in dict.fromkeys((model, arm) for model, arm, _ in cells):
        arms = {other for name, other, _ in cells if name == model}
        tasks = {task for name, other, task in cells if (name, other) == (model, arm)}
        mine = [cells[model, arm, task] for task in sorted(tasks)]
        alike = [
            row["cost"]
            for row in mine
            if row["cost"]["scored_positions"] == row["cost"]["positions"]
            and all((model, other, row["task"]) in cells for other in arms)
        ]
        rows.append({"model": model, "arm": arm, **mine[0]["size"], **_totals(mine, alike)})
    return rows


def _totals(cells: Sequence[Row], alike: Sequence[Row]) -> dict[str, Any]:
    tokens = sum(cost["positions"] for cost in alike)
    seconds = sum(cost["seconds"] for cost in alike)
    metered = bool(cells) and all(row["cost"]["energy"] for row in cells)
    channels = dict.fromkeys(channel for row in cells for channel in row["cost"]["energy"]) if metered else {}
    methods = {
        channel: {row["cost"]["energy"][channel]["method"] for row in cells if channel in row["cost"]["energy"]}
        for channel in channels
    }
    energy = sum(reading["joules"] for cost in alike for reading in cost["energy"].values())
    notes = dict.fromkeys(row["cost"]["note"] for row in cells if row["cost"]["note"])
    return {
        "tokens_per_second": tokens / seconds if tokens else None,
        "joules_per_1000_tokens": 1000 * energy / tokens if tokens and metered else None,
        "joules": {
            channel: sum(row["cost"]["energy"][channel]["joules"] for row in cells if channel in row["cost"]["energy"])
            for channel in channels
        },
        "method": ", ".join(f"{c}: {'/'.join(sorted(m))}" for c, m in methods.items()) or "; ".join(notes) or "-",
    }
