"""What two runs come to when they are compared, for the terminal and for a file."""

from collections.abc import Sequence
from pathlib import Path

from glu_prune.baseline.compare import Compared
from glu_prune.clean import one_line
from glu_prune.errors import BaselineError
from glu_prune.files import write_whole
from glu_prune.report.baseline_notes import counts, is_news
from glu_prune.report.columns import AGAINST, SCORES_OF_BOTH
from glu_prune.report.formats import formats
from glu_prune.report.table import render
from glu_prune.results.baselines import BaselineResult


def compared_rows(found: Sequence[Compared], against: str) -> list[BaselineResult]:
    """Rows about all that was compared in one go, with every item that changed."""
    return [each.result(each.about.model, against, named=None) for each in found]


def text(rows: Sequence[BaselineResult]) -> str:
    """Tables of what is news and, with fewer columns, of what is none; a sentence for each change; how often what."""
    news = [row for row in rows if is_news(row)]
    others = [row for row in rows if not is_news(row)]
    tables = [
        f"{one_line(model)}\n{render(columns, [row for row in some if row.model == model], 'simple')}"
        for some, columns in ((others, SCORES_OF_BOTH), (news, AGAINST))
        for model in dict.fromkeys(row.model for row in some)
    ]
    sentences = [one_line(row.sentence) for row in news if row.delta is not None]
    return "\n\n".join(filter(None, [*tables, "\n".join(sentences), *counts(rows)]))


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
