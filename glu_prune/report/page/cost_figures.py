"""Figures of cost: changes as judged and measured, and capability against cost."""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from glu_prune.pruning.ratio import show_ratio
from glu_prune.report.lines import number
from glu_prune.report.page.figure import INK, MEASURED, Figure, base, by_model, by_verdict, file_name, is_perplexity
from glu_prune.report.page.labels import PLACE, apart, between, told
from glu_prune.results.claims import CapabilityResult
from glu_prune.results.report import Report

if TYPE_CHECKING:
    import altair as alt

_DENSE = show_ratio(Decimal(0))
_SIZE = (270, 220)
"""Pixels of a front."""
_ARMS = 60
"""Pixels of the longest name in it."""
_COSTS = ("joules_per_token", "time_per_output_token")
"""Figures of cost, beside size, that capabilities are shown against."""


def _sizes(report: Report) -> dict[tuple[str, str], float]:
    """Megabytes of the weights by model and arm."""
    return {(cell.model, cell.at): cell.size.bytes / 1e6 for cell in report.cells if not cell.control}


def _measured(report: Report, figure: str, workload: str) -> dict[tuple[str, str], float]:
    """By how many percent a figure of cost changed, by model and arm.

    Not what was measured itself: arms were measured in turns with the dense model, but not all in one run.
    """
    found: dict[tuple[str, str], float] = {}
    for row in report.efficiency:
        if (row.figure, row.workload) == (figure, workload) and row.change is not None and row.change[0] is not None:
            found[row.model, _DENSE] = 0.0
            found[row.model, row.at] = row.change[0]
    return found


def fronts(report: Report, scores: Sequence[CapabilityResult]) -> Iterator[Figure]:
    """Each capability against each cost that is known: size, energy and time."""
    known = {("size", "weights, MB", "weights, MB"): _sizes(report)}
    for row in report.efficiency:
        if row.figure in _COSTS:
            words = row.figure.replace("_", " ")
            about = f"{row.figure} {row.workload}", f"change of {words} ({row.workload})", f"change of {words}, %"
            known[about] = known.get(about) or _measured(report, row.figure, row.workload)
    for (name, title, axis), values in known.items():
        if rows := list(_on_front(scores, values)):
            caption = (
                "Score against cost; up and left is better. An arm lies on the front where no other is cheaper and "
                "better; dashed: what answers without content score at best."
            )
            draw = partial(_draw_front, title=axis)
            yield Figure(file_name("front", name), f"capability against {title}", caption, rows, draw)


def _on_front(scores: Sequence[CapabilityResult], costs: Mapping[tuple[str, str], float]) -> Iterator[dict[str, Any]]:
    """A point for each capability of each arm of which the cost is known, the dense one once."""
    seen = set()
    for row in scores:
        for at, score in ((_DENSE, row.dense), (row.at, row.pruned)):
            cost, key = costs.get((row.model, at)), (row.model, row.capability, at)
            if cost is not None and row.floor is not None and not is_perplexity(row) and key not in seen:
                seen.add(key)
                about: dict[str, Any] = {
                    "model": row.model,
                    "capability": row.capability,
                    "arm": "dense" if at == _DENSE else at,
                    "joined": at == _DENSE or not row.named,
                }
                tip = told(row.model, about["arm"], f"score {number(score)}", f"cost {number(cost)}")
                yield {**about, "cost": cost, "score": score, "floor": row.floor, "tip": tip}


def _draw_front(rows: Sequence[dict[str, Any]], title: str) -> "alt.TopLevelMixin":
    import altair as alt

    names = list(dict.fromkeys(row["capability"] for row in rows))
    placed = [
        each
        for name in names
        for each in apart([row for row in rows if row["capability"] == name], "cost", "score", _SIZE, _ARMS)
    ]
    choice = alt.binding_select(options=names, name="capability ")
    chosen = alt.selection_point(name="capability", fields=["capability"], value=names[0], bind=choice)
    y = alt.Y("score:Q", scale=alt.Scale(zero=False), title="score")
    at = {"x": alt.X("cost:Q", title=title, scale=alt.Scale(zero=False, padding=24)), "y": y, "color": by_model()}
    chart, place = (
        base(placed).transform_filter(chosen),
        alt.Y(f"{PLACE}:Q", scale=alt.Scale(zero=False), title="score"),
    )
    return (
        alt.layer(
            chart.transform_filter("datum.joined").mark_line(opacity=0.4).encode(**at, order="cost:Q"),
            chart.mark_point(filled=True, size=70, opacity=1).encode(**at, tooltip="tip:N"),
            chart.mark_text(dy=-10, limit=_ARMS).encode(x=at["x"], y=place, text="arm:N", tooltip="tip:N"),
            chart.mark_rule(strokeDash=[4, 4]).encode(y=alt.Y("floor:Q", title="score"), color=by_model()),
        )
        .add_params(chosen)
        .properties(width=_SIZE[0], height=_SIZE[1])
    )


def costs(report: Report) -> Iterator[Figure]:
    """Changes of figures of cost: as claims were judged, and as they were measured."""
    judged = [(row.model, row.capability, row.at, row.percent, row.outcome, "", row.note) for row in report.costs]
    measured = [
        (row.model, f"{row.figure} ({row.workload})", row.at, row.change, MEASURED, row.how, "")
        for row in report.efficiency
        if row.change is not None
    ]
    rows: list[dict[str, Any]] = []
    for model, figure, at, (change, low, high), verdict, how, spoilt in (*judged, *measured):
        about = {"model": model, "figure": figure, "arm": at, "verdict": verdict, "spoilt": spoilt}
        interval = f"({between(low, high)})" if between(low, high) else ""
        tip = told(f"{model} {at}", f"{number(change)} % {interval}".rstrip(), verdict, how, spoilt)
        rows.append({**about, "change": change, "low": low, "high": high, "tip": tip})
    for figure in dict.fromkeys(row["figure"] for row in rows):
        mine = [row for row in rows if row["figure"] == figure]
        spoilt = ", ".join(dict.fromkeys(row["spoilt"] for row in mine if row["spoilt"]))
        caption = (
            "Change from the dense model in percent, with its 95 % interval over pairs of runs; shapes: the verdict, "
            f"where one was claimed.{f' What is wrong with these figures: {spoilt}.' if spoilt else ''}"
        )
        yield Figure(file_name("cost", figure), figure, caption, mine, _draw_cost)


def _draw_cost(rows: Sequence[dict[str, Any]]) -> "alt.TopLevelMixin":
    import altair as alt

    title = "change, %"
    x = alt.X("arm:N", title="share of neurons removed, or arm", sort=None, axis=alt.Axis(labelAngle=0))
    y, colour = alt.Y("change:Q", title=title), by_model()
    return alt.layer(
        base([{"zero": 0}]).mark_rule(strokeDash=[4, 4], color=INK).encode(y=alt.Y("zero:Q", title=title)),
        base(rows).mark_rule().encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q", color=colour),
        base(rows)
        .mark_point(filled=True, size=70, opacity=1)
        .encode(x=x, y=y, color=colour, shape=by_verdict(rows), tooltip="tip:N"),
    ).properties(width=270, height=180)
