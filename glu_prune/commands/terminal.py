"""What a command shows while it runs and when it is done, and how it ends when it is asked to."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

from glu_prune.errors import GluPruneError

if TYPE_CHECKING:
    from glu_prune.efficiency.benchmark import Steps
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
    """A progress bar on standard error, in bytes; none where standard error is no terminal."""
    from tqdm import tqdm

    with tqdm(desc=doing, unit="B", unit_scale=True, disable=None, leave=False) as bar:

        def step(read: int, total: int) -> None:
            bar.total = total
            bar.update(read)

        yield step


@contextmanager
def bar_of_rounds() -> Iterator[tuple["Steps", Callable[[str], None]]]:
    """A progress bar over the rounds of a workload, none where standard error is no terminal; and lines there."""
    from tqdm import tqdm

    with tqdm(unit="round", disable=None, leave=False) as bar:

        def step(what: str, done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.set_description(what)

        yield step, lambda line: tqdm.write(line, file=sys.stderr)


@contextmanager
def lines() -> Iterator[Callable[[str], None]]:
    """Shows the line that says what is being done, on standard error; nothing where that is no terminal."""
    from tqdm import tqdm

    with tqdm(bar_format="{desc}", disable=None, leave=False) as bar:
        yield bar.set_description_str


@contextmanager
def interruptible(left: str = "nothing was written") -> Iterator[None]:
    """A request to terminate ends the command as Ctrl-C does, so that it cleans up after itself.

    Libraries may turn the interruption into an error of theirs; it stays an interruption.

    Raises:
        CommandInterruptedError: the command was ended; `left` is what it says then.
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
            msg = f"interrupted; {left}"
            raise CommandInterruptedError(msg) from error
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def connections(*, refused: bool) -> AbstractContextManager[None]:
    """Inside, no connection is opened if they are to be `refused`."""
    from glu_prune.readiness.network import offline

    return offline() if refused else nullcontext()
