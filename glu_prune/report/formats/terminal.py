"""A report in the terminal: claims as lines, arm by arm, then findings and how to read it; tables where more is wanted.

No line is wider than the window. What is printed is `rich`'s text: colours where the terminal has them, ASCII where its
encoding has no more.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, get_args

from rich.text import Text

from glu_prune.clean import encodable, one_line
from glu_prune.report import lines
from glu_prune.report.against import arms
from glu_prune.report.baseline_notes import is_news
from glu_prune.report.layout import Layout, console, hanging, rule
from glu_prune.report.table import render, terminal_width
from glu_prune.report.tables import extents, notes, sections
from glu_prune.results.base import OfArm, Outcome
from glu_prune.results.claims import ArmResult, CapabilityResult, ClaimResult, CostResult
from glu_prune.results.costs import ModelSize
from glu_prune.results.findings import Finding
from glu_prune.results.report import Report

_MORE = " .."
"""Follows what is said in full by tables and with `-v`."""


@dataclass(frozen=True)
class Shape:
    """What a report looks like: with `long`, also tables and each verdict as a sentence."""

    long: bool = False
    columns: Sequence[str] = lines.DEFAULT
    sort: str = ""
    declared: bool = True
    """Whether files declare what is to be found."""
    more: str = "-v shows more"
    """Where the rest is."""


@dataclass(frozen=True)
class Block:
    """Lines under a heading; without a heading they just follow."""

    heading: str
    lines: tuple[Text, ...]

    @property
    def text(self) -> str:
        """Its lines without colours."""
        return "\n".join(line.plain for line in self.lines)


@dataclass(frozen=True)
class _Arm:
    """What is said of one arm: of capabilities, and below that of costs, which have neither floor nor controls."""

    model: str
    about: str
    rows: Sequence[ArmResult]
    parts: Sequence[Sequence[lines.Line]]


def blocks(report: Report, shape: Shape) -> Iterator[Block]:
    """What is printed: of each model its arms, claims across ratios and news of baselines; then what checks found."""
    width, asides = terminal_width(), None if shape.long else lines.Notes(declared=shape.declared)
    arms = list(_arms(report, shape, asides))
    layout = Layout((line for arm in arms for part in arm.parts for line in part), width)
    for model in dict.fromkeys(row.model for name in _CLAIMS for row in report.rows(name)):
        for arm in (arm for arm in arms if arm.model == model):
            shown = [layout.text(part, _said(shape)) for part in arm.parts]
            heading = f"{arm.about}: {_counts(arm.rows, declared=shape.declared)}"
            yield Block(one_line(heading), tuple(chain(*shown)))
        yield from _others(report, model, shape, width)
    if report.findings and not shape.long:  # else there is a table of them
        yield Block("", tuple(bullets(report.findings, width)))
    if shape.long:
        for section in sections(report):
            yield Block(one_line(section.heading), _plain(render(section.columns, section.rows, "simple")))
    said = notes(report) if shape.long else (*_legend(report, shape, asides), *extents(report))
    yield Block("", tuple(line for each in said for line in hanging(each, width, "", "dim")))


def _legend(report: Report, shape: Shape, asides: lines.Notes | None) -> Iterator[str]:
    """How to read the lines, as far as they need it."""
    if not any(map(report.rows, _CLAIMS)):
        return
    judged = [row for name in _AT_RATIOS for row in report.rows(name) if isinstance(row, ArmResult)]
    capabilities = [row for row in judged if isinstance(row, CapabilityResult)]
    said = {
        _as_declared(report): shape.declared,
        "perplexities change in nats": any(row.better == "lower" for row in capabilities),
        "p corrected for ratios": any(row.tests > 1 for row in judged),
        "floor: of answers without content": any(row.floor is not None for row in capabilities),
        shape.more: True,
    }
    if asides and asides.text:
        yield asides.text
    if found := "; ".join(text for text, applies in said.items() if text and applies):
        yield found


def _as_declared(report: Report) -> str:
    """That verdicts are those that files declare, and how many of these are no confirmation."""
    claims = [row for name in _CLAIMS for row in report.rows(name) if isinstance(row, ClaimResult)]
    known = Counter(row.outcome for row in claims if row.outcome == row.declared)
    passed = ", ".join(f"{known[outcome]} {outcome}" for outcome in ("refuted", "artefact") if known[outcome])
    return "verdicts as declared unless said" + (f" ({passed}: these pass)" if passed else "")


def lines_of(report: Report, shape: Shape) -> Iterator[Text]:
    """What is printed, line by line."""
    for block in blocks(report, shape):
        if block.heading:
            yield from rule(block.heading, terminal_width())
        yield from block.lines


def printed(line: Text, *, colour: bool, encoding: str) -> str:
    """`line` as a terminal of that encoding is given it, in which CI finds no command, wherever it was broken."""
    if (safe := one_line(line.plain)) != line.plain:
        line = Text(safe, style=line.style)
    if (plain := encodable(line.plain, encoding)) != line.plain:
        line = Text(plain, spans=line.spans, style=line.style)
    if not colour:
        return line.plain
    with console().capture() as captured:
        console().print(line, end="", no_wrap=True, soft_wrap=True)
    return captured.get()


_AT_RATIOS = ("scores", "distances", "costs")
_CLAIMS = (*_AT_RATIOS, "trends", "choices", "baseline")


def _plain(text: str) -> tuple[Text, ...]:
    return tuple(map(Text, text.splitlines()))


def _arms(report: Report, shape: Shape, asides: lines.Notes | None) -> Iterator[_Arm]:
    every = [row for name in _AT_RATIOS for row in report.rows(name) if isinstance(row, ArmResult)]
    parts = [[row for row in every if isinstance(row, CostResult) is cost] for cost in (False, True)]
    columns = [lines.columns(shape.columns, part) for part in parts]
    for model in dict.fromkeys(row.model for name in _CLAIMS for row in report.rows(name)):
        rows = sorted((row for row in every if row.model == model), key=lambda row: row.order)
        for at in dict.fromkeys(row.at for row in rows):
            mine = [[row for row in part if (row.model, row.at) == (model, at)] for part in parts]
            found = [
                lines.lines(part, shown, shape.sort, asides) for part, shown in zip(mine, columns, strict=True) if part
            ]
            flat = [*chain(*mine)]
            yield _Arm(model, _about(report, model, flat[0], shape), flat, found)


def _said(shape: Shape) -> Any:
    """What stands below a line: its remark or, where more is wanted, the whole sentence and why it was claimed."""

    def sentence(line: lines.Line) -> str:
        why = getattr(line.row, "why", "")
        return one_line(f"{line.row.sentence}{f' (claimed because: {why})' if why else ''}")

    return sentence if shape.long else lambda line: line.remark


def _about(report: Report, model: str, of: OfArm, shape: Shape) -> str:
    """Which arm that is, and how large it is beside the dense one, as far as cells tell."""
    mine = [cell for cell in report.cells if cell.model == model and not cell.control]
    pruned = {cell.arm: cell.size for cell in mine if cell.at == of.at and cell.ratio != 0}
    dense = next((cell.size for cell in mine if cell.ratio == 0), None)
    if not shape.declared and of.named:
        said = f"{of.named} against {model}"
    else:
        said = model + (f" {of.named}" if of.named else "" if pruned and dense else f" at {of.at}")
    if not pruned or dense is None:
        return said
    sizes = {(size.width, size.parameters): size for size in pruned.values()}.values()
    widths = ", ".join(_change(dense, size) for size in sizes)
    arms = ", ".join(arm for arm in pruned if arm != of.named)
    return f"{said}{':' if of.named and arms else ''}{f' {arms}' if arms else ''}, {widths}"


def _change(dense: ModelSize, pruned: ModelSize) -> str:
    """Of the width, or of all parameters where the first block is not what was cut."""
    if dense.width != pruned.width:
        return f"width {dense.width:,} -> {pruned.width:,}"
    if dense.parameters == pruned.parameters:
        return f"as wide as the dense model, {dense.width:,}"
    return f"{dense.parameters:,} -> {pruned.parameters:,} parameters"


def _counts(rows: Sequence[ClaimResult], *, declared: bool = True) -> str:
    found = Counter(row.outcome for row in rows)
    said = [f"{found[outcome]} {outcome}" for outcome in get_args(Outcome) if found[outcome]]
    failed = declared and sum(map(lines.has_failed, rows))
    return ", ".join([*said, f"{failed} NOT AS DECLARED"] if failed else said)


def _others(report: Report, model: str, shape: Shape, width: int) -> Iterator[Block]:
    trends = sorted((row for row in report.trends if row.model == model), key=lines.urgency)
    if trends:
        found = [lines.trend_line(row) for row in trends]
        yield Block(
            one_line(f"{model} across ratios: {_counts(trends)}"),
            tuple(Layout(found, width).text(found, _said(shape))),
        )
    choices = sorted((row for row in report.choices if row.model == model), key=lines.urgency)
    if choices:
        found = [lines.choice_line(row) for row in choices]
        shown = tuple(Layout(found, width).text(found, _said(shape)))
        yield Block(one_line(f"{model}, chosen: {_counts(choices)}"), shown)
    news = [row for row in report.baseline if row.model == model and is_news(row)]
    for against in dict.fromkeys(row.against for row in news):
        mine = [row for row in news if row.against == against]
        for arm, said in arms(mine, width, _said(shape)):
            yield Block(one_line(f"{arm} against {against}"), tuple(said))


def bullets(rows: Sequence[Finding], width: int) -> Iterator[Text]:
    """A bullet for each check that spoils figures, with the first of what it found; then the others that found some."""
    checks = {check: [row for row in rows if row.check == check] for check in dict.fromkeys(row.check for row in rows)}
    spoilt = [check for check, mine in checks.items() if any(row.spoils for row in mine)]
    for check in spoilt:
        first, *more = checks[check]
        about = f"{check} ({1 + len(more)})" if more else f"{check}: {first.model}"
        said, *rest = hanging(one_line(f"{about}: {first.says.partition('. ')[0]}"), width - len(_MORE), "• ")
        yield said.append(_MORE if rest else "")
    if others := ", ".join(f"{check} ({len(mine)})" for check, mine in checks.items() if check not in spoilt):
        yield from hanging(one_line(f"spoil no verdict: {others}"), width, "• ")
