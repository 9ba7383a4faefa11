"""Texts that a model has finished, in a file until all of their cell are: a stopped run need not write them again."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from glu_prune.evaluation.decoding import Generation


class Drafts:
    """Finished texts of one model, by their prompts; a file that cannot be written keeps nothing, and stops nothing."""

    def __init__(self, file: Path | None = None, told: Callable[[int], None] = lambda _: None) -> None:
        """Without a file nothing is kept; `told` is given how many texts are taken from it."""
        self._file = file
        self._told = told
        self.taken = 0
        """Texts that were taken from the file."""

    def left(self, rows: Iterable[Generation]) -> list[Generation]:
        """Those of `rows` that are still to be written; the others are finished as they were before."""
        kept, found = self._read(), []
        if not kept:
            return list(rows)
        for row in rows:
            if not (text := kept.get(_digest(row))) or not _is_finished_by(row, *text):
                found.append(row)
            else:
                self.taken += 1
        if self.taken:
            self._told(self.taken)
        return found

    def keep(self, row: Generation) -> None:
        """Adds a finished text."""
        if self._file is None:
            return
        line = json.dumps([_digest(row), row.generated, row.near_tie])
        with suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as file:
                # A line of its own, whatever a process that was killed has left of its last one.
                file.write(f"\n{line}")

    def _read(self) -> Mapping[str, tuple[list[int], bool]]:
        """Tokens, and whether one was a near tie, by the digests of prompts; what cannot be read is not there."""
        found: dict[str, tuple[list[int], bool]] = {}
        lines = []
        if self._file is not None:
            with suppress(OSError, UnicodeDecodeError):
                lines = self._file.read_text(encoding="utf-8").split("\n")
        for line in lines:
            with suppress(ValueError, TypeError):
                digest, tokens, near_tie = json.loads(line)
                found[str(digest)] = [int(token) for token in tokens], bool(near_tie)
        return found


def _digest(row: Generation) -> str:
    asked: list[Any] = [list(row.prompt), row.limit]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _is_finished_by(row: Generation, tokens: list[int], near_tie: bool) -> bool:
    """Whether `tokens` are the whole text of `row`, which then has them."""
    for token in tokens:
        if row.finished:
            break
        row.append_token(token, near_tie=near_tie)
    if row.finished and len(row.generated) == len(tokens):
        return True
    row.generated.clear()
    row.finished = row.near_tie = False
    return False
