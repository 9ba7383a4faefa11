"""Programs on a terminal, and what a terminal shows of what they write."""

import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

_PIECE = re.compile(r"\x1b\[(\d*)([A-Za-z])|\x1b([D78])|(.)", re.DOTALL)


class Terminal:
    """A screen of endless length, as far as our programs and pytest use one."""

    def __init__(self) -> None:
        self.rows: list[str] = [""]
        self._row = self._column = 0
        self._saved = (0, 0)

    def write(self, text: str) -> None:
        for number, command, escape, character in _PIECE.findall(text):
            if command in ("A", "B"):
                self._row = max(0, self._row + int(number or 1) * (1 if command == "B" else -1))
            elif command == "K":
                self.rows[self._row] = "" if number == "2" else self.rows[self._row][: self._column]
            elif escape == "7":
                self._saved = self._row, self._column
            elif escape == "8":
                self._row, self._column = self._saved
            elif escape == "D" or character == "\n":
                self._row += 1
            elif character == "\r":
                self._column = 0
            elif character:
                before = self.rows[self._row].ljust(self._column)
                self.rows[self._row] = before[: self._column] + character + before[self._column + 1 :]
                self._column += 1
            self.rows += [""] * (self._row + 1 - len(self.rows))

    @property
    def text(self) -> str:
        return "\n".join(row.rstrip() for row in self.rows).rstrip("\n")


def on_a_terminal(
    command: Sequence[str], folder: Path, env: dict[str, str], *, interrupted_at: str = ""
) -> tuple[int, str]:
    """The exit status of `command`, and all that it wrote; Ctrl-C once it has written `interrupted_at`."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # A shell that put the tests into the background has them ignore it, and all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    os.close(theirs)
    written, deadline, sent = "", time.monotonic() + 280, False
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                found = os.read(ours, 65536).decode(errors="replace")
            except OSError:  # the terminal hangs up when nobody has it open any more
                break
            written += found
        if interrupted_at and not sent and interrupted_at in written:
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to all that it started
            sent = True
    os.close(ours)
    if process.poll() is None:
        process.wait(10)
    return process.returncode, written
