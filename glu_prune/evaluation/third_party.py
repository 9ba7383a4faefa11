"""What code that is not ours prints and raises, kept from the user but for one line."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import TextIO

from glu_prune.errors import EvaluationError, first_line


@contextmanager
def errors_as_one_line(says: str) -> Iterator[None]:
    """Turns whatever a backend raises, or that it would end the process, into one line."""
    try:
        yield
    except (Exception, SystemExit) as error:
        msg = f"{says}: {first_line(error)}"
        raise EvaluationError(msg) from error


@contextmanager
def muted() -> Iterator[None]:
    """Swallows chatter. What stands in for the terminal is a file: backends ask it for its descriptor."""
    sink = _null_stream()
    with redirect_stdout(sink), redirect_stderr(sink):
        yield


@cache
def _null_stream() -> TextIO:
    """Never closed, as loggers that are made meanwhile keep it."""
    return Path(os.devnull).open("w", encoding="utf-8")
