"""Lines about what is being done, in the terminal."""

from collections.abc import Callable

import pytest

from glu_prune.clean import one_line
from glu_prune.options import is_worker


def progress(config: pytest.Config) -> Callable[[str], None]:
    """Writes a line to the terminal, past pytest's capture; workers have no terminal."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    silent = is_worker(config)

    def write(line: str) -> None:
        if reporter and capture and reporter.verbosity >= 0 and not silent:
            with capture.global_and_fixture_disabled():
                reporter.ensure_newline()
                reporter.write_line(f"  {one_line(line)}")

    return write
