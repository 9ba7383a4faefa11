"""Figures of two runs, before and after: by how much each capability changed on the same items."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from glu_prune.report.lines import number
from glu_prune.report.page.figure import INK, Figure, base, file_name
from glu_prune.report.page.labels import between, told
from glu_prune.results.baselines import BaselineResult
from glu_prune.results.report import Report

if TYPE_CHECKING:
    import altair as alt

_COLOURS = {
    "regressed": "#D55E00",
    "allowed": "#E69F00",
    "improved": "#1BA37A",
    "not shown": "#8A8A8A",
    "unchanged": "#3C8DD9",
}
"""Told apart by the colour-blind; shapes tell them, too."""
_SHAPES = ("cross", "triangle-down", "triangle-up", "circle", "square")


def changes(report: Report) -> Iterator[Figure]:
    """A figure for each model and what it was compared with: every capability of every arm that could be compared."""
    rows = [row for row in report.baseline if row.delta is not None]
    for about in dict.fromkeys((row.model, row.against) for row in rows):
        yield _of(*about, [row for row in rows if (row.model, row.against) == about])


def _of(model: str, against: str, rows: Sequence[BaselineResult]) -> Figure:
    caption = (
        f"Score now minus score in {against} on the same items (nats for perplexities), with its 95 % interval; right "
        "is better. Verdict by the test that fits the metric, p corrected for all that was compared; not shown: "
        "neither a change nor its absence is shown."
    )
    drawn = [_point(row) for row in rows]
    return Figure(
        file_name("since", f"{model} {against}"), f"{model}: what changed since {against}", caption, drawn, _draw
    )


def _point(row: BaselineResult) -> dict[str, Any]:
    better = 1 if row.better == "higher" else -1
    change, low, high = (None if each is None else better * each for each in (row.delta, row.low, row.high))
    if better < 0:
        low, high = high, low
    return {
        "what": f"{row.capability}, {row.arm}", "change": change, "low": low, "high": high,
        "outcome": row.outcome,
        "tip": told(
            f"{row.capability}, {row.arm}", f"{number(row.before)} -> {number(row.after)}",
            f"change {number(change)} ({between(low, high)})", f"{row.items:,} items", row.outcome,
        ),
    }  # fmt: skip


def _draw(rows: Sequence[dict[str, Any]]) -> "alt.TopLevelMixin":
    import altair as alt

    there = [outcome for outcome in _COLOURS if any(row["outcome"] == outcome for row in rows)]
    shapes = dict(zip(_COLOURS, _SHAPES, strict=True))
    x = alt.X("change:Q", title="change, right is better")
    y = alt.Y("what:N", title=None, axis=alt.Axis(labelLimit=220))
    colour = alt.Color("outcome:N", title=None, scale=alt.Scale(domain=there, range=[_COLOURS[each] for each in there]))
    shape = alt.Shape("outcome:N", title=None, scale=alt.Scale(domain=there, range=[shapes[each] for each in there]))
    limits = {"x": alt.X("low:Q", title="change, right is better"), "x2": "high:Q"}
    bars = base([row for row in rows if row["low"] is not None]).mark_rule().encode(y=y, color=colour, **limits)
    points = (
        base(rows)
        .mark_point(filled=True, size=45, opacity=1)
        .encode(x=x, y=y, color=colour, shape=shape, tooltip="tip:N")
    )
    zero = base([{"change": 0}]).mark_rule(strokeDash=[4, 4], color=INK).encode(x=x)
    return alt.layer(zero, bars, points).properties(width=200, height=alt.Step(14))
