"""Figures of choices: what candidates cost and what each capability loses, beside what it may lose."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from glu_prune.report.choices import candidate_name
from glu_prune.report.lines import number
from glu_prune.report.page.figure import INK, Figure, base, file_name
from glu_prune.report.page.labels import PLACE, apart, between, told
from glu_prune.results.choices import ChoiceResult
from glu_prune.results.report import Report

if TYPE_CHECKING:
    import altair as alt

_COLOURS = {
    "chosen": "#1BA37A",
    "certified": "#3C8DD9",
    "failed": "#D55E00",
    "not tested": "#C79A00",
    "beaten": "#8A8A8A",
    "unlikely": "#B07AA1",
    "lost too much": "#8B2F7C",
}
_SHAPES = ("diamond", "circle", "cross", "triangle-up", "square", "triangle-down", "triangle-left")
_SIZE = (270, 200)
"""Pixels of a figure."""
_NAMES = 90
"""Pixels of the longest name in it."""


def choices(report: Report) -> Iterator[Figure]:
    """A figure for each capability that a choice is to keep."""
    for choice in report.choices:
        for place, first in enumerate(choice.candidates[0].search if choice.candidates else ()):
            rows = list(_points(choice, place))
            caption = (
                f"Change of {first.capability} ({first.metric}) from the dense model against {choice.minimise}, for "
                "each pruning that was tried: on the certification half where it was tested there, else on the search "
                f"half, with its 95 % interval. Below the dashed line more is lost than {first.margin:g}. "
                f"{choice.chosen or 'Nothing'} is chosen at {choice.confidence:g}."
            )
            title = f"{choice.model}, chosen for {choice.minimise}: {first.capability.replace('_', ' ')}"
            yield Figure(file_name("choice", f"{choice.model}-{first.capability}"), title, caption, rows, _draw)


def _points(choice: ChoiceResult, place: int) -> Iterator[dict[str, Any]]:
    for each in choice.candidates:
        looked = (each.certification or each.search)[place]
        sign = 1 if looked.better == "higher" else -1
        change, low, high = (each if each is None else sign * each for each in (looked.delta, looked.low, looked.high))
        share = None if each.cost is None or not choice.dense_cost else 100 * each.cost / choice.dense_cost
        yield {
            "candidate": candidate_name(each), "state": each.state, "change": change, "low": low, "high": high,
            "cost": each.bytes if share is None else share,
            "axis": "bytes" if share is None else f"{choice.minimise.replace('_', ' ')}, % of the dense model's",
            "margin": -looked.margin,
            "tip": told(
                candidate_name(each), each.state, f"change {number(change)}", between(low, high),
                "certification half" if each.certification else "search half",
            ),
        }  # fmt: skip


def _draw(rows: Sequence[dict[str, Any]]) -> "alt.TopLevelMixin":
    import altair as alt

    there = [state for state in _COLOURS if any(row["state"] == state for row in rows)]
    shapes = dict(zip(_COLOURS, _SHAPES, strict=True))
    x = alt.X("cost:Q", title=rows[0]["axis"], scale=alt.Scale(zero=False, padding=40))
    y = alt.Y("change:Q", title="change, up is better")
    colour = alt.Color("state:N", title=None, scale=alt.Scale(domain=there, range=[_COLOURS[each] for each in there]))
    shape = alt.Shape("state:N", title=None, scale=alt.Scale(domain=there, range=[shapes[each] for each in there]))
    title = "change, up is better"
    limits = {"y": alt.Y("low:Q", title=title), "y2": "high:Q"}
    names = apart([row for row in rows if row["change"] is not None], "cost", "change", _SIZE, _NAMES)
    margin = base(rows[:1]).mark_rule(strokeDash=[4, 4], color=INK).encode(y=alt.Y("margin:Q", title=title))
    bars = base([row for row in rows if row["low"] is not None]).mark_rule(opacity=0.5)
    points = base(rows).mark_point(filled=True, size=70, opacity=1)
    return alt.layer(
        margin,
        bars.encode(x=x, color=colour, **limits),
        points.encode(x=x, y=y, color=colour, shape=shape, tooltip="tip:N"),
        base(names)
        .mark_text(align="left", dx=7, fontSize=10, limit=_NAMES)
        .encode(x=x, y=alt.Y(f"{PLACE}:Q", title=title), text="candidate:N", tooltip="tip:N"),
    ).properties(width=_SIZE[0], height=_SIZE[1])
