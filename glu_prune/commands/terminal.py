"""What a command shows while it runs and when it is done, and how it ends when it is asked to."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from glu_prune.clean import one_line
from glu_prune.errors import GluPruneError
from glu_prune.progress.shows import shown_on
from glu_prune.progress.work import Work

if TYPE_CHECKING:
    from glu_prune.pruning.disk_model import Progress


class Answer(NamedTuple):
    """What a command says when it is done."""

    text: str
    complete: bool = True
    """False for exit code 1: something is missing, damaged, or worse than it was."""


class CommandInterruptedError(GluPruneError):
    """The user ended a command; says what is left of it."""


@contextmanager
def progress(doing: str) -> Iterator["Progress"]:
    """Shows on standard error how many bytes are done of all."""
    work, read = Work(shown_on(sys.stderr)), 0

    def step(more: int, total: int) -> None:
        nonlocal read
        read += more
        work.step("MB", round(read / 1e6), round(total / 1e6))

    with work.running(doing):
        yield step


def work_shown() -> tuple[Work, Callable[[str], None]]:
    """Work that is shown on standard error, and what writes a line there."""
    stream = sys.stderr  # which is another one while libraries are muted
    show = shown_on(stream)

    def say(line: str) -> None:
        with show.paused():
            stream.write(f"{one_line(line)}\n")
            stream.flush()

    return Work(show), say


@contextmanager
def interruptible(left: Callable[[], str] = lambda: "") -> Iterator[None]:
    """A request to terminate ends the command as Ctrl-C does, so that it cleans up after itself.

    Libraries may turn the interruption into an error of theirs; it stays an interruption.

    Raises:
        CommandInterruptedError: the command was ended; `left` gives what it says then, if there is anything left of it.
    """
    received = []

    def stop(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except BaseException as error:
        if received or isinstance(error, KeyboardInterrupt):
            msg = f"interrupted; {left() or 'nothing was written'}"
            raise CommandInterruptedError(msg) from error
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def connections(*, refused: bool) -> AbstractContextManager[None]:
    """Inside, no connection is opened if they are to be `refused`."""
    from glu_prune.readiness.network import offline

    return offline() if refused else nullcontext()
