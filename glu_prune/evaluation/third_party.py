"""Keeps what other people's code prints and raises from the user, except for one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import TextIO

from glu_prune.errors import EvaluationError, first_line


@contextmanager
def errors_as_one_line(says: str) -> Iterator[None]:
    """Turns whatever a backend raises, `SystemExit` included, into an `EvaluationError` that begins with `says`."""
    try:
        yield
    except (Exception, SystemExit) as error:
        msg = f"{says}: {first_line(error)}"
        raise EvaluationError(msg) from error


@contextmanager
def muted() -> Iterator[None]:
    """Discards what is printed. The sink is a real file, because backends ask for its descriptor."""
    sink = _null_stream()
    with redirect_stdout(sink), redirect_stderr(sink):
        yield


@cache
def _null_stream() -> TextIO:
    """Never closed: loggers that are created in the meantime keep it."""
    return Path(os.devnull).open("w", encoding="utf-8")
