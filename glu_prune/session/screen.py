"""What the terminal shows while a session computes: lines about what is done, and how far it is."""

import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

from glu_prune.clean import one_line
from glu_prune.options import is_worker
from glu_prune.progress.shows import Published, published, shown_on
from glu_prune.progress.work import Show, Snapshot, Work

_FOLDER = "glu_prune_progress"
"""Under which a worker is told where to publish how far it is."""
_LOOKED = 0.5
"""Seconds between two looks at what workers publish."""


class Screen:
    """The terminal of a session, if it has one: workers of pytest-xdist have none, and tell the process that has."""

    def __init__(self, config: pytest.Config) -> None:
        """Nothing is shown yet."""
        self._config = config
        self._show = _show(config)
        self._workers: _Workers | None = None
        self.work = Work(self._show)
        """What the cases of this process need, and how far it is."""
        self.interrupted = False
        """Whether the user ended the session."""

    def say(self, line: str) -> None:
        """Writes a line to the terminal, past pytest's capture; nothing with `-q`."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        capture = self._config.pluginmanager.get_plugin("capturemanager")
        if reporter and capture and reporter.verbosity >= 0 and not is_worker(self._config):
            with self.paused(), capture.global_and_fixture_disabled():
                reporter.ensure_newline()
                reporter.write_line(f"  {one_line(line)}")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, others write to the terminal."""
        with self._show.paused():
            yield

    def follow(self, workerinput: dict[str, object]) -> None:
        """Shows what a worker of pytest-xdist does, too, which is started with `workerinput`."""
        if self._workers is None:
            self._workers = _Workers(self._show)
            self._config.add_cleanup(self._workers.forget)
        workerinput[_FOLDER] = str(self._workers.folder)

    def close(self) -> None:
        """Shows nothing more."""
        if self._workers:
            self._workers.stop()
        with self.paused():
            pass

    def kept(self, store: Path) -> str:
        """What an interruption leaves in `store`, in a line; empty if there was none, or nothing was to be computed."""
        if not self.interrupted:
            return ""
        state = self._workers.state() if self._workers else self.work.snapshot()
        return state.kept(store)


class _Workers:
    """Shows from time to time, in a thread of its own, what the workers publish."""

    def __init__(self, show: Show) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="glu-prune-progress-")
        self.folder = Path(self._temporary.name)
        self._show = show
        self._over = Event()
        self._thread = Thread(target=self._follow, daemon=True)
        self._thread.start()

    def state(self) -> Snapshot:
        return published(self.folder)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def forget(self) -> None:
        self.stop()
        self._temporary.cleanup()

    def _follow(self) -> None:
        while not self._over.wait(_LOOKED):
            self._show(self.state)


def _show(config: pytest.Config) -> Show:
    if is_worker(config):
        told: dict[str, str] = config.workerinput  # type: ignore[attr-defined]
        return Published(Path(told[_FOLDER], f"{told['workerid']}.json")) if _FOLDER in told else Show()
    if config.option.verbose < 0 or not config.pluginmanager.has_plugin("terminal"):
        return Show()
    try:
        # A descriptor of its own: pytest redirects the standard one to its capture while tests run.
        descriptor = os.dup(sys.stderr.fileno())
    except (io.UnsupportedOperation, AttributeError, ValueError, OSError):  # closed, or replaced
        return Show()
    stream = os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace")
    config.add_cleanup(stream.close)
    return shown_on(stream)
