"""What a run will be able to show, as one table for people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from glu_prune.clean import one_line
from glu_prune.judgement.verdict import ALPHA
from glu_prune.report.table import Column, render, wrapped
from glu_prune.results.power import PlannedClaim

_MANY = 4
"""Ratios that are not named one by one."""
_LEGEND = """\
alpha: level of each test, 0.05 over how often the claim is made. finds: the smallest effect that is found with \
probability 0.8; for `preserved`, the smallest margin that is confirmed with that probability if nothing changes. In \
units of the metric; nats for perplexities.
floor: how far above its floor the score must be (where it goes down, the dense one). draws: how many draws of a \
control there are, and how far beyond their mean the criterion must lie. ?: the store has no such records.
enough: whether the run can answer the claim, and what would do; `if`: what it \
rests on beside, of which no record tells. spread: from which records it is known how items \
vary; `assumed`: so many right-or-wrong items change, half of them for the better.
a pilot: `pytest benchmarks -k ratio_R --glu-limit 100`, with a ratio of the claim for R (without -k for a trend), \
leaves records that this table reads."""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value >= 0.01 else f"{value:.1g}"


def _floor(row: PlannedClaim) -> str:
    return "?" if row.floor is None else _number(row.above_floor)


def _draws(row: PlannedClaim) -> str:
    beyond = "" if row.beyond_draws is None else _number(row.beyond_draws)
    return beyond or "-" if row.draws is None else f"{row.draws}: {beyond or '?'}"


def _enough(row: PlannedClaim) -> str:
    if row.answerable and row.floor is None:
        return "if above its floor"
    if row.answerable and row.draws is not None and row.beyond_draws is None:
        return "if beyond the draws"
    said = "unknown" if row.answerable is None else "yes" if row.answerable else "no"
    return f"{said}: needs {row.remedy}" if row.remedy else said


def _items(row: PlannedClaim) -> str:
    if row.items is None:
        return "?"
    return str(row.items) if row.unit == "items" else f"{row.items} in {row.units or '?'} {row.unit}"


@dataclass(frozen=True)
class _Together:
    """A claim at those ratios at which as many items answer it, or do not."""

    rows: Sequence[PlannedClaim]

    def said(self, show: Callable[[PlannedClaim], str]) -> str:
        """What is so at all of its ratios."""
        return show(self.rows[0])

    def each(self, show: Callable[[PlannedClaim], str]) -> str:
        """All that is so at its ratios: of numbers, from which to which."""
        found = sorted(set(map(show, self.rows)))
        if len(found) > 1 and all(text.replace(".", "", 1).isdecimal() for text in found):
            return f"{min(found, key=float)} to {max(found, key=float)}"
        return ", ".join(dict.fromkeys(found[:1] + [each.removeprefix(_STORED) for each in found[1:]]))


def _together(rows: Sequence[PlannedClaim]) -> list[_Together]:
    found: dict[object, list[PlannedClaim]] = {}
    for row in rows:
        found.setdefault((row.claim, _enough(row), _items(row), row.tests), []).append(row)
    return list(map(_Together, found.values()))


_STORED = "stored at "
"""Begins where a spread is from, if that is another ratio."""


def _ratios(rows: Sequence[PlannedClaim]) -> str:
    """All of them, or the first and the last of many."""
    names = list(map(_at, rows))
    return f"{names[0]} to {names[-1]}: {len(names)}" if len(names) > _MANY else ", ".join(names)


def _at(row: PlannedClaim) -> str:
    return "all" if row.ratio is None and not row.named else row.at


_COLUMNS: tuple[Column[_Together], ...] = (
    Column("claim", lambda some: some.said(lambda row: row.claim), key=True),
    Column("ratio", lambda some: _ratios(some.rows), key=True),
    Column("enough", lambda some: some.said(_enough)),
    Column("items", lambda some: some.said(_items)),
    Column("finds", lambda some: some.each(lambda row: _number(row.smallest))),
    Column("alpha", lambda some: some.said(_alpha)),
    Column("floor", lambda some: some.each(_floor)),
    Column("draws", lambda some: some.each(_draws)),
    Column("spread", lambda some: some.each(lambda row: row.spread)),
)


def _alpha(row: PlannedClaim) -> str:
    return f"{ALPHA:g}/{row.tests}" if row.tests > 1 else f"{ALPHA:g}"


def text(rows: Sequence[PlannedClaim], left_out: int) -> str:
    """A table for each model, how to read it, and how many claims are `left_out`, of whose tests no power is known."""
    short = sum(row.answerable is False for row in rows)
    unknown = sum(row.answerable is None for row in rows)
    others = f"; {left_out} claims of other kinds are not planned" if left_out else ""
    summary = f"{len(rows)} claims: {short} cannot be answered by this run, of {unknown} that is unknown{others}."
    lines = map(wrapped, (*(_LEGEND.splitlines() if rows else ()), summary))
    models = dict.fromkeys(row.model for row in rows)
    tables = (
        f"{one_line(model)}:\n{render(_COLUMNS, _together([row for row in rows if row.model == model]), 'simple')}\n"
        for model in models
    )
    return "\n".join([*tables, *lines])
