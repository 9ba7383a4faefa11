"""Claims as lines of text: what is said of each, and in which order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from glu_prune.clean import one_line
from glu_prune.efficiency.cost_metrics import CORRECT_ANSWER, COST_METRICS
from glu_prune.judgement.ties import REDRAWN
from glu_prune.judgement.verdict import digits
from glu_prune.report.columns import SCORES, keep, probability
from glu_prune.report.extra_columns import extra_columns
from glu_prune.report.table import Column
from glu_prune.results.base import Outcome
from glu_prune.results.baselines import BaselineResult
from glu_prune.results.choices import ChoiceResult
from glu_prune.results.claims import (
    ArmResult,
    CapabilityResult,
    ChangeResult,
    ClaimResult,
    CostResult,
    DistanceResult,
    TrendResult,
)

SIGNS = {"confirmed": "✓", "refuted": "✗", "artefact": "≈", "inconclusive": "?"}
"""Verdicts differ by more than colour."""
STYLES = {"confirmed": "green", "refuted": "red", "artefact": "magenta", "inconclusive": "yellow"}
FAILED = "bold red"
_DIRECTIONS = {"up": "↑", "down": "↓", "kept": "≥"}
_LONG = 1000
_BIG = 10
"""From here on a change is said to one place less."""


@dataclass(frozen=True)
class Line:
    """One claim."""

    row: ClaimResult | BaselineResult
    cells: tuple[tuple[str, str], ...]
    """(heading, text), the most important ones first."""
    remark: str
    style: str


def is_news(row: ClaimResult) -> bool:
    """Whether more is to be said of a claim than its line: it is not known to be confirmed, or to be open."""
    return row.outcome != row.declared or row.outcome not in ("confirmed", "inconclusive")


def has_failed(row: ClaimResult) -> bool:
    """Whether something else was found than is declared, and the items decide."""
    return row.outcome not in (row.declared, "inconclusive")


def urgency(row: ClaimResult) -> int:
    """Where a claim stands: first what failed, then what surprises, then what held, then what is known to be open."""
    if has_failed(row):
        return 0
    if row.outcome != row.declared:
        return 1
    order: dict[Outcome, int] = {"refuted": 2, "artefact": 2, "confirmed": 3, "inconclusive": 4}
    return order[row.outcome]


def _verdict(row: ClaimResult) -> str:
    return f"{SIGNS[row.outcome]} {row.outcome}"


def claim(row: ArmResult) -> str:
    """A claim without what was found."""
    beside = f" vs {row.against}" if row.against else ""
    if isinstance(row, DistanceResult):
        return f"≤ {row.distance} {row.capability}{beside}"
    kind, _, margin = row.claim.partition(" within ")
    sign = "-" if kind == "kept" else "±"
    about = row.capability.partition(" of ")[0] if isinstance(row, CostResult) else row.capability
    return f"{_DIRECTIONS.get(kind, '=')} {about}{f' {sign}{margin}' if margin else ''}{beside}"


def number(value: float | None) -> str:
    """A score or a cost, in as many digits as a line has room for."""
    if value is None:
        return "-"
    if abs(value) < _LONG:
        return digits(value) if abs(value) < _LONG / 100 else f"{value:.1f}"
    return f"{value:,.0f}" if abs(value) < _LONG**2 else f"{value:.2e}"


def _values(row: ArmResult) -> str:
    if isinstance(row, CostResult):
        return f"{number(row.dense)} -> {number(row.pruned)} {_unit(row)}".rstrip()
    if isinstance(row, ChangeResult):
        return f"{number(row.dense)} -> {number(row.pruned)}"
    return f"{number(row.value)} (≤ {row.at_most:g})" if isinstance(row, DistanceResult) else "-"


def _unit(row: CostResult) -> str:
    """Of the figure; of one that is per answer, joules."""
    name = row.capability.split()[0]
    found = COST_METRICS.get(name)
    return found.unit if found else "J" if name == CORRECT_ANSWER else ""


def _change(row: ArmResult) -> str:
    if isinstance(row, CostResult):
        change, low, high = ("open" if value is None else f"{value:+,.1f}" for value in row.percent)
        return f"{change} ({low}, {high}) %"
    if isinstance(row, ChangeResult):
        return f"{_signed(row.delta)} ({_signed(row.low)}, {_signed(row.high)})"
    what = "nats" if isinstance(row, DistanceResult) and row.distance == "kl" else "share"
    return f"{what} ({number(row.low)}, {number(row.high)})"


def _signed(value: float | None) -> str:
    return "open" if value is None else f"{value:+,.{3 if abs(value) < _BIG else 2}f}"


def _floor(row: ArmResult) -> str:
    return number(row.floor) if isinstance(row, ChangeResult) else "-"


def _control(row: ArmResult, name: str) -> str:
    return number(row.controls.get(name)) if isinstance(row, CapabilityResult) else "-"


_VERDICT: Column[ArmResult] = Column("verdict", _verdict)
_KNOWN: dict[str, Column[ArmResult]] = {
    "verdict": _VERDICT,
    "claim": Column("claim", claim),
    "scores": Column("dense->pruned", _values),
    "change": Column("change (95 %)", _change),
    "p": Column("p", lambda row: row.p_ratios, probability),
    "floor": Column("floor", _floor),
}
"""What a line says unless other columns are asked for, the most important first; controls follow."""
CONTROLS = "controls"
"""Stands for a column of each control."""
_TESTS = {"p": "p alone", "p, ratios": "p", "p, file": "p in file"}
"""Names of columns of tables that have commas in them, or that lines use otherwise."""
_OTHERS = {name: column for column in SCORES if (name := _TESTS.get(column.name, column.name)) not in _KNOWN}
DEFAULT = (*_KNOWN, CONTROLS)
"""The columns of a line where no others are asked for."""
NAMES = (*DEFAULT, *_OTHERS)
"""Of columns that can be asked for."""


class Notes:
    """What lines share, said once below all of them, each by a letter."""

    def __init__(self, *, declared: bool = True) -> None:
        """None yet; where nothing is declared, nothing is said of that."""
        self._letters: dict[str, str] = {}
        self.declared = declared

    def letter(self, row: ArmResult) -> str:
        """That of what must be known of `row`; empty if nothing must."""
        text = _aside(row, declared=self.declared)
        return self._letters.setdefault(text, _letter(len(self._letters))) if text else ""

    @property
    def text(self) -> str:
        """All of them."""
        return "; ".join(f"{letter}: {text}" for text, letter in self._letters.items())


def _letter(place: int) -> str:
    """A to z, then aa to zz."""
    before, last = divmod(place, 26)
    return f"{_letter(before - 1) if before else ''}{chr(ord('a') + last)}"


def columns(names: Sequence[str], rows: Sequence[ArmResult]) -> list[Column[Any]]:
    """Those of `names`, as `rows` have them, and those of hooks."""
    return [*(column for name in names for column in _columns(name, rows)), *extra_columns(rows)]


def lines(rows: Sequence[ArmResult], shown: Sequence[Column[Any]], sort: str, notes: Notes | None = None) -> list[Line]:
    """A line of the columns `shown` for each of `rows`, in the order of the column `sort`, or else by urgency.

    What is to be known of a claim that is no news goes to `notes`, if there are any.
    """
    return [_line(row, shown, notes) for row in _ordered(rows, sort)]


def _columns(name: str, rows: Sequence[ArmResult]) -> Iterator[Column[Any]]:
    if name == CONTROLS:
        every = dict.fromkeys(key for row in rows if isinstance(row, CapabilityResult) for key in row.controls)
        names = [each for each in every if each != REDRAWN]
        yield from (Column(each, partial(_control, name=each)) for each in names)
    else:
        yield _KNOWN.get(name) or _of_capabilities(name, _OTHERS[name])


def _of_capabilities(name: str, column: Column[Any]) -> Column[Any]:
    """`column` under `name`, with a dash for rows of another kind, which have no such thing."""

    def get(row: ArmResult) -> object:
        return column.get(row) if isinstance(row, CapabilityResult) else None

    return Column(name, get, lambda value: "-" if value is None else column.show(value))


def _ordered(rows: Sequence[ArmResult], sort: str) -> list[ArmResult]:
    if not sort:
        return sorted(rows, key=urgency)
    (column,) = _columns(sort.removeprefix("-"), rows)
    known = [row for row in rows if column.get(row) is not None]
    unknown = [row for row in rows if column.get(row) is None]
    return [*sorted(known, key=column.get, reverse=sort.startswith("-")), *unknown]


def _line(row: ArmResult, shown: Sequence[Column[Any]], notes: Notes | None) -> Line:
    letter = notes.letter(row) if notes else ""
    verdict = f"{SIGNS[row.outcome]}{letter} {row.outcome}"
    cells = tuple(
        (column.name, verdict if column is _VERDICT else one_line(column.show(column.get(row)))) for column in shown
    )
    said = remark(row, declared=notes is None or notes.declared)
    return Line(row, cells, said, FAILED if has_failed(row) else STYLES[row.outcome])


def _aside(row: ArmResult, *, declared: bool) -> str:
    """Of a claim that is as declared or not decided: why that is so, and which way its score counts."""
    lower = "lower is better" if isinstance(row, CapabilityResult) and row.better == "lower" else ""
    open_ = row.outcome == "inconclusive"
    known = row.note if row.outcome == row.declared or (open_ and isinstance(row, CostResult)) else ""
    undecided = f"{row.declared} was declared" if declared and open_ and row.declared != row.outcome else ""
    return one_line("; ".join(filter(None, (undecided, known, lower))))


def remark(row: ClaimResult, *, declared: bool = True) -> str:
    """What else must be known of a claim, in one line that only shows; of what is known already, nothing."""
    failed = f"FAILED: declared {row.declared}" if declared and has_failed(row) else ""
    note = row.note if isinstance(row, ArmResult) else "; ".join(row.reasons)
    asked = ""
    if isinstance(row, ChangeResult) and row.total_items is not None:
        asked = f"after {row.items:,} of {row.total_items:,} items"
    known = row.outcome == row.declared and isinstance(row, ArmResult)
    told = is_news(row) and not known and not (isinstance(row, CostResult) and row.outcome == "inconclusive")
    return one_line("; ".join(filter(None, (failed, asked, note if told else ""))))


def trend_line(row: TrendResult) -> Line:
    """A claim across ratios."""
    cells = (
        ("verdict", _verdict(row)),
        ("claim", one_line(f"{row.relation}: {row.about}")),
        ("found", one_line(row.statistics)),
    )
    return Line(row, cells, remark(row), FAILED if has_failed(row) else STYLES[row.outcome])


def choice_line(row: ChoiceResult) -> Line:
    """A choice among prunings."""
    cells = (
        ("verdict", _verdict(row)),
        ("chosen", one_line(row.chosen or "nothing")),
        (one_line(row.minimise), f"{number(row.dense_cost)} -> {number(row.cost)} {row.unit}".rstrip()),
        ("keeps", one_line(keep(row))),
    )
    return Line(row, cells, remark(row), FAILED if has_failed(row) else STYLES[row.outcome])


_STATES = {"improved": ("✓", "green"), "regressed": ("✗", FAILED), "allowed": ("≈", "yellow")}


def baseline_line(row: BaselineResult) -> Line:
    """A capability of an arm against what was."""
    sign, style = _STATES.get(row.outcome, ("?", "yellow"))
    cells = (
        ("outcome", f"{sign} {row.outcome}"),
        ("capability", one_line(row.capability)),
        ("before->now", f"{number(row.before)} -> {number(row.after)}"),
        ("change (95 %)", f"{_signed(row.delta)} ({_signed(row.low)}, {_signed(row.high)})"),
        ("p", "-" if row.p is None else probability(row.p)),
    )
    return Line(row, cells, one_line(row.note), style)
