"""Words in figures: what a point says when it is pointed at, and where labels stand so that none covers another."""

from collections.abc import Sequence
from typing import Any

from glu_prune.report.columns import probability
from glu_prune.report.lines import number
from glu_prune.results.claims import CapabilityResult

PLACE = "place"
"""Of a row: where its label stands, on the scale of its value."""
_LINE = 13
"""Pixels between two labels; some more than they are high, as axes end at round numbers beyond the data."""


def told(*parts: str | None) -> str:
    """What a point says: those of `parts` that say something."""
    return " · ".join(filter(None, parts))


def point_told(row: CapabilityResult) -> str:
    """What a point of a claim says."""
    p = "" if row.p_ratios is None else f"p {probability(row.p_ratios)}"
    change = ""
    if row.delta is not None:
        low, high = ("open" if each is None else f"{each:+.3g}" for each in (row.low, row.high))
        change = f"change {row.delta:+.3g} ({low} to {high})"
    return told(f"{row.model} {row.at}", number(row.pruned), change, f"{row.claim} {row.outcome}", p)


def between(low: float | None, high: float | None) -> str:
    """An interval, if there is one."""
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def apart(rows: Sequence[dict[str, Any]], x: str, y: str, size: tuple[int, int], wide: int) -> list[dict[str, Any]]:
    """`rows` with the place of their labels, of at most `wide` pixels, in a figure of `size`.

    Of labels that would cover each other the upper ones are moved up.
    """
    across, along = ([float(row[each]) for row in rows] for each in (x, y))
    unit_x, unit_y = (_unit(each, pixels) for each, pixels in zip((across, along), size, strict=True))
    placed: list[tuple[float, float]] = []
    found = [dict(row) for row in rows]
    for each in sorted(range(len(rows)), key=lambda each: along[each]):
        place, column = along[each] / unit_y, across[each] / unit_x
        for other_column, other in sorted(placed, key=lambda each: each[1]):
            if abs(other_column - column) < wide and abs(other - place) < _LINE:
                place = other + _LINE
        placed.append((column, place))
        found[each][PLACE] = place * unit_y
    return found


def _unit(values: Sequence[float], pixels: int) -> float:
    """How much of the scale is a pixel."""
    return (max(values) - min(values)) / pixels or 1.0 if values else 1.0
