"""The figures of a report: one declarative specification (Vega-Lite) each, for the page and for files of any format.

What is drawn is a row of the report; nothing is computed here but the place of an interval on the scale of its score.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from glu_prune.judgement.ties import REDRAWN
from glu_prune.report.lines import number
from glu_prune.report.page.arm_figures import named_arms
from glu_prune.report.page.change_figures import changes
from glu_prune.report.page.choice_figures import choices
from glu_prune.report.page.cost_figures import costs, fronts
from glu_prune.report.page.figure import (
    Figure,
    base,
    beside,
    by_model,
    by_verdict,
    file_name,
    floor_lines,
    floor_named,
    floors,
    is_perplexity,
    removed,
)
from glu_prune.report.page.labels import PLACE, apart, point_told, told
from glu_prune.results.claims import CapabilityResult
from glu_prune.results.report import Report

if TYPE_CHECKING:
    import altair as alt

_SIZE = (270, 180)
"""Pixels of a figure."""
_SHARES = 24
"""Pixels of a share of neurons."""
_BESIDE = 9
"""Pixels of controls to the right of the arm that they are compared with."""
_KNOWLEDGE, _TRUTH = "factual_knowledge", ("truthfulness_mc2", "truthfulness")


def figures(report: Report) -> Iterator[Figure]:
    """Every figure for which the report has rows; a model has one colour in all of them."""
    models = [*dict.fromkeys(row.model for row in report.claims)]
    return (replace(each, models=models) for each in _every(report))


def _every(report: Report) -> Iterator[Figure]:
    scores = [row for row in report.scores if row.dense is not None and row.pruned is not None]
    by_ratio = [row for row in scores if row.ratio is not None and not row.against]
    for capability in dict.fromkeys(row.capability for row in by_ratio):
        yield _dose(capability, [row for row in by_ratio if row.capability == capability], report)
    yield from named_arms(scores)
    yield from choices(report)
    dense = [row for row in scores if not row.against]
    yield from fronts(report, dense)
    yield from _truth(dense)
    yield from costs(report)
    yield from changes(report)


def _dose(capability: str, rows: Sequence[CapabilityResult], report: Report) -> Figure:
    """A capability against the share of neurons that were removed."""
    first = rows[0]
    drawn: list[dict[str, Any]] = []
    for model in dict.fromkeys(row.model for row in rows):
        mine = [row for row in rows if row.model == model]
        tip = told(model, "dense", number(mine[0].dense))
        start = {"kind": "model", "model": model, "removed": 0.0, "score": mine[0].dense, "verdict": "dense"}
        drawn.append({**start, "tip": tip})
        drawn += [_point(row) for row in mine]
        drawn += [mark for row in mine for mark in _controls(row)]
    drawn += floors(rows)
    drawn += _bands(report, rows)
    items = ", ".join(f"{count:,}" for count in dict.fromkeys(row.items for row in rows))
    tests = ", ".join(_tests(rows))
    caption = (
        f"{first.metric}{' (lower is better)' if first.better == 'lower' else ''} of n = {items} items. Bars: 95 % "
        f"interval of the change from the dense model on the same items; shapes: verdict by {tests}, p corrected for "
        f"the ratios of the claim; dashed: {floor_named(rows)}"
        f"{'; open marks: the controls at the same ratio' if any(row.controls for row in rows) else ''}"
        f"{', small circles each of their draws' if any(row.draws for row in rows) else ''}."
    )
    return Figure(
        file_name("dose", capability), capability.replace("_", " "), caption, drawn, _draw_dose(is_perplexity(first))
    )


def _tests(rows: Sequence[CapabilityResult]) -> Iterator[str]:
    """The name of each test, with the numbers of what it was made over."""
    for name in dict.fromkeys(row.test.partition(" over ")[0] for row in rows):
        over = dict.fromkeys(row.test.partition(" over ")[2] for row in rows if row.test.startswith(name))
        yield name + (f" over {', '.join(over)}" if any(over) else "")


def _point(row: CapabilityResult) -> dict[str, Any]:
    low, high = beside(row, row.low), beside(row, row.high)
    return {
        "kind": "model", "model": row.model, "removed": float(row.ratio or 0), "score": row.pruned,
        "verdict": row.outcome, "low": low, "high": high, "tip": point_told(row),
    }  # fmt: skip


def _controls(row: CapabilityResult) -> Iterator[dict[str, Any]]:
    """A mark for each control, named, and a fainter one for each draw of those that were drawn several times."""
    at = {"model": row.model, "removed": float(row.ratio or 0)}
    for name, score in row.controls.items():
        if name != REDRAWN:
            drawn = row.draws.get(name, ())
            said = f"{name} (mean of {len(drawn)})" if drawn else name
            tip = told(row.model, said, number(score))
            yield {"kind": "control", **at, "score": score, "verdict": said, "tip": tip}
            for each in drawn:
                tip = told(row.model, f"a draw of {name}", number(each))
                yield {"kind": "draw", **at, "score": each, "tip": tip}


def _bands(report: Report, rows: Sequence[CapabilityResult]) -> Iterator[dict[str, Any]]:
    """Limits that hold at all ratios at once, as scores, where a claim across ratios gave a curve."""
    known = {row.model: row for row in rows}
    for each in report.curves:
        if each.capability == rows[0].capability and (row := known.get(each.model)):
            limits = {"low": beside(row, each.band_low), "high": beside(row, each.band_high)}
            yield {"kind": "band", "model": each.model, "removed": float(each.ratio), **limits}


def _draw_dose(logarithmic: bool) -> "Callable[[Sequence[dict[str, Any]]], alt.TopLevelMixin]":
    def draw(rows: Sequence[dict[str, Any]]) -> "alt.TopLevelMixin":
        import altair as alt

        scale = alt.Scale(type="log") if logarithmic else alt.Scale(zero=False)
        score = alt.Axis(title="score", tickCount=5)
        x, y, colour = removed(rows), alt.Y("score:Q", axis=score, scale=scale), by_model()
        limits = {"y": alt.Y("low:Q", axis=score, scale=scale), "y2": "high:Q", "x": x, "color": colour}
        at = {"x": x, "y": y, "color": colour, "tooltip": "tip:N"}
        shape = by_verdict(rows, controls=[row["verdict"] for row in rows if row["kind"] == "control"])

        def of(kind: str) -> "alt.Chart":
            return base([row for row in rows if row["kind"] == kind])

        model = of("model")
        layers = {
            "band": of("band").mark_area(opacity=0.15).encode(**limits),
            "floor": floor_lines(rows, y=y),
            "draw": of("draw").mark_point(size=18, opacity=0.6, xOffset=_BESIDE).encode(**at),
            "control": of("control").mark_point(size=50, opacity=1, xOffset=_BESIDE).encode(shape=shape, **at),
            "model": model.mark_line(opacity=0.5).encode(x=x, y=y, color=colour)
            + base([row for row in rows if row.get("low") is not None and row["kind"] == "model"])
            .mark_rule()
            .encode(**limits)
            + model.mark_point(filled=True, size=70, opacity=1).encode(shape=shape, **at),
        }
        there = {row["kind"] for row in rows}
        found = alt.layer(*(layer for kind, layer in layers.items() if kind in there))
        width, height = _SIZE
        return found.properties(width=width, height=height)

    return draw


def _truth(scores: Sequence[CapabilityResult]) -> Iterator[Figure]:
    """Truthfulness against knowledge, an arm a point, with the interval of each."""
    rows: list[dict[str, Any]] = []
    for name in _TRUTH:
        by_arm = {(row.model, row.at): row for row in scores if row.capability == name}
        for row in scores:
            if row.capability == _KNOWLEDGE and (other := by_arm.get((row.model, row.at))):
                rows.append(_pair(row, other, name))
    dense = {(row["model"], row["measure"]): _dense(row) for row in rows}
    if rows:
        caption = (
            "An arm a point, labelled with its name or the share of neurons removed, beside the dense one at 0; bars: "
            "95 % interval of its change over items. Two curves of one model that both move with every neuron removed "
            "are not independent: a correlation over these points is described and decides nothing."
        )
        yield Figure(
            "knowledge-truth", "knowledge against truthfulness", caption, [*dense.values(), *rows], _draw_truth
        )


def _dense(row: dict[str, Any]) -> dict[str, Any]:
    """The dense model's point, of which no interval is known."""
    unknown = dict.fromkeys(("kl", "kh", "tl", "th"))
    said = told(row["model"], "dense", f"knowledge {number(row['k0'])}", f"{row['measure']} {number(row['t0'])}")
    return {**row, **unknown, "removed": "0", "knowledge": row["k0"], "truth": row["t0"], "tip": said}


def _pair(row: CapabilityResult, other: CapabilityResult, name: str) -> dict[str, Any]:
    return {
        "model": row.model, "measure": name, "removed": row.at,
        "knowledge": row.pruned, "truth": other.pruned, "k0": row.dense, "t0": other.dense,
        "kl": beside(row, row.low), "kh": beside(row, row.high),
        "tl": beside(other, other.low), "th": beside(other, other.high),
        "tip": told(row.model, row.at, f"knowledge {number(row.pruned)}", f"{name} {number(other.pruned)}"),
    }  # fmt: skip


def _draw_truth(rows: Sequence[dict[str, Any]]) -> "alt.TopLevelMixin":
    import altair as alt

    measured = [row for row in rows if row["kl"] is not None]
    x = alt.X("knowledge:Q", title="factual knowledge", scale=alt.Scale(zero=False))
    y = alt.Y("truth:Q", title="truthfulness", scale=alt.Scale(zero=False))
    at = {"x": x, "y": y, "color": by_model()}
    across = {"x": alt.X("kl:Q", title="factual knowledge"), "x2": "kh:Q", "y": y, "color": by_model()}
    along = {"x": x, "y": alt.Y("tl:Q", title="truthfulness"), "y2": "th:Q", "color": by_model()}
    names = apart(rows, "knowledge", "truth", _SIZE, _SHARES)
    place = alt.Y(f"{PLACE}:Q", title="truthfulness", scale=alt.Scale(zero=False))
    return alt.layer(
        base(measured).mark_rule(opacity=0.4).encode(**across),
        base(measured).mark_rule(opacity=0.4).encode(**along),
        base(rows)
        .mark_point(filled=True, size=60, opacity=1)
        .encode(**at, shape=alt.Shape("measure:N", title=None), tooltip="tip:N"),
        base(names).mark_text(dy=-9).encode(x=x, y=place, text="removed:N"),
    ).properties(width=270, height=220)
