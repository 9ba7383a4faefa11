"""Figures of arms that have names: each capability by arm, beside what they are compared with."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from glu_prune.report.lines import number
from glu_prune.report.page.figure import (
    INK,
    REFERENCE,
    Figure,
    base,
    beside,
    by_verdict,
    file_name,
    floor_lines,
    floor_named,
    floors,
    is_perplexity,
)
from glu_prune.report.page.labels import point_told, told
from glu_prune.results.claims import CapabilityResult

if TYPE_CHECKING:
    import altair as alt


def named_arms(scores: Sequence[CapabilityResult]) -> Iterator[Figure]:
    """A figure for each capability of each model, and what arms are compared with, of which a named arm has a score."""
    rows = [row for row in scores if row.named or row.against]
    for about in dict.fromkeys((row.model, row.capability, row.against) for row in rows):
        yield _of(*about, [row for row in rows if (row.model, row.capability, row.against) == about])


def _of(model: str, capability: str, against: str, rows: Sequence[CapabilityResult]) -> Figure:
    first, reference = rows[0], against or "dense"
    drawn: list[dict[str, Any]] = [
        {"kind": "arm", "arm": reference, "score": first.dense, "verdict": REFERENCE if against else "dense",
         "tip": told(reference, number(first.dense))}
    ]  # fmt: skip
    drawn += [_point(row) for row in rows]
    drawn += floors(rows)
    caption = (
        f"{first.metric}{' (lower is better)' if first.better == 'lower' else ''} of n = {first.items:,} items. Bars: "
        f"95 % interval of the change from {reference} on the same items; shapes: verdict by {first.test}, p corrected "
        f"for the arms of the claim; dashed: {floor_named(rows)}."
    )
    name = file_name("arms", "-".join(filter(None, (capability, model, against))))
    title = f"{model}: {capability.replace('_', ' ')}{f' against {against}' if against else ''}"
    return Figure(name, title, caption, drawn, _draw(is_perplexity(first)))


def _point(row: CapabilityResult) -> dict[str, Any]:
    return {
        "kind": "arm", "arm": row.at, "score": row.pruned, "low": beside(row, row.low), "high": beside(row, row.high),
        "verdict": row.outcome, "tip": point_told(row),
    }  # fmt: skip


def _draw(logarithmic: bool) -> Any:
    def draw(rows: Sequence[dict[str, Any]]) -> "alt.TopLevelMixin":
        import altair as alt

        arms = [row for row in rows if row["kind"] == "arm"]
        scale = alt.Scale(type="log") if logarithmic else alt.Scale(zero=False)
        x = alt.X("score:Q", title="score", scale=scale)
        y = alt.Y("arm:N", title=None, sort=[row["arm"] for row in arms], axis=alt.Axis(labelLimit=220))
        limits = {"x": alt.X("low:Q", title="score", scale=scale), "x2": "high:Q"}
        bars = base([row for row in arms if row.get("low") is not None]).mark_rule(color=INK).encode(y=y, **limits)
        points = (
            base(arms)
            .mark_point(filled=True, size=60, opacity=1, color="#3C8DD9")
            .encode(x=x, y=y, shape=by_verdict(arms), tooltip="tip:N")
        )
        layers = [floor_lines(rows, x=x)] if len(arms) < len(rows) else []
        return alt.layer(*layers, bars, points).properties(width=200, height=alt.Step(16))

    return draw
