"""Rows of a CSV file with typed cells. What is wrong is one line: file, line, what was found, what is allowed."""

import csv
import math
import re
from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from glu_prune.errors import ExpectationError, PlanError
from glu_prune.pruning.ratio import parse_ratio

# Not pydantic models: their numbers read nan, 1_0 and " 1 ", so each type needs a validator of its own that says in one
# line what is allowed, and rows must be copied into the figures' own types; that came to a sixth more code than this.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
"""Narrower than `float`, which also reads nan, inf and 1_000."""

_LONGEST = 1000
"""Characters of a complaint, and of a header in one."""


@dataclass(frozen=True)
class CsvRow:
    """One line of a file, by column."""

    path: Path
    line: int
    cells: Mapping[str, str]

    def refuse(self, complaint: str) -> ExpectationError:
        """The error that says where in the file `complaint` is true."""
        return ExpectationError(f"{self.path}:{self.line}: {complaint[:_LONGEST]}")

    def text(self, column: str) -> str:
        """The cell as it is written, which must not be empty."""
        if not self.cells[column]:
            msg = f"{column} is empty; it must be given"
            raise self.refuse(msg)
        return self.cells[column]

    def number(self, column: str, *, least: float = -math.inf) -> float:
        """The cell as a finite number that is not below `least`."""
        text = self.text(column)
        allowed = "a finite number" if least == -math.inf else f"a finite number >= {least:g}"
        if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)) or float(text) < least:
            msg = f"{column} is {text!r}; allowed: {allowed}"
            raise self.refuse(msg)
        return float(text)

    def optional(self, column: str, *, least: float = -math.inf) -> float | None:
        """As `number`, but None where the cell is empty."""
        return self.number(column, least=least) if self.cells[column] else None

    def count(self, column: str, *, least: int = 1) -> int:
        """The cell as a whole number that is not below `least`."""
        text = self.text(column)
        if not re.fullmatch(r"\d{1,18}", text, re.ASCII) or int(text) < least:
            msg = f"{column} is {text!r}; allowed: a whole number >= {least}"
            raise self.refuse(msg)
        return int(text)

    def ratio(self, column: str) -> Decimal:
        """The cell as a pruning ratio."""
        try:
            return parse_ratio(self.text(column))
        except PlanError as error:
            msg = f"{column}: {error}"
            raise self.refuse(msg) from error


def read_rows(path: Path, required: Collection[str], *, key: Sequence[str]) -> Iterator[CsvRow]:
    """The rows of `path`, which has the `required` columns and no two rows with the same cells under `key`.

    Raises:
        ExpectationError: the file is missing, no CSV, lacks a column, or repeats a row.
    """
    seen: dict[Hashable, int] = {}
    for row in _rows(path, required):
        identity = tuple(_plain(row.cells[column]) for column in key)
        if identity in seen:
            named = ", ".join(f"{column} {row.cells[column]}" for column in key)
            msg = f"{named} is given a second time; allowed: once; the first is in line {seen[identity]}"
            raise row.refuse(msg)
        seen[identity] = row.line
        yield row


def _plain(cell: str) -> Hashable:
    """A number by its value, so that 0.1 and 0.10 are the same."""
    return float(cell) if _NUMBER.fullmatch(cell) else cell


def _rows(path: Path, required: Collection[str]) -> Iterator[CsvRow]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            _check_header(path, header, required)
            for cells in reader:
                line = reader.line_num
                if len(cells) != len(header):
                    msg = f"{path}:{line}: the row has {len(cells)} cells; allowed: {len(header)}, as the header has"
                    raise ExpectationError(msg)
                yield CsvRow(path, line, dict(zip(header, cells, strict=True)))
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise ExpectationError(msg) from error
    except (csv.Error, UnicodeDecodeError) as error:
        msg = f"{path}: not CSV in UTF-8: {error}"
        raise ExpectationError(msg) from error


def _check_header(path: Path, header: Sequence[str], required: Collection[str]) -> None:
    found = ", ".join(header)[:_LONGEST] or "nothing"
    if missing := [column for column in required if column not in header]:
        msg = f"{path}:1: column {missing[0]} is missing; found {found}; needed: {', '.join(required)}"
        raise ExpectationError(msg)
    if repeated := [column for column, count in Counter(header).items() if count > 1]:
        msg = f"{path}:1: column {repeated[0]} occurs more than once; found {found}; allowed: each once"
        raise ExpectationError(msg)
