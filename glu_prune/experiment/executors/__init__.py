"""What runs cells, behind one seam: jobs go in as JSON, records come out as the bytes that files hold."""

from collections.abc import Callable
from typing import Protocol

Arrived = Callable[[tuple[bytes, ...]], None]
"""Is told of records as soon as they are there, perhaps in another thread."""


class Answer(Protocol):
    """What has been, or will be, computed; `concurrent.futures.Future` is one."""

    def result(self) -> tuple[bytes, ...]:
        """The records of a job, and of what is answered together with it, in any order; waits for them.

        Raises:
            GluPruneError: what the job failed with.
        """


class Executor(Protocol):
    """Runs jobs; shaped like those of `concurrent.futures`."""

    @property
    def ahead(self) -> bool:
        """Whether it begins a job when that is submitted; if not, a job runs when its result is asked for."""

    def submit(self, job: str, arrived: Arrived = lambda _: None) -> Answer:
        """Takes a `Job` as JSON; one that works ahead tells `arrived` of records before all of the job is done."""

    def shutdown(self) -> None:
        """Gives back whatever it holds; nothing is submitted afterwards."""
