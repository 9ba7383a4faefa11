"""Rows of a session as tables: lists of columns over rows, computed here and nowhere else; renderers only print."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glu_prune.efficiency.meter import CHANNELS

if TYPE_CHECKING:
    import pandas as pd

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """One column: its heading, its value in a row, and how that is written for people."""

    name: str
    get: Callable[[Row], Any]
    show: Callable[[Any], str] = str


def _field(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


def _entry(name: str, key: str) -> Callable[[Row], Any]:
    """The entry `key` of a mapping in a row; None where it has none."""
    return lambda row: row[name].get(key)


def _number(digits: int, sign: str = "") -> Callable[[Any], str]:
    return lambda value: "-" if value is None else f"{value:{sign},.{digits}f}"


def _probability(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _verdict(row: Row) -> str:
    return str(row["outcome"]) + ("" if row["outcome"] == row["declared"] else f" (declared {row['declared']})")


SCORES = (
    Column("ratio", _field("ratio")),
    Column("capability", _field("capability")),
    Column("metric", lambda row: row["metric"] + (" (lower is better)" if row["better"] == "lower" else "")),
    Column("items", _field("items")),
    Column("chance", _field("chance"), _number(2)),
    Column("dense", _field("dense"), _number(3)),
    Column("pruned", _field("pruned"), _number(3)),
    Column("delta", _field("delta"), _number(3, "+")),
    Column("low", _field("low"), _number(3, "+")),
    Column("high", _field("high"), _number(3, "+")),
    Column("p", _field("p"), _probability),
    Column("claim", _field("claim")),
    Column("verdict", _verdict),
)

GROUPS = (
    Column("ratio", _field("ratio")),
    Column("capability", _field("capability")),
    Column("group", _field("group")),
    Column("items", _field("items")),
    Column("dense", _field("dense"), _number(3)),
    Column("pruned", _field("pruned"), _number(3)),
)

EFFICIENCY = (
    Column("arm", _field("arm")),
    Column("width", _field("width")),
    Column("expansion ratio", _field("expansion_ratio"), _number(2)),
    Column("parameters", _field("parameters"), _number(0)),
    Column("MB", lambda row: row["bytes"] / 1e6, _number(1)),
    Column("tokens/s", _field("tokens_per_second"), _number(0)),
    Column("J per 1000 tokens", _field("joules_per_1000_tokens"), _number(2)),
    *(Column(f"{channel} J", _entry("joules", channel), _number(1)) for channel in CHANNELS),
    Column("energy is", _field("method")),
)


def score_columns(rows: Iterable[Row]) -> tuple[Column, ...]:
    """The columns of a score table, with one after `pruned` for each control in `rows`."""
    controls = dict.fromkeys(name for row in rows for name in row["controls"])
    extra = tuple(Column(name, _entry("controls", name), _number(3)) for name in controls)
    place = next(index for index, column in enumerate(SCORES) if column.name == "delta")
    return SCORES[:place] + extra + SCORES[place:]


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


def frame(columns: Sequence[Column], rows: Iterable[Row]) -> "pd.DataFrame":
    """`rows` as a data frame of plain values."""
    import pandas as pd

    return pd.DataFrame([{c.name: c.get(row) for c in columns} for row in rows], columns=[c.name for c in columns])


def render(columns: Sequence[Column], rows: Iterable[Row], style: str) -> str:
    """`rows` as text: style `simple` for terminals, `pipe` for Markdown."""
    from tabulate import tabulate

    cells = [[column.show(column.get(row)) for column in columns] for row in rows]
    return tabulate(cells, [column.name for column in columns], tablefmt=style, disable_numparse=True)
