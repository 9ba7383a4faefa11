"""What was found, as a CSV file and as the table of docs/serving.md."""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from pydantic import TypeAdapter

from glu_prune.files import write_whole
from glu_prune.report.table import Column, render

FILE = Path(__file__).parent / "results.csv"


@dataclass(frozen=True)
class Row:
    """One model in one format, as one engine serves it."""

    engine: str
    version: str
    format: str
    model: str
    """`dense`, or the name of the pruned folder."""
    width: int
    bytes: int
    """Of the files that the engine loads, without tokenizers."""
    down: str
    """Types of the matrices of down that are not as asked for; GGUF files alone."""
    others: str
    prompts: int
    positions: int
    mean: float
    """Absolute difference of log-probabilities from the judged model, nats."""
    largest: float
    same_first: float
    """Share of places."""
    same_texts: float
    """Share of greedy continuations of `answers.NEW` tokens."""
    same_ids: float | None
    """Share of prompts that the file's own tokenizer reads as the checkpoint's does, where it has one."""
    prefill: float
    """Tokens per second, median."""
    decode: float
    machine: str


def read(file: Path = FILE) -> list[Row]:
    """The rows of a file that `write` wrote."""
    known = TypeAdapter(Row)
    with file.open(newline="", encoding="utf-8") as lines:
        return [known.validate_python(line | {"same_ids": line["same_ids"] or None}) for line in csv.DictReader(lines)]


def write(rows: Iterable[Row], file: Path) -> None:
    """Writes `rows`, and of those that `file` has the ones of other engines and formats."""
    new = list(rows)
    again = {(row.engine, row.format) for row in new}
    kept = [row for row in read(file) if (row.engine, row.format) not in again] if file.exists() else []
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in [*kept, *new])
    write_whole(file, text.getvalue())


def table(rows: Iterable[Row]) -> str:
    """As Markdown."""
    return render(_COLUMNS, list(rows), "pipe")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


_COLUMNS: tuple[Column[Row], ...] = (
    Column("engine", lambda row: row.engine),
    Column("format", lambda row: row.format),
    Column("model", lambda row: row.model),
    Column("width", lambda row: row.width, "{:,}".format),
    Column("MB", lambda row: row.bytes / 1e6, "{:,.0f}".format),
    Column("mean, nats", lambda row: row.mean, "{:.2g}".format),
    Column("largest, nats", lambda row: row.largest, "{:.2g}".format),
    Column("same next token", lambda row: row.same_first, "{:.4f}".format),
    Column("same texts", lambda row: row.same_texts, _share),
    Column("prefill, tokens/s", lambda row: row.prefill, "{:,.0f}".format),
    Column("decode, tokens/s", lambda row: row.decode, "{:,.1f}".format),
)
