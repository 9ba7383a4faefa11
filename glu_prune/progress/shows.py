"""Where progress is shown: a line that is rewritten in place, a plain line a minute, a file for another process."""

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import RLock
from typing import TextIO

from glu_prune.clean import one_line
from glu_prune.files import write_whole
from glu_prune.progress.work import Clock, Running, Show, Snapshot, together

_REDRAWN = 0.2
"""Seconds between two states of a line that is rewritten in place."""
_PLAIN = 60.0
"""Seconds between two plain lines."""
_PUBLISHED = 1.0
"""Seconds between two states of a file."""


class PlainLines(Show):
    """A line a minute, for logs."""

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        """The first line comes after a minute: what is done sooner needs none."""
        self._stream = stream
        self._clock = clock
        self._due = clock() + _PLAIN

    def __call__(self, state: Callable[[], Snapshot], *, now: bool = False) -> None:
        """Writes a line if something runs and a minute has passed since the last; `now` is no exception."""
        del now
        if self._clock() < self._due or not (found := state()).running:
            return
        self._due = self._clock() + _PLAIN
        with suppress(OSError):  # a closed pipe ends no run
            self._stream.write(f"{one_line(str(found))}\n")
            self._stream.flush()


class StatusLine(Show):
    """One line below the cursor, rewritten in place, while others write above it.

    tqdm and rich leave the cursor at the beginning of a line. Whoever writes several times to one line, as pytest does
    with its dots, would overwrite them; so here the cursor comes back to where it was.
    """

    # Down and up again, so that there is a line below; then, with the cursor saved, to it, erased, and back.
    _BELOW = "\x1bD\x1b[A\x1b7\r\x1b[B\x1b[2K"
    _BACK = "\x1b8"

    def __init__(self, stream: TextIO, clock: Clock = time.monotonic) -> None:
        """`stream` is a terminal; nothing is drawn yet."""
        self._stream = stream
        self._clock = clock
        self._due = 0.0
        self._drawn = False
        self._lock = RLock()

    def __call__(self, state: Callable[[], Snapshot], *, now: bool = False) -> None:
        """Draws the line if something runs and it was not drawn just now; else the line goes away."""
        with self._lock:
            if not now and self._clock() < self._due:
                return
            self._due = self._clock() + _REDRAWN
            found = state()
            line = one_line(str(found))[: self._width - 1] if found.running else ""
            if line or self._drawn:
                self._drawn = True  # at once: an interruption may come right after the line was written
                self._write(f"{self._BELOW}{line}{self._BACK}")
            self._drawn = bool(line)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, the line is gone and stays away, so that others can write to the terminal."""
        with self._lock:
            if self._drawn:
                self._write(f"{self._BELOW}{self._BACK}")
                self._drawn = False
            yield

    @property
    def _width(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or 80
        except OSError:
            return 80

    def _write(self, text: str) -> None:
        with suppress(OSError):  # a closed terminal ends no run
            self._stream.write(text)
            self._stream.flush()


class Published(Show):
    """A file, for a process that shows the work of several."""

    def __init__(self, path: Path, clock: Clock = time.monotonic) -> None:
        """Nothing is written yet."""
        self._path = path
        self._clock = clock
        self._due = 0.0

    def __call__(self, state: Callable[[], Snapshot], *, now: bool = False) -> None:
        """Writes the file, if it was not written just now."""
        if now or self._clock() >= self._due:
            self._due = self._clock() + _PUBLISHED
            with suppress(OSError):  # on another machine there is no such folder
                write_whole(self._path, json.dumps(asdict(state())).encode())


def published(folder: Path) -> Snapshot:
    """The state of all processes that publish theirs in `folder`, in files called `*.json`."""
    return together(_read(path) for path in sorted(folder.glob("*.json")))


def shown_on(stream: TextIO, clock: Clock = time.monotonic) -> Show:
    """What shows work on `stream`: in place if that is a terminal, else plain lines."""
    in_place = stream.isatty() and os.environ.get("TERM") != "dumb"
    return StatusLine(stream, clock) if in_place else PlainLines(stream, clock)


def _read(path: Path) -> Snapshot:
    fields = json.loads(path.read_bytes())
    running = tuple(Running(**{**each, "keys": tuple(each["keys"])}) for each in fields["running"])
    return Snapshot(**{**fields, "found": tuple(fields["found"]), "running": running})
