"""What two runs come to when they are compared, for the terminal and for a file."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rich.text import Text

from glu_prune.baseline.compare import Compared
from glu_prune.clean import one_line
from glu_prune.errors import BaselineError
from glu_prune.files import write_whole
from glu_prune.judgement.verdict import digits
from glu_prune.report.baseline_notes import counts, is_news
from glu_prune.report.columns import AGAINST
from glu_prune.report.formats import formats
from glu_prune.report.layout import Layout, hanging, rule
from glu_prune.report.lines import Line, baseline_line, number
from glu_prune.report.table import terminal_width
from glu_prune.results.baselines import BaselineResult, State


def compared_rows(found: Sequence[Compared], against: str) -> list[BaselineResult]:
    """Rows about all that was compared in one go, with every item that changed."""
    return [each.result(each.about.subject, against, named=None) for each in found]


_WORST: tuple[State, ...] = ("regressed", "missing", "incomparable", "allowed", "improved", "not shown", "unchanged")
_LEGEND = (
    "changes are B minus A on the same items, in nats for perplexities, of which a lower one is better; p corrected "
    "for all that was compared; --out FILE has every item"
)
_NAMED = 3
"""How many items that changed are named on a screen."""


def text(rows: Sequence[BaselineResult], notes: Iterable[str] = ()) -> str:
    """How often what; then arm by arm what was found; arms of which there is nothing any more; how to read it."""
    width = terminal_width()
    said = [line for each in counts(rows) for line in hanging(one_line(each), width, "")]
    there = {(row.model, row.arm) for row in rows if row.outcome != "missing"}
    for heading, found in arms([row for row in rows if (row.model, row.arm) in there], width, below):
        said += [*rule(heading, width), *found]
    gone = [row for row in rows if (row.model, row.arm) not in there]
    if gone:
        said += rule("arms that are missing", width)
    for model, arm in dict.fromkeys((row.model, row.arm) for row in gone):
        names = ", ".join(row.capability for row in gone if (row.model, row.arm) == (model, arm))
        said += hanging(one_line(f"{model} {arm}: {names}"), width, "")
    if any(row.delta is not None for row in rows):
        said += hanging(_LEGEND, width, "")
    for note in notes:
        said += hanging(one_line(note), width, "")
    return "\n".join(line.plain for line in said)


def arms(
    rows: Sequence[BaselineResult], width: int, remarks: Callable[[Line], str]
) -> Iterator[tuple[str, list[Text]]]:
    """Of each arm, that of the worst first, what it is and its lines: one of each capability that was compared.

    Those that are unchanged, missing or incomparable are named together with their scores before, and why.
    """
    ranked = sorted(rows, key=lambda row: _WORST.index(row.outcome))
    layout = Layout(map(baseline_line, filter(_has_line, rows)), width)
    for model, arm in dict.fromkeys((row.model, row.arm) for row in ranked):
        mine = [row for row in ranked if (row.model, row.arm) == (model, arm)]
        found: list[Text] = []
        if moved := [baseline_line(row) for row in mine if _has_line(row)]:
            found += layout.text(moved, remarks)
        others = [row for row in mine if not _has_line(row)]
        for outcome, note in dict.fromkeys((row.outcome, row.note) for row in others):
            alike = [row for row in others if (row.outcome, row.note) == (outcome, note)]
            names = ", ".join(f"{row.capability} {number(row.before)}" for row in alike)
            said = f"{outcome}: {names}{f' ({note})' if outcome == 'incomparable' else ''}"
            found += hanging(one_line(said), width, "", "" if outcome == "unchanged" else "yellow")
        yield one_line(f"{model} {arm}"), found


def _has_line(row: BaselineResult) -> bool:
    return row.delta is not None and is_news(row)


def below(line: Line) -> str:
    """Which items changed, and what would have been found; why it is not what it could be taken for."""
    row = line.row
    assert isinstance(row, BaselineResult)
    named = [
        f"{count:,} {how}: {', '.join(names[:_NAMED])}{' ..' if len(names) > _NAMED else ''}"
        for count, how, names in ((row.worse, "worse", row.worse_items), (row.improved, "better", row.improved_items))
        if count
    ]
    items = f"{row.items:,} items, of which {', '.join(named)}" if named else ""
    finds = f"would find a loss of {digits(row.catches)}" if row.catches is not None else ""
    return one_line("; ".join(filter(None, (row.note, items, finds))))


def refuse_file(path: Path) -> None:
    """Raises `BaselineError` unless rows can be written to a file of that name."""
    if path.suffix not in formats():
        msg = f"--out {path} is not allowed: its name ends in {', '.join(formats())}, which says what is written"
        raise BaselineError(msg)


def write(path: Path, rows: Sequence[BaselineResult]) -> None:
    """Writes all rows, in the form that the file's name asks for.

    Raises:
        BaselineError: it cannot be written.
    """
    try:
        write_whole(path, formats()[path.suffix].table(AGAINST, rows))
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}; choose another file with --out FILE"
        raise BaselineError(msg) from error
