"""Writes docs/replication.md from the packs of records in expectations/evidence, and from the study's own figures.

    python -m tools.replication

Its first paragraph, the answer, goes into README.md, too, and its first figure.

Packs are judged as `pytest benchmarks --glu-evidence NAME` judges them. Every number of the page stands in the reports
of that; `tools/replication.md.j2` says where it goes. The README's picture is a figure of `glu-prune report`.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from glu_prune.errors import GluPruneError
from glu_prune.files import write_whole
from glu_prune.pruning.criteria import KEEPING
from glu_prune.pruning.ratio import show_ratio
from glu_prune.report.columns import WHY
from glu_prune.report.columns import probability as p_value
from glu_prune.report.page.figure import written
from glu_prune.report.page.figures import figures
from glu_prune.report.table import Column, render
from glu_prune.results.base import Row
from glu_prune.results.claims import CapabilityResult, ChangeResult, CostResult
from glu_prune.results.explanations import Explanation, GroupScores
from glu_prune.results.report import Report
from glu_prune.sources.judged import PUBLISHED, judged, merged

ROOT = Path(__file__).parent.parent
EVIDENCE = ROOT / "expectations" / "evidence"
PAGE = ROOT / "docs" / "replication.md"
README = ROOT / "README.md"
PICTURE = ROOT / "docs" / "replication.svg"
OUTSIDE = "outside.json"
"""Beside a pack: what `tools/outside.py` found."""
PACKS = tuple(sorted(each.parent.name for each in EVIDENCE.glob("*/glu-prune-store.json")))
_TEMPLATE = "replication.md.j2"
_MARKS = {"confirmed": "C", "refuted": "R", "artefact": "A", "inconclusive": "?"}
_LONG = 1000
_ANSWER = re.compile(r"(?<=<!-- replication -->\n).*(?=\n<!-- /replication -->)", re.DOTALL)
_WHY_TEXTS = ("ratio", "better", "worse", "commonest answer", "tokens", "kinds", "score without", "over")
_WHY_CHOICES = ("capability", "ratio", "better", "worse", "other answers", "commonest answer", "margin, nats")
_RowT = TypeVar("_RowT", bound=Row)
_ChangeT = TypeVar("_ChangeT", bound=ChangeResult)


def report_of(evidence: str, expectations: Path = ROOT / "expectations") -> Report:
    """What the claims in a file or folder come to on a pack, or on the published figures.

    Raises:
        GluPruneError: a verdict is not the one that is declared.
    """
    found = judged(evidence, expectations, ROOT).report
    if failed := [case.message for case in found.cases if case.result == "failed"]:
        msg = f"{evidence}: {len(failed)} claims are not as declared: {failed[0]}"
        raise GluPruneError(msg)
    return found


@dataclass(frozen=True)
class Found:
    """What a report says of one model."""

    report: Report
    model: str
    """As tables name it."""

    @cached_property
    def scores(self) -> tuple[CapabilityResult, ...]:
        """The claims about capabilities at ratios."""
        return self._mine(self.report.scores)

    def at(self, capability: str, ratio: str) -> CapabilityResult:
        """The claim about a capability at a ratio; raises `LookupError` if it was not judged."""
        for row in self.of(capability):
            if row.ratio == Decimal(ratio):
                return row
        msg = f"{self.model}: no claim about {capability} at {ratio} was judged"
        raise LookupError(msg)

    def of(self, capability: str) -> tuple[CapabilityResult, ...]:
        """The claims about a capability, by ratio."""
        return tuple(sorted((row for row in self.scores if row.capability == capability), key=lambda row: row.order))

    @property
    def table(self) -> str:
        """A row for each capability, a column for each ratio: its score, and the first letter of the verdict."""
        said: Mapping[str, Callable[[CapabilityResult], str]] = {
            "capability": lambda row: row.capability,
            "claim": lambda row: row.claim,
            "items": lambda row: f"{row.items:,}",
            "floor": lambda row: number(row.floor),
            "dense": lambda row: number(row.dense),
        }
        return _by_ratio(self.scores, said, lambda row: number(row.pruned))

    @property
    def costs(self) -> str:
        """A row for each figure of cost, a column for each ratio: by how much it changes, and the verdict's letter."""
        said: Mapping[str, Callable[[CostResult], str]] = {
            "figure": lambda row: row.capability,
            "claim": lambda row: row.claim,
            "dense": lambda row: number(row.dense),
        }
        return _by_ratio(self._mine(self.report.costs), said, lambda row: f"{row.percent[0]:+.1f} %")

    def changes(self, capability: str) -> str:
        """A row for each ratio: what a capability scores there, by how much that is another score, and the verdict."""
        columns = (
            Column[CapabilityResult]("ratio", lambda row: row.ratio, show_ratio),
            Column[CapabilityResult]("score", lambda row: row.pruned, number),
            Column[CapabilityResult]("change", lambda row: row.delta, "{:+.3f}".format),
            Column[CapabilityResult]("95 % interval", lambda row: f"{row.low:+.3f} to {row.high:+.3f}"),
            Column[CapabilityResult]("p, corrected", lambda row: row.p_ratios, p_value),
            Column[CapabilityResult]("verdict", lambda row: row.outcome),
        )
        return render(columns, self.of(capability), "pipe")

    def has_controls(self, ratio: str) -> bool:
        """Whether some claim at a ratio was judged beside another criterion."""
        return any(row.controls for row in self.scores if row.ratio == Decimal(ratio))

    def controls(self, ratio: str) -> str:
        """A row for each capability with controls at a ratio: what each criterion scores."""
        rows = [row for row in self.scores if row.ratio == Decimal(ratio) and row.controls]
        columns = (
            Column[CapabilityResult]("capability", lambda row: row.capability),
            Column[CapabilityResult]("dense", lambda row: row.dense, number),
            Column[CapabilityResult]("ppm", lambda row: row.pruned, number),
            *(_control(name) for name in dict.fromkeys(name for row in rows for name in row.controls)),
        )
        return render(columns, rows, "pipe")

    def keeping(self, capability: str, ratio: str) -> float | None:
        """What the control scores that spares some neurons."""
        controls = self.at(capability, ratio).controls
        return next((score for name, score in controls.items() if KEEPING in name), None)

    def draws(self, capability: str, ratio: str) -> list[float]:
        """What each draw of the control `random` scores on a capability at a ratio."""
        return sorted(self.at(capability, ratio).draws.get("random", ()))

    def why_at(self, capability: str, ratio: str) -> Explanation:
        """What lies behind a change that was judged."""
        return next(row for row in self._why if (row.capability, row.ratio) == (capability, Decimal(ratio)))

    def why(self, capability: str) -> str:
        """What lies behind the changes of texts, a row for each ratio."""
        columns = [column for column in WHY if column.name in _WHY_TEXTS]
        return render(columns, [row for row in self._why if row.capability == capability], "pipe")

    def why_of(self, capabilities: Sequence[str]) -> str:
        """What lies behind the changes of choices, a row for each capability and ratio."""
        columns = [column for column in WHY if column.name in _WHY_CHOICES]
        rows = [row for name in capabilities for row in self._why if row.capability == name]
        return render(columns, rows, "pipe")

    @cached_property
    def _why(self) -> tuple[Explanation, ...]:
        return self._mine(self.report.why)

    def groups(self, capability: str, ratio: str, least: int) -> str:
        """A capability by groups of at least so many items at a ratio: those that rose most come first."""
        every = self._mine(self.report.groups)
        rows = [
            row for row in every if (row.capability, row.ratio) == (capability, Decimal(ratio)) and row.items >= least
        ]
        columns = (
            Column[GroupScores]("instruction", lambda row: row.label),
            Column[GroupScores]("items", lambda row: row.items),
            Column[GroupScores]("dense", lambda row: row.dense, number),
            Column[GroupScores](f"at {ratio}", lambda row: row.pruned, number),
        )
        return render(columns, sorted(rows, key=lambda row: (row.dense or 0) - (row.pruned or 0)), "pipe")

    def _mine(self, rows: Iterable[_RowT]) -> tuple[_RowT, ...]:
        return tuple(row for row in rows if row.model == self.model)


def _by_ratio(
    rows: Iterable[_ChangeT], said: Mapping[str, Callable[[_ChangeT], str]], show: Callable[[_ChangeT], str]
) -> str:
    """A row for each thing that claims are about: what is `said` of it, then what shows at each ratio."""
    every: dict[str, dict[Decimal, _ChangeT]] = {}
    for row in rows:
        if row.ratio is not None:
            every.setdefault(row.capability, {}).setdefault(row.ratio, row)

    def first(text: Callable[[_ChangeT], str]) -> Callable[[Mapping[Decimal, _ChangeT]], str]:
        return lambda each: text(each[min(each)])

    def at(ratio: Decimal) -> Callable[[Mapping[Decimal, _ChangeT]], str]:
        return lambda each: f"{show(each[ratio])} {_MARKS[each[ratio].outcome]}" if ratio in each else ""

    ratios = sorted({ratio for each in every.values() for ratio in each})
    columns = (
        *(Column(name, first(text)) for name, text in said.items()),
        *(Column(show_ratio(ratio), at(ratio)) for ratio in ratios),
    )
    return render(columns, every.values(), "pipe")


def _control(name: str) -> Column[CapabilityResult]:
    how, keeping, _ = name.partition(KEEPING)  # which neurons these are is said elsewhere
    return Column(f"{how}{keeping}".strip(), lambda row: row.controls.get(name), number)


def number(value: float | None) -> str:
    """Three decimals, or none where it is large."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= _LONG else f"{value:.3f}"


def probability(value: float) -> str:
    """With its name."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def change(row: CapabilityResult) -> str:
    """What moved, of how many items, with interval and corrected p."""
    return (
        f"{number(row.dense)} to {number(row.pruned)} ({row.delta:+.3f}, 95 % interval {row.low:+.3f} to "
        f"{row.high:+.3f}, n = {row.items:,}, {probability(row.p_ratios)} corrected for {row.tests} ratios)"
    )


def checked(pack: str) -> str:
    """How a pack's dense scores agree with lm-eval's own `HFLM`, by `tools/outside.py`; empty if that was not asked."""
    file = EVIDENCE / pack / OUTSIDE
    if not file.is_file():
        return ""
    found: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    rows = [
        {"task": task, "metric": metric, **each["scores"][metric], **each}
        for task, each in found.items()
        for metric in each["scores"]
    ]
    names = ("task", "metric", "items", "equal choices", "pack", "lm-eval")
    columns = [Column[Mapping[str, Any]](name, itemgetter(name), _shown) for name in names]
    return render(columns, rows, "pipe")


def _shown(value: str | float) -> str:
    return number(value) if isinstance(value, float) else str(value)


def page(reports: Mapping[str, Report]) -> str:
    """The page, of the reports of each pack and of the published figures by their names.

    Raises:
        LookupError: it needs what was not judged.
    """
    here = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=here, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    helpers: dict[str, Callable[..., object]] = {"number": number, "probability": probability, "change": change}
    environment.filters |= helpers

    def found(evidence: str, model: str | None = None) -> Found:
        return Found(reports[evidence], model or evidence)

    return environment.get_template(_TEMPLATE).render(found=found, checked=checked)


def with_answer(readme: str, text: str) -> str:
    """README.md with the first paragraph of the page; raises `LookupError` if it has no place for it."""
    if not _ANSWER.search(readme):
        msg = "README.md has no <!-- replication --> to <!-- /replication -->"
        raise LookupError(msg)
    return _ANSWER.sub(lambda _: text.split("\n\n")[1], readme)


def main() -> int:
    """Writes the page, and the answer."""
    reports = {name: report_of(name) for name in (PUBLISHED, *PACKS)}
    text = page(reports)
    write_whole(PAGE, text)
    write_whole(README, with_answer(README.read_text(encoding="utf-8"), text))
    drawn = figures(merged([(name, reports[name]) for name in PACKS]))
    figure = next(each for each in drawn if each.name == "dose-instruction_following")
    write_whole(PICTURE, written(figure, "svg"))
    sys.stdout.write(f"{PAGE}\n{PICTURE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
