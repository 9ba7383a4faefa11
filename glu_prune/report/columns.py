"""The columns of every table that a session can show."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from glu_prune.efficiency.meter import CHANNELS
from glu_prune.judgement.verdict import digits
from glu_prune.report.rows import Row
from glu_prune.report.table import Column


def _field(name: str) -> Callable[[Row], Any]:
    return lambda row: row[name]


def _entry(name: str, key: str) -> Callable[[Row], Any]:
    """The entry `key` of a mapping in a row; None where it has none."""
    return lambda row: row[name].get(key)


def _place(name: str, place: int) -> Callable[[Row], Any]:
    """The entry at `place` of a list in a row."""
    return lambda row: row[name][place]


def _number(digits: int, sign: str = "") -> Callable[[Any], str]:
    return lambda value: "-" if value is None else f"{value:{sign},.{digits}f}"


def _probability(value: float) -> str:
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _pair(digits: int, form: str = "f") -> Callable[[Any], str]:
    """Before and after."""
    return lambda pair: "-" if pair is None else " -> ".join(f"{value:.{digits}{form}}" for value in pair)


_LONG = 999.95
"""From here on four digits are a whole number."""


def _interval(found: Sequence[float] | None) -> str:
    """A mean and its limits to four digits, or to whole numbers where these are longer."""
    if found is None:
        return "-"
    mean, low, high = (f"{value:,.0f}" if abs(value) >= _LONG else f"{value:#.4g}" for value in found)
    return mean if low == high else f"{mean} ({low} to {high})"


def _spread(pair: Sequence[float] | None) -> str:
    return "-" if pair is None else f"{pair[0]:.2f} +- {pair[1]:.2f}"


def _percent(found: Sequence[float] | None) -> str:
    if found is None:
        return "-"
    change, low, high = (_signed(value) for value in found)
    return change if low == high else f"{change} ({low} to {high})"


def _signed(value: float | None) -> str:
    """A change; files have no infinite numbers, so that a limit that is open is None there."""
    return "open" if value is None or not math.isfinite(value) else f"{value:+,.1f}"


def _or_none(show: Callable[[Any], str] = str) -> Callable[[Any], str]:
    """What may not be known."""
    return lambda value: "-" if value is None else show(value)


def _metric(row: Row) -> str:
    return str(row["metric"]) + (" (lower is better)" if row["better"] == "lower" else "")


def _changed(row: Row) -> str:
    """The names of a few items that got worse, or better if none did."""
    kind = "worse" if row["worse"] else "improved"
    names = row[f"{kind}_items"][:_FEW]
    return f"{', '.join(names)}{', ...' if (row[kind] or 0) > len(names) else ''}" or "-"


def _verdict(row: Row) -> str:
    return str(row["outcome"]) + ("" if row["outcome"] == row["declared"] else f" (declared {row['declared']})")


def _adjusted(row: Row) -> float:
    return min(1.0, float(row["p"]) * int(row["tests"]))


_FEW = 3
"""Items that a table names."""
_LIMITS = ("", "low", "high")
_RATIO = Column("ratio", _field("ratio"))
_CAPABILITY = Column("capability", _field("capability"))
_VERDICT = Column("verdict", _verdict)
_JUDGED = (
    Column("p", _field("p"), _probability),
    Column("p, ratios", _adjusted, _probability),
    Column("p, file", _field("holm"), _probability),
    Column("claim", _field("claim")),
    _VERDICT,
    Column("note", _field("note")),
)
"""What every claim at a ratio ends with."""

SCORES = (
    _RATIO,
    _CAPABILITY,
    Column("metric", _metric),
    Column("items", _field("items")),
    Column("floor", _field("floor"), _number(3)),
    Column("of", _field("floor_of"), lambda name: name or "-"),
    Column("dense", _field("dense"), _number(3)),
    Column("pruned", _field("pruned"), _number(3)),
    Column("delta", _field("delta"), _number(3, "+")),
    Column("low", _field("low"), _number(3, "+")),
    Column("high", _field("high"), _number(3, "+")),
    *_JUDGED,
)

AGAINST = (
    Column("arm", _field("arm")),
    _CAPABILITY,
    Column("metric", _metric),
    Column("items", _field("items")),
    Column("before", _field("before"), _or_none(digits)),
    Column("now", _field("after"), _or_none(digits)),
    Column("delta", _field("delta"), _number(3, "+")),
    Column("low", _field("low"), _number(3, "+")),
    Column("high", _field("high"), _number(3, "+")),
    Column("p", _field("p"), _or_none(_probability)),
    Column("better", _field("improved"), _or_none()),
    Column("worse", _field("worse"), _or_none()),
    Column("items that changed", _changed),
    Column("noise band", _field("band"), digits),
    Column("margin", _field("margin"), digits),
    Column("outcome", _field("outcome")),
    Column("note", _field("note")),
)

WHY = (
    _RATIO,
    _CAPABILITY,
    Column("better", _field("gained")),
    Column("worse", _field("lost")),
    Column("margin, nats", _field("margin"), _pair(2)),
    Column("tokens", _field("length"), _pair(1)),
    Column("flawed", _field("flawed"), _pair(0, "%")),
    Column("kinds", _field("kinds"), lambda pair: " -> ".join(pair) if pair else "-"),
    Column("score without", _field("sound"), _pair(3)),
    Column("over", _field("sound_items")),
)

GROUPS = (
    _RATIO,
    _CAPABILITY,
    Column("by", _field("field")),
    Column("group", _field("label")),
    Column("items", _field("items")),
    Column("dense", _field("dense"), _number(3)),
    Column("pruned", _field("pruned"), _number(3)),
)

TRENDS = (
    Column("claim", lambda row: f"{row['about']}: {row['relation']}"),
    Column("ratios", _field("points")),
    Column("found", _field("statistics")),
    Column("because", lambda row: "; ".join(row["reasons"]) or "-"),
    _VERDICT,
)

COST_CLAIMS = (
    _RATIO,
    Column("figure", _field("capability")),
    Column("pairs of runs", _field("items")),
    Column("dense", _field("dense"), digits),
    Column("pruned", _field("pruned"), digits),
    Column("change, %", _place("percent", 0), _number(1, "+")),
    Column("low", _place("percent", 1), _number(1, "+")),
    Column("high", _place("percent", 2), _number(1, "+")),
    *_JUDGED,
)

FINDINGS = (
    Column("check", _field("check")),
    Column("about", _field("subject")),
    Column("ratios", lambda row: ", ".join(row["ratios"]) or "-"),
    Column("finding", _field("says")),
)

EFFICIENCY = (
    _RATIO,
    Column("workload", _field("workload")),
    Column("figure", _field("figure")),
    Column("unit", _field("unit")),
    Column("n", _field("n")),
    Column("dense", _field("dense"), _interval, _LIMITS),
    Column("pruned", _field("pruned"), _interval, _LIMITS),
    Column("change, %", _field("change"), _percent, _LIMITS),
    Column("dense again, %", _field("again"), _percent, _LIMITS),
    Column("how", _field("how")),
)

ENERGY = (
    _RATIO,
    Column("workload", _field("workload")),
    Column("arm", _field("arm")),
    Column("channel", _field("channel")),
    Column("n", _field("n")),
    Column("J per token", _field("gross"), _interval, _LIMITS),
    Column("idle, W", _field("idle"), _spread, ("", "sd")),
    Column("net J per token", _field("net"), _interval, _LIMITS),
    Column("energy is", _field("method")),
)

RECOMPUTED = (
    Column("workload", _field("workload")),
    _RATIO,
    Column("runs", _field("runs")),
    *(
        Column(f"{channel} J per token", _entry("joules", channel), _number(4))
        for channel in ("gpu", "cpu", "ram", "rest", "total")
    ),
)

EVALUATIONS = (
    Column("arm", _field("arm")),
    Column("width", _field("width")),
    Column("expansion ratio", _field("expansion_ratio"), _number(2)),
    Column("parameters", _field("parameters"), _number(0)),
    Column("MB", lambda row: row["bytes"] / 1e6, _number(1)),
    Column("tokens/s", _field("tokens_per_second"), _number(0)),
    Column("J per 1000 tokens", _field("joules_per_1000_tokens"), _number(2)),
    *(Column(f"{channel} J", _entry("joules", channel), _number(1)) for channel in CHANNELS),
    Column("others", _field("others"), lambda share: "-" if share is None else f"{share:.0%}"),
    Column("energy is", _field("method")),
)


def score_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """The columns of a score table: after `pruned` each control, after `items` their total if that was not the aim."""
    controls = dict.fromkeys(name for row in rows for name in row["controls"])
    extra = tuple(Column(name, _entry("controls", name), _number(3)) for name in controls)
    every = (Column("of all", _field("of")),) if any(row["of"] is not None for row in rows) else ()
    items, delta = (_place_of(name) + 1 for name in ("items", "pruned"))
    return SCORES[:items] + every + SCORES[items:delta] + extra + SCORES[delta:]


def _place_of(name: str) -> int:
    return next(index for index, column in enumerate(SCORES) if column.name == name)
