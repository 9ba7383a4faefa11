"""Who used the machine's processors while something ran."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil


@dataclass
class Processors:
    """Seconds of all processors together, over the phases that were watched and ended well."""

    passed: float = 0.0
    by_others: float = 0.0
    """Those that were neither idle nor used by this process: used by other processes or virtual machines."""

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Adds what passes inside."""
        begin = _counted()
        yield
        passed, idle, own = (now - then for now, then in zip(_counted(), begin, strict=True))
        self.passed += passed
        self.by_others += passed - idle - own

    @property
    def other_load(self) -> float:
        """The share that other processes used, to about 0.01 / seconds; 0 if no tick of the machine's clock passed."""
        return max(0.0, self.by_others / self.passed) if self.passed > 0 else 0.0


def _counted() -> tuple[float, float, float]:
    """Seconds of all processors together: that passed, that they were idle, and that this process used."""
    times = psutil.cpu_times()._asdict()
    every = math.fsum(seconds for kind, seconds in times.items() if not kind.startswith("guest"))  # in `user`, too
    return every, times["idle"] + times.get("iowait", 0.0), time.process_time()
