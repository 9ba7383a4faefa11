"""What several stretches of work cost together, whether or not the meter works."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from glu_prune.efficiency.meter import Meter, Window, added
from glu_prune.errors import MeterError
from glu_prune.units import Seconds


class Bill:
    """Adds up windows; where the meter fails, work goes on and its seconds count, with a note why nothing else does."""

    def __init__(self, meter: Meter) -> None:
        """Nothing is on it yet."""
        self._meter = meter
        self._windows: list[Window] = []

    @contextmanager
    def stretch(self) -> Iterator[None]:
        """Puts on the bill what happens inside."""
        begin, end = 0.0, 0.0
        try:
            with self._meter.window() as window:
                begin = time.perf_counter()
                yield
                end = time.perf_counter()
        except MeterError as error:
            window = Window(note=f"not measured: {error}")
            if not begin:  # the meter did not start
                begin = time.perf_counter()
                yield
                end = time.perf_counter()
            window.seconds = Seconds(end - begin)
        self._windows.append(window)

    @property
    def total(self) -> Window:
        """The sum; a channel that some stretch lacks was not measured."""
        return Window(
            Seconds(math.fsum(each.seconds for each in self._windows)),
            added([each.readings for each in self._windows]),
            note="; ".join(dict.fromkeys(each.note for each in self._windows if each.note)),
        )
