"""The figures of a report: one declarative specification (Vega-Lite) each, for the page and for files of any format.

What is drawn is a row of the report; nothing is computed here but the place of an interval on the scale of its score.
"""

import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glu_prune.clean import one_line
from glu_prune.judgement.ties import REDRAWN
from glu_prune.pruning.ratio import show_ratio
from glu_prune.results.claims import CapabilityResult
from glu_prune.results.report import Report

if TYPE_CHECKING:
    import altair as alt

_SHAPES = {"confirmed": "circle", "refuted": "cross", "artefact": "diamond", "inconclusive": "triangle-up"}
_MODELS = ("#3C8DD9", "#D98200", "#1BA37A", "#C2689A", "#8A8A8A", "#7B6FD0")
"""Seen on light and on dark ground."""
_KNOWLEDGE, _TRUTH = "factual_knowledge", ("truthfulness_mc2", "truthfulness")
_INK = "currentColor"
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

    def spec(self) -> dict[str, Any]:
        """Its specification, with its data."""
        # A control character in a name is no XML, and ends the process of the converter.
        rows = [
            {key: one_line(each) if isinstance(each, str) else each for key, each in row.items()} for row in self.rows
        ]
        found: dict[str, Any] = _dressed(self.draw(rows)).to_dict()
        return found


def _shown(value: object) -> object:
    return one_line(value) if isinstance(value, str) else value


def figures(report: Report) -> Iterator[Figure]:
    """Every figure for which the report has rows."""
    scores = [row for row in report.scores if row.dense is not None and row.pruned is not None]
    for capability in dict.fromkeys(row.capability for row in scores):
        yield _dose(capability, [row for row in scores if row.capability == capability], report)
    yield from _against_size(report, scores)
    yield from _truth(scores)
    yield from _costs(report)


def _dressed(chart: "alt.TopLevelMixin") -> "alt.TopLevelMixin":
    """`chart` in colours that show on light and on dark ground."""
    axis = {"labelColor": _INK, "titleColor": _INK, "gridColor": "#88888844", "domainColor": _INK, "tickColor": _INK}
    words = {"labelColor": _INK, "titleColor": _INK}
    dressed: alt.TopLevelMixin = chart.configure(
        background="transparent", axis=axis, title={"color": _INK},
        legend={**words, "orient": "bottom", "direction": "vertical", "labelLimit": 240, "symbolOpacity": 1},
        view={"stroke": "#88888844"}, font="sans-serif", text={"color": _INK},
    )  # fmt: skip
    return dressed


def _is_perplexity(row: CapabilityResult) -> bool:
    """Whether changes are in nats, so that they multiply the score."""
    return "perplexity" in row.metric


def _beside(row: CapabilityResult, change: float | None) -> float | None:
    """The score that is `change` away from that of the dense model."""
    if change is None or row.dense is None or not math.isfinite(change):
        return None
    return row.dense * math.exp(change) if _is_perplexity(row) else row.dense + change


def _dose(capability: str, rows: Sequence[CapabilityResult], report: Report) -> Figure:
    """A capability against the share of neurons that were removed."""
    first = rows[0]
    drawn: list[dict[str, Any]] = []
    for model in dict.fromkeys(row.model for row in rows):
        mine = [row for row in rows if row.model == model]
        drawn.append({"kind": "model", "model": model, "removed": 0.0, "score": mine[0].dense, "verdict": "dense"})
        drawn += [_point(row) for row in mine]
        drawn += [_control(row, name, score) for row in mine for name, score in row.controls.items() if name != REDRAWN]
        drawn += [{"kind": "floor", "model": model, "score": row.floor} for row in mine[:1] if row.floor is not None]
    drawn += [
        {
            "kind": "band",
            "model": each.model,
            "removed": float(each.ratio),
            "low": each.band_low,
            "high": each.band_high,
        }
        for each in _bands(report, rows)
    ]
    items = ", ".join(f"{count:,}" for count in dict.fromkeys(row.items for row in rows))
    tests = ", ".join(dict.fromkeys(row.test for row in rows))
    caption = (
        f"{first.metric}{' (lower is better)' if first.better == 'lower' else ''} of n = {items} items. Bars: 95 % "
        f"interval of the change from the dense model on the same items; shapes: verdict by {tests}, p corrected for "
        f"the ratios of the claim; dashed: {_floor_named(rows)}; small marks: the controls at the same ratio."
    )
    return Figure(
        _file_name("dose", capability), capability.replace("_", " "), caption, drawn, _draw_dose(_is_perplexity(first))
    )


def _file_name(kind: str, about: str) -> str:
    """A name that is no place and no option, whatever it is about."""
    return f"{kind}-{re.sub(r'[^A-Za-z0-9_]+', '-', about).strip('-')}"


def _floor_named(rows: Sequence[CapabilityResult]) -> str:
    names = dict.fromkeys(f"{row.floor_of} {row.floor:.3f}" for row in rows if row.floor is not None and row.floor_of)
    return f"what answers without content score at best ({', '.join(names)})" if names else "no floor is known"


def _point(row: CapabilityResult) -> dict[str, Any]:
    return {
        "kind": "model", "model": row.model, "removed": float(row.ratio), "score": row.pruned, "verdict": row.outcome,
        "low": _beside(row, row.low), "high": _beside(row, row.high), "p": row.p_ratios, "claim": row.claim,
        "says": row.sentence,
    }  # fmt: skip


def _control(row: CapabilityResult, name: str, score: float | None) -> dict[str, Any]:
    return {"kind": "control", "model": row.model, "removed": float(row.ratio), "score": score, "criterion": name}


def _bands(report: Report, rows: Sequence[CapabilityResult]) -> Iterator[Any]:
    """Limits that hold at all ratios at once, as scores, where a claim across ratios gave a curve."""
    known = {row.model: row for row in rows}
    for each in report.curves:
        if each.model in known and each.capability == rows[0].capability:
            row = known[each.model]
            yield each.model_copy(
                update={"band_low": _beside(row, each.band_low), "band_high": _beside(row, each.band_high)}
            )


def _draw_dose(logarithmic: bool) -> "Callable[[Sequence[dict[str, Any]]], alt.TopLevelMixin]":
    def draw(rows: Sequence[dict[str, Any]]) -> "alt.TopLevelMixin":
        import altair as alt

        scale = alt.Scale(type="log") if logarithmic else alt.Scale(zero=False)
        score = alt.Axis(title="score", tickCount=5)
        x, y, colour = _removed(rows), alt.Y("score:Q", axis=score, scale=scale), _by_model()
        limits = {"y": alt.Y("low:Q", axis=score, scale=scale), "y2": "high:Q", "x": x, "color": colour}
        tooltip = ["model:N", "removed:Q", "score:Q", "low:Q", "high:Q", "claim:N", "verdict:N", "p:Q"]

        def of(kind: str) -> "alt.Chart":
            return _base([row for row in rows if row["kind"] == kind])

        model, control = of("model"), of("control").encode(x=x, y=y, color=colour)
        layers = {
            "band": of("band").mark_area(opacity=0.15).encode(**limits),
            "floor": of("floor").mark_rule(strokeDash=[4, 4]).encode(y=y, color=colour),
            "control": control.mark_tick(thickness=2, width=10).encode(tooltip=["criterion:N", "score:Q"])
            + control.mark_text(align="left", dx=8, fontSize=9).encode(text="criterion:N"),
            "model": model.mark_line(opacity=0.5).encode(x=x, y=y, color=colour)
            + _base([row for row in rows if row.get("low") is not None and row["kind"] == "model"])
            .mark_rule()
            .encode(**limits)
            + model.mark_point(filled=True, size=70, opacity=1).encode(
                x=x, y=y, color=colour, shape=_by_verdict(rows), tooltip=tooltip
            ),
        }
        there = {row["kind"] for row in rows}
        found = alt.layer(*(layer for kind, layer in layers.items() if kind in there))
        return found.properties(width=300, height=180)

    return draw


def _base(rows: Sequence[dict[str, Any]]) -> "alt.Chart":
    import altair as alt

    return alt.Chart(alt.InlineData(values=list(rows)))


def _removed(rows: Sequence[dict[str, Any]]) -> "alt.X":
    """The share of neurons that were removed, with a tick at each that occurs."""
    import altair as alt

    there = sorted({row["removed"] for row in rows if "removed" in row})
    ticks = [each for each in there if all(abs(each - other) >= _APART for other in there if other < each)]
    return alt.X("removed:Q", axis=alt.Axis(title="share of neurons removed", values=ticks, format="~"))


def _by_model() -> "alt.Color":
    import altair as alt

    return alt.Color("model:N", scale=alt.Scale(range=list(_MODELS)), title=None)


def _by_verdict(rows: Sequence[dict[str, Any]]) -> "alt.Shape":
    """A shape for each verdict that occurs, the same in every figure."""
    import altair as alt

    there = [each for each in ("dense", *_SHAPES) if any(row.get("verdict") == each for row in rows)]
    return alt.Shape(
        "verdict:N", scale=alt.Scale(domain=there, range=[_SHAPES.get(each, "square") for each in there]), title=None
    )


def _sizes(report: Report) -> dict[tuple[str, float], int]:
    return {(cell.model, float(cell.ratio)): cell.size.bytes for cell in report.cells if not cell.control}


def _against_size(report: Report, scores: Sequence[CapabilityResult]) -> Iterator[Figure]:
    """Each capability against the bytes of the weights, the share of the dense score that is left."""
    sizes = _sizes(report)
    rows = []
    for row in scores:
        size = sizes.get((row.model, float(row.ratio)))
        dense = sizes.get((row.model, 0.0))
        if size is None or dense is None or row.floor is None or _is_perplexity(row):
            continue
        about = {"model": row.model, "capability": row.capability}
        for ratio, size_, score in ((0.0, dense, row.dense), (float(row.ratio), size, row.pruned)):
            rows.append({**about, "removed": ratio, "MB": size_ / 1e6, "score": score, "floor": row.floor})
    unique = list({tuple(row.items()): row for row in rows}.values())
    if unique:
        caption = (
            "Score against the size of the weights; up and left is better. An arm lies on the front where no other is "
            "both smaller and better; dashed: what answers without content score at best."
        )
        yield Figure("front-size", "capability against size", caption, unique, _draw_front)


def _draw_front(rows: Sequence[dict[str, Any]]) -> "alt.TopLevelMixin":
    import altair as alt

    names = list(dict.fromkeys(row["capability"] for row in rows))
    choice = alt.binding_select(options=names, name="capability ")
    chosen = alt.selection_point(name="capability", fields=["capability"], value=names[0], bind=choice)
    y = alt.Y("score:Q", scale=alt.Scale(zero=False), title="score")
    at = {"x": alt.X("MB:Q", title="weights, MB", scale=alt.Scale(zero=False)), "y": y, "color": _by_model()}
    base = _base(rows).transform_filter(chosen)
    return (
        alt.layer(
            base.mark_line(opacity=0.4).encode(**at, order="removed:Q"),
            base.mark_point(filled=True, size=70, opacity=1).encode(
                **at, tooltip=["model:N", "removed:Q", "MB:Q", "score:Q"]
            ),
            base.mark_text(dy=-10).encode(**at, text="removed:Q"),
            base.mark_rule(strokeDash=[4, 4]).encode(y=alt.Y("floor:Q", title="score"), color=_by_model()),
        )
        .add_params(chosen)
        .properties(width=300, height=220)
    )


def _truth(scores: Sequence[CapabilityResult]) -> Iterator[Figure]:
    """Truthfulness against knowledge, an arm a point, with the interval of each."""
    rows: list[dict[str, Any]] = []
    for name in _TRUTH:
        by_arm = {(row.model, row.ratio): row for row in scores if row.capability == name}
        for row in scores:
            if row.capability == _KNOWLEDGE and (other := by_arm.get((row.model, row.ratio))):
                rows.append(_pair(row, other, name))
    dense = {(row["model"], row["measure"]): _dense(row) for row in rows}
    if rows:
        caption = (
            "An arm a point, labelled with the share of neurons removed, beside the dense model at 0; bars: 95 % "
            "interval of its change over items. Two curves of one model that both move with every neuron removed are "
            "not independent: a correlation over these points is described and decides nothing."
        )
        yield Figure(
            "knowledge-truth", "knowledge against truthfulness", caption, [*dense.values(), *rows], _draw_truth
        )


def _dense(row: dict[str, Any]) -> dict[str, Any]:
    """The dense model's point, of which no interval is known."""
    unknown = dict.fromkeys(("kl", "kh", "tl", "th"))
    return {**row, **unknown, "removed": "0", "knowledge": row["k0"], "truth": row["t0"]}


def _pair(row: CapabilityResult, other: CapabilityResult, name: str) -> dict[str, Any]:
    return {
        "model": row.model, "measure": name, "removed": show_ratio(row.ratio),
        "knowledge": row.pruned, "truth": other.pruned, "k0": row.dense, "t0": other.dense,
        "kl": _beside(row, row.low), "kh": _beside(row, row.high),
        "tl": _beside(other, other.low), "th": _beside(other, other.high),
    }  # fmt: skip


def _draw_truth(rows: Sequence[dict[str, Any]]) -> "alt.TopLevelMixin":
    import altair as alt

    measured = [row for row in rows if row["kl"] is not None]
    x = alt.X("knowledge:Q", title="factual knowledge", scale=alt.Scale(zero=False))
    y = alt.Y("truth:Q", title="truthfulness", scale=alt.Scale(zero=False))
    at = {"x": x, "y": y, "color": _by_model()}
    across = {"x": alt.X("kl:Q", title="factual knowledge"), "x2": "kh:Q", "y": y, "color": _by_model()}
    along = {"x": x, "y": alt.Y("tl:Q", title="truthfulness"), "y2": "th:Q", "color": _by_model()}
    tooltip = ["model:N", "measure:N", "removed:N", "knowledge:Q", "truth:Q"]
    return alt.layer(
        _base(measured).mark_rule(opacity=0.4).encode(**across),
        _base(measured).mark_rule(opacity=0.4).encode(**along),
        _base(rows)
        .mark_point(filled=True, size=60, opacity=1)
        .encode(**at, shape=alt.Shape("measure:N", title=None), tooltip=tooltip),
        _base(rows).mark_text(dy=-9).encode(**at, text="removed:N"),
    ).properties(width=300, height=220)


def _costs(report: Report) -> Iterator[Figure]:
    """Changes of figures of cost: as claims were judged, and as they were measured."""
    judged = [(row.model, row.capability, row.ratio, row.percent, row.outcome, row.note) for row in report.costs]
    measured = [
        (row.model, f"{row.figure} ({row.workload})", row.ratio, row.change, row.how, "")
        for row in report.efficiency
        if row.change is not None
    ]
    rows: list[dict[str, Any]] = []
    for model, figure, ratio, (change, low, high), how, spoilt in (*judged, *measured):
        about = {"model": model, "figure": figure, "removed": float(ratio), "how": how, "spoilt": spoilt}
        rows.append({**about, "change": change, "low": low, "high": high})
    for figure in dict.fromkeys(row["figure"] for row in rows):
        mine = [row for row in rows if row["figure"] == figure]
        spoilt = ", ".join(dict.fromkeys(row["spoilt"] for row in mine if row["spoilt"]))
        caption = (
            "Change from the dense model in percent, with its 95 % interval over pairs of runs; shapes: the verdict, "
            f"or how it was obtained.{f' What is wrong with these figures: {spoilt}.' if spoilt else ''}"
        )
        yield Figure(_file_name("cost", figure), figure, caption, mine, _draw_cost)


def _draw_cost(rows: Sequence[dict[str, Any]]) -> "alt.TopLevelMixin":
    import altair as alt

    title = "change, %"
    x, y, colour = _removed(rows), alt.Y("change:Q", title=title), _by_model()
    tooltip = ["model:N", "removed:Q", "change:Q", "low:Q", "high:Q", "how:N", "spoilt:N"]
    return alt.layer(
        _base([{"zero": 0}]).mark_rule(strokeDash=[4, 4]).encode(y=alt.Y("zero:Q", title=title)),
        _base(rows).mark_rule().encode(x=x, y=alt.Y("low:Q", title=title), y2="high:Q", color=colour),
        _base(rows)
        .mark_point(filled=True, size=70, opacity=1)
        .encode(x=x, y=y, color=colour, shape=alt.Shape("how:N", title=None), tooltip=tooltip),
    ).properties(width=300, height=180)


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
    found: dict[str, Any] = json.loads(json.dumps(spec).replace(_INK, "black"))
    return found
