"""What two runs come to when they are compared, as tables and files show it."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from glu_prune.baseline.compare import Compared
from glu_prune.errors import BaselineError
from glu_prune.report.clean import one_line
from glu_prune.report.columns import AGAINST
from glu_prune.report.rows import Row, plain
from glu_prune.report.table import frame, render


def is_news(row: Row) -> bool:
    """Whether something was found, so that it is shown when no more is asked for."""
    return bool(row["outcome"] != "unchanged")


def counts(rows: Sequence[Row]) -> Iterator[str]:
    """How often what was found, baseline by baseline."""
    for name in dict.fromkeys(row["against"] for row in rows):
        found = Counter(row["outcome"] for row in rows if row["against"] == name)
        yield f"Against {name}: {', '.join(f'{count} {outcome}' for outcome, count in found.items())}."


def compared_rows(found: Sequence[Compared], against: str) -> list[Row]:
    """Rows about all that was compared in one go, with every item that changed."""
    return [plain(each.row(each.about.model, against, named=None)) for each in found]


def text(rows: Sequence[Row]) -> str:
    """A table of what is news, a sentence for each change, and how often what was found."""
    news = [row for row in rows if is_news(row)]
    tables = [
        f"{one_line(model)}\n{render(AGAINST, [row for row in news if row['model'] == model], 'simple')}"
        for model in dict.fromkeys(row["model"] for row in news)
    ]
    sentences = [one_line(row["sentence"]) for row in news if row["delta"] is not None]
    return "\n\n".join(filter(None, [*tables, "\n".join(sentences), *counts(rows)]))


def _csv(rows: Sequence[Row]) -> str:
    data = frame(AGAINST, rows)
    data.insert(0, "model", [row["model"] for row in rows])
    return data.to_csv(index=False)


_WRITERS: dict[str, Callable[[Sequence[Row]], str]] = {
    ".json": lambda rows: json.dumps(list(rows), indent=1, allow_nan=False) + "\n",
    ".csv": _csv,
    ".md": lambda rows: render(AGAINST, rows, "pipe") + "\n",
}


def refuse_file(path: Path) -> None:
    """Raises `BaselineError` unless rows can be written to a file of that name."""
    if path.suffix not in _WRITERS:
        msg = f"--out {path} is not allowed: its name ends in {', '.join(_WRITERS)}, which says what is written"
        raise BaselineError(msg)


def write(path: Path, rows: Sequence[Row]) -> None:
    """Writes all rows, in the form that the file's name asks for.

    Raises:
        BaselineError: it cannot be written.
    """
    try:
        path.write_text(_WRITERS[path.suffix](rows), encoding="utf-8")
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}; choose another file with --out FILE"
        raise BaselineError(msg) from error
