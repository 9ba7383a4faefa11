"""What a command shows while it runs, and how it ends when it is asked to."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glu_prune.efficiency.benchmark import Steps
    from glu_prune.pruning.disk_model import Progress


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
def rounds() -> Iterator[tuple["Steps", Callable[[str], None]]]:
    """A progress bar over the rounds of a workload, none where standard error is no terminal; and lines there."""
    from tqdm import tqdm

    with tqdm(unit="round", disable=None, leave=False) as bar:

        def step(what: str, done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.set_description(what)

        yield step, lambda line: tqdm.write(line, file=sys.stderr)


@contextmanager
def interruptible() -> Iterator[None]:
    """A request to terminate ends the command as Ctrl-C does, so that it cleans up after itself.

    Libraries may turn the interruption into an error of theirs; it stays an interruption.
    """
    asked = []

    def stop(number: int, _: object) -> None:
        asked.append(number)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    except BaseException as error:
        if asked:
            raise KeyboardInterrupt from error
        raise
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
