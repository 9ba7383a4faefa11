"""The columns of every table that a session can show."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from glu_prune.efficiency.meter import CHANNELS
from glu_prune.evidence.recompute import SHOWN
from glu_prune.judgement.verdict import digits
from glu_prune.pruning.ratio import show_ratio
from glu_prune.report.table import Column
from glu_prune.results.base import OfArm
from glu_prune.results.baselines import BaselineResult
from glu_prune.results.choices import ChoiceResult
from glu_prune.results.claims import ArmResult, CapabilityResult, ClaimResult, CostResult, DistanceResult, TrendResult
from glu_prune.results.costs import ChannelEnergy, EvaluationCost, FigureResult, RecomputedEnergy
from glu_prune.results.curves import CurvePoint
from glu_prune.results.explanations import Explanation, GroupScores
from glu_prune.results.findings import Finding


class _OfCapability(Protocol):
    @property
    def capability(self) -> str: ...


def _number(digits: int, sign: str = "") -> Callable[[Any], str]:
    return lambda value: "-" if value is None else f"{value:{sign},.{digits}f}"


def probability(value: float) -> str:
    """A p to three decimals."""
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


def _share(found: Sequence[float] | None) -> str:
    return "-" if found is None else f"{found[0]:.1%} ({found[1]:.1%} to {found[2]:.1%})"


def _change(found: Sequence[float] | None) -> str:
    return "-" if found is None else f"{found[0]:+.3f} ({found[1]:+.3f} to {found[2]:+.3f})"


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


def _metric(row: CapabilityResult | BaselineResult) -> str:
    return row.metric + (" (lower is better)" if row.better == "lower" else "")


def _changed(row: BaselineResult) -> str:
    """The names of a few items that got worse, or better if none did."""
    names, count = (row.worse_items, row.worse) if row.worse else (row.improved_items, row.improved)
    few = names[:_FEW]
    return f"{', '.join(few)}{', ...' if (count or 0) > len(few) else ''}" or "-"


def _verdict(row: ClaimResult) -> str:
    return row.outcome + ("" if row.outcome == row.declared else f" (declared {row.declared})")


def _at(row: OfArm | CurvePoint | RecomputedEnergy) -> str:
    return row.at if isinstance(row, OfArm) else show_ratio(row.ratio)


def keep(row: ChoiceResult) -> str:
    """What is to be kept, each within its margin."""
    tried = row.candidates[0].search if row.candidates else ()
    return ", ".join(f"{each.capability} -{each.margin:g}" for each in tried) or "-"


def _claimed(row: ArmResult) -> str:
    return f"{row.claim} vs {row.against}" if row.against else row.claim


_FEW = 3
"""Items that a table names."""
_LIMITS = ("", "low", "high")
_RATIO = Column("ratio", _at, key=True)
_CAPABILITY = Column[_OfCapability]("capability", lambda row: row.capability, key=True)
_VERDICT = Column("verdict", _verdict)
_NOTE = Column[ArmResult]("note", lambda row: row.note)
_TESTED: tuple[Column[ArmResult], ...] = (
    Column("p", lambda row: row.p, probability),
    Column("p, ratios", lambda row: row.p_ratios, probability),
    Column("p, file", lambda row: row.holm, _or_none(probability)),
)
"""What every claim at a ratio is tested by."""
_JUDGED: tuple[Column[ArmResult], ...] = (*_TESTED, Column("claim", _claimed), _VERDICT, _NOTE)
"""What every claim about a change ends with."""

SCORES: tuple[Column[CapabilityResult], ...] = (
    _RATIO,
    _CAPABILITY,
    Column("metric", _metric),
    Column("items", lambda row: row.items),
    Column("floor", lambda row: row.floor, _number(3)),
    Column("of", lambda row: row.floor_of, lambda name: name or "-"),
    Column("dense", lambda row: row.dense, _number(3)),
    Column("pruned", lambda row: row.pruned, _number(3)),
    Column("delta", lambda row: row.delta, _number(3, "+")),
    Column("low", lambda row: row.low, _number(3, "+")),
    Column("high", lambda row: row.high, _number(3, "+")),
    *_JUDGED,
)

DISTANCES: tuple[Column[DistanceResult], ...] = (
    _RATIO,
    _CAPABILITY,
    Column("distance", lambda row: row.distance),
    Column("items", lambda row: row.items),
    Column("value", lambda row: row.value, _or_none(digits)),
    Column("low", lambda row: row.low, _or_none(digits)),
    Column("high", lambda row: row.high, _or_none(digits)),
    Column("at most", lambda row: row.at_most, digits),
    *_TESTED,
    _VERDICT,
    _NOTE,
)

AGAINST: tuple[Column[BaselineResult], ...] = (
    Column("arm", lambda row: row.arm, key=True),
    _CAPABILITY,
    Column("metric", _metric),
    Column("items", lambda row: row.items),
    Column("before", lambda row: row.before, _or_none(digits)),
    Column("now", lambda row: row.after, _or_none(digits)),
    Column("delta", lambda row: row.delta, _number(3, "+")),
    Column("low", lambda row: row.low, _number(3, "+")),
    Column("high", lambda row: row.high, _number(3, "+")),
    Column("p", lambda row: row.p, _or_none(probability)),
    Column("finds", lambda row: row.catches, _or_none(digits)),
    Column("better", lambda row: row.improved, _or_none()),
    Column("worse", lambda row: row.worse, _or_none()),
    Column("items that changed", _changed),
    Column("noise band", lambda row: row.band, digits),
    Column("margin", lambda row: row.margin, digits),
    Column("outcome", lambda row: row.outcome),
    Column("note", lambda row: row.note),
)


WHY: tuple[Column[Explanation], ...] = (
    _RATIO,
    _CAPABILITY,
    Column("better", lambda row: row.gained),
    Column("worse", lambda row: row.lost),
    Column("other answers", lambda row: row.flips, _share, _LIMITS),
    Column("commonest answer", lambda row: row.commonest, lambda pair: " -> ".join(pair) if pair else "-"),
    Column("margin, nats", lambda row: row.margin, _pair(2)),
    Column("tokens", lambda row: row.length, _pair(1)),
    Column("flawed", lambda row: row.flawed, _pair(0, "%")),
    Column("kinds", lambda row: row.kinds, lambda pair: " -> ".join(pair) if pair else "-"),
    Column("score without", lambda row: row.sound, _pair(3)),
    Column("over", lambda row: row.sound_items),
    Column("delta at matched length", lambda row: row.matched, _change, _LIMITS),
    Column("of matched length", lambda row: row.matched_items),
)

GROUPS: tuple[Column[GroupScores], ...] = (
    _RATIO,
    _CAPABILITY,
    Column("by", lambda row: row.field),
    Column("group", lambda row: row.label),
    Column("items", lambda row: row.items),
    Column("dense", lambda row: row.dense, _number(3)),
    Column("pruned", lambda row: row.pruned, _number(3)),
)

TRENDS: tuple[Column[TrendResult], ...] = (
    Column("claim", lambda row: f"{row.about}: {row.relation}", key=True),
    Column("ratios", lambda row: row.points),
    Column("found", lambda row: row.statistics),
    Column("because", lambda row: "; ".join(row.reasons) or "-"),
    _VERDICT,
)

CHOICES: tuple[Column[ChoiceResult], ...] = (
    Column("keep", lambda row: keep(row), key=True),
    Column("minimise", lambda row: row.minimise),
    Column("chosen", lambda row: row.chosen or "-"),
    Column("dense", lambda row: row.dense_cost, _or_none("{:,.4g}".format)),
    Column("cost", lambda row: row.cost, _or_none("{:,.4g}".format)),
    Column("certified", lambda row: sum(each.state in ("certified", "chosen") for each in row.candidates)),
    Column("candidates", lambda row: len(row.candidates)),
    Column("confidence", lambda row: row.confidence, "{:g}".format),
    _VERDICT,
)

CURVES: tuple[Column[CurvePoint], ...] = (
    Column("criterion", lambda row: row.criterion, key=True),
    _CAPABILITY,
    Column("metric", lambda row: row.metric),
    _RATIO,
    Column("dense", lambda row: row.dense, _number(3)),
    Column("score", lambda row: row.score, _number(3)),
    Column("delta", lambda row: row.delta, _number(3, "+")),
    Column("low", lambda row: row.low, _number(3, "+")),
    Column("high", lambda row: row.high, _number(3, "+")),
    Column("band low", lambda row: row.band_low, _number(3, "+")),
    Column("band high", lambda row: row.band_high, _number(3, "+")),
    Column("floor", lambda row: row.floor, _number(3)),
    Column("chance", lambda row: row.chance, _number(3)),
    Column("items", lambda row: row.items),
    Column("units", lambda row: row.units),
    Column("ratios", lambda row: row.ratios),
)

COST_CLAIMS: tuple[Column[CostResult], ...] = (
    _RATIO,
    Column("figure", lambda row: row.capability, key=True),
    Column("pairs of runs", lambda row: row.items),
    Column("dense", lambda row: row.dense, digits),
    Column("pruned", lambda row: row.pruned, digits),
    Column("change, %", lambda row: row.percent[0], _number(1, "+")),
    Column("low", lambda row: row.percent[1], _number(1, "+")),
    Column("high", lambda row: row.percent[2], _number(1, "+")),
    *_JUDGED,
)

FINDINGS: tuple[Column[Finding], ...] = (
    Column("check", lambda row: row.check, key=True),
    Column("about", lambda row: row.subject),
    Column("ratios", lambda row: ", ".join(map(show_ratio, row.ratios)) or "-"),
    Column("finding", lambda row: row.says),
)

EFFICIENCY: tuple[Column[FigureResult], ...] = (
    _RATIO,
    Column("workload", lambda row: row.workload, key=True),
    Column("figure", lambda row: row.figure, key=True),
    Column("unit", lambda row: row.unit),
    Column("n", lambda row: row.n),
    Column("dense", lambda row: row.dense, _interval, _LIMITS),
    Column("pruned", lambda row: row.pruned, _interval, _LIMITS),
    Column("change, %", lambda row: row.change, _percent, _LIMITS),
    Column("dense again, %", lambda row: row.replicate, _percent, _LIMITS),
    Column("how", lambda row: row.how),
)

ENERGY: tuple[Column[ChannelEnergy], ...] = (
    _RATIO,
    Column("workload", lambda row: row.workload, key=True),
    Column("arm", lambda row: row.arm, key=True),
    Column("channel", lambda row: row.channel, key=True),
    Column("n", lambda row: row.n),
    Column("J per token", lambda row: row.gross, _interval, _LIMITS),
    Column("idle, W", lambda row: row.idle, _spread, ("", "sd")),
    Column("net J per token", lambda row: row.net, _interval, _LIMITS),
    Column("energy is", lambda row: row.method),
)


def _joules(channel: str) -> Callable[[RecomputedEnergy | EvaluationCost], float | None]:
    return lambda row: row.joules.get(channel)


RECOMPUTED: tuple[Column[RecomputedEnergy], ...] = (
    Column("workload", lambda row: row.workload, key=True),
    _RATIO,
    Column("runs", lambda row: row.runs),
    *(Column(f"{channel} J per token", _joules(channel), _number(4)) for channel in SHOWN),
)

EVALUATIONS: tuple[Column[EvaluationCost], ...] = (
    Column("arm", lambda row: row.arm, key=True),
    Column("width", lambda row: row.width),
    Column("expansion ratio", lambda row: row.expansion_ratio, _number(2)),
    Column("parameters", lambda row: row.parameters, _number(0)),
    Column("dtype", lambda row: row.dtype),
    Column("MB", lambda row: row.megabytes, _number(1)),
    Column("tokens/s", lambda row: row.tokens_per_second, _number(0)),
    Column("J per 1000 tokens", lambda row: row.joules_per_1000_tokens, _number(2)),
    *(Column(f"{channel} J", _joules(channel), _number(1)) for channel in CHANNELS),
    Column("others", lambda row: row.other_load, lambda share: "-" if share is None else f"{share:.0%}"),
    Column("energy is", lambda row: row.method),
)


def _control(name: str) -> Callable[[CapabilityResult], float | None]:
    return lambda row: row.controls.get(name)


def score_columns(rows: Sequence[CapabilityResult]) -> tuple[Column[CapabilityResult], ...]:
    """The columns of a score table: after `pruned` each control, after `items` their total if that was not the aim."""
    controls = dict.fromkeys(name for row in rows for name in row.controls)
    extra = tuple(Column(name, _control(name), _number(3)) for name in controls)
    partial = any(row.total_items is not None for row in rows)
    every: tuple[Column[CapabilityResult], ...] = (Column("of all", lambda row: row.total_items),) if partial else ()
    items, delta = (_place_of(name) + 1 for name in ("items", "pruned"))
    return SCORES[:items] + every + SCORES[items:delta] + extra + SCORES[delta:]


def _place_of(name: str) -> int:
    return next(index for index, column in enumerate(SCORES) if column.name == name)
