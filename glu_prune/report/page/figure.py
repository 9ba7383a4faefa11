"""A figure: its data, its words, how it is drawn, and what files it becomes."""

import json
import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

from glu_prune.clean import one_line
from glu_prune.results.claims import CapabilityResult

if TYPE_CHECKING:
    import altair as alt

_SHAPES = {"confirmed": "circle", "refuted": "cross", "artefact": "diamond", "inconclusive": "triangle-up"}
_CONTROLS = ("triangle-down", "triangle-right", "triangle-left", "stroke", "M-.7,-.7L.7,.7M-.7,.7L.7,-.7")
_MODELS = ("#3C8DD9", "#D98200", "#1BA37A", "#C2689A", "#8A8A8A", "#7B6FD0")
"""Seen on light and on dark ground."""
INK = "currentColor"
_APART = 0.04
"""Shares of neurons between labels of an axis."""


@dataclass(frozen=True)
class Figure:
    """One figure."""

    name: str
    """Of its file, and of its place in the page."""
    title: str
    caption: str
    """What is shown, of how many items, by which test and correction."""
    rows: Sequence[dict[str, Any]]
    """What is drawn."""
    draw: "Callable[[Sequence[dict[str, Any]]], alt.TopLevelMixin]"
    models: Sequence[str] = ()
    """All of the report: each has its colour in every figure."""

    def spec(self) -> dict[str, Any]:
        """Its specification, with its data."""
        # A control character in a name is no XML, and ends the process of the converter.
        rows = [
            {key: one_line(each) if isinstance(each, str) else each for key, each in row.items()} for row in self.rows
        ]
        found: dict[str, Any] = _dressed(self.draw(rows)).to_dict()
        there = {row.get("model") for row in rows}
        _colour(
            found, {one_line(model): colour for model, colour in zip(self.models, cycle(_MODELS), strict=False)}, there
        )
        return found


def _colour(spec: Any, colours: Mapping[str, str], there: Collection[object]) -> None:
    """Gives models that are `there` their own colours, wherever a colour stands for a model."""
    if isinstance(spec, dict):
        scale = spec.get("scale")
        if spec.get("field") == "model" and scale and scale.get("range") == list(_MODELS):
            mine = {model: colour for model, colour in colours.items() if model in there}
            scale |= {"domain": [*mine], "range": [*mine.values()]} if mine else {}
        for each in spec.values():
            _colour(each, colours, there)
    elif isinstance(spec, list):
        for each in spec:
            _colour(each, colours, there)


def written(figure: Figure, form: str) -> str | bytes:
    """A figure as the content of a file: `svg`, `pdf` or `png`."""
    import vl_convert

    spec = _black(figure.spec())
    if form == "svg":
        return str(vl_convert.vegalite_to_svg({**spec, "background": "white"}))
    if form == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(spec))
    return bytes(vl_convert.vegalite_to_png({**spec, "background": "white"}, scale=2))


def _black(spec: dict[str, Any]) -> dict[str, Any]:
    """`spec` for paper, where nothing says which colour text has."""
    found: dict[str, Any] = json.loads(json.dumps(spec).replace(INK, "black"))
    return found


def file_name(kind: str, about: str) -> str:
    """A name that is no place and no option, whatever it is about."""
    return f"{kind}-{re.sub(r'[^A-Za-z0-9_]+', '-', about).strip('-')}"


def is_perplexity(row: CapabilityResult) -> bool:
    """Whether changes are in nats, so that they multiply the score."""
    return "perplexity" in row.metric


def beside(row: CapabilityResult, change: float | None) -> float | None:
    """The score that is `change` away from that of the dense model."""
    if change is None or row.dense is None or not math.isfinite(change):
        return None
    return row.dense * math.exp(change) if is_perplexity(row) else row.dense + change


def floors(rows: Sequence[CapabilityResult]) -> Iterator[dict[str, Any]]:
    """A line for each floor, once where models share it, with what scores so."""
    for score in dict.fromkeys(row.floor for row in rows if row.floor is not None):
        names = dict.fromkeys(row.floor_of for row in rows if row.floor == score and row.floor_of)
        said = f"no content: {', '.join(names) or 'floor'}"
        yield {"kind": "floor", "score": score, "answers": said, "tip": f"{said} {score:,.3f}"}


def floor_lines(rows: Sequence[dict[str, Any]], **at: Any) -> "alt.Chart":
    """Those of `rows` that are floors as dashed lines, which the legend names: words would be drawn over."""
    import altair as alt

    mine = base([row for row in rows if row["kind"] == "floor"])
    scale, above = alt.Scale(range=[[4, 4], [1, 3], [8, 4]]), alt.Legend(orient="top")
    named = alt.StrokeDash("answers:N", scale=scale, legend=above, title=None)
    lines: alt.Chart = mine.mark_rule(color=INK).encode(strokeDash=named, tooltip="tip:N", **at)
    return lines


def floor_named(rows: Sequence[CapabilityResult]) -> str:
    """What a caption says of floors."""
    names = dict.fromkeys(f"{row.floor_of} {row.floor:.3f}" for row in rows if row.floor is not None and row.floor_of)
    return f"what answers without content score at best ({', '.join(names)})" if names else "no floor is known"


def base(rows: Sequence[dict[str, Any]]) -> "alt.Chart":
    """A chart of `rows`."""
    import altair as alt

    return alt.Chart(alt.InlineData(values=list(rows)))


def removed(rows: Sequence[dict[str, Any]]) -> "alt.X":
    """The share of neurons that were removed, with a tick at each that occurs."""
    import altair as alt

    there = sorted({row["removed"] for row in rows if "removed" in row})
    ticks = [each for each in there if all(abs(each - other) >= _APART for other in there if other < each)]
    return alt.X("removed:Q", axis=alt.Axis(title="share of neurons removed", values=ticks, format="~"))


def by_model() -> "alt.Color":
    """A colour for each model."""
    import altair as alt

    return alt.Color("model:N", scale=alt.Scale(range=list(_MODELS)), title=None)


MEASURED = "measured"
"""In the place of a verdict: a figure that no claim is about."""
REFERENCE = "compared with"
"""In the place of a verdict: what arms are compared with that is not the dense model."""


def by_verdict(rows: Sequence[dict[str, Any]], controls: Sequence[str] = ()) -> "alt.Shape":
    """A shape for each verdict that occurs, the same in every figure, and for each of the `controls`."""
    import altair as alt

    there = [
        each for each in ("dense", REFERENCE, MEASURED, *_SHAPES) if any(row.get("verdict") == each for row in rows)
    ]
    named = dict(zip(dict.fromkeys(controls), cycle(_CONTROLS)))
    scale = alt.Scale(
        domain=[*there, *named], range=[*(_SHAPES.get(each, "square") for each in there), *named.values()]
    )
    return alt.Shape("verdict:N", scale=scale, legend=alt.Legend(labelLimit=105), title=None)


def _shown(value: object) -> object:
    return one_line(value) if isinstance(value, str) else value


def _dressed(chart: "alt.TopLevelMixin") -> "alt.TopLevelMixin":
    """`chart` in colours that show on light and on dark ground."""
    axis = {"labelColor": INK, "titleColor": INK, "gridColor": "#88888844", "domainColor": INK, "tickColor": INK}
    words = {"labelColor": INK, "titleColor": INK}
    dressed: alt.TopLevelMixin = chart.configure(
        background="transparent", axis=axis, title={"color": INK},
        legend={
            **words, "orient": "bottom", "direction": "vertical", "labelLimit": 240, "symbolOpacity": 1,
            "symbolFillColor": INK, "symbolStrokeColor": INK,
            "padding": 10,  # names are measured in one font and shown in another, such as DejaVu, which is wider
        },
        view={"stroke": "#88888844"}, font="sans-serif", text={"color": INK},
    )  # fmt: skip
    return dressed
