"""What several stretches of work cost together, whether or not the meter works."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

from glu_prune.efficiency.meter import Meter, Reading, Window
from glu_prune.errors import MeterError
from glu_prune.units import Joules, Seconds


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
        found = self._windows
        channels = found[0].readings if found else {}
        return Window(
            Seconds(math.fsum(each.seconds for each in found)),
            {name: _sum(found, name) for name in channels if all(name in each.readings for each in found)},
            note="; ".join(dict.fromkeys(each.note for each in found if each.note)),
        )


def _sum(windows: list[Window], channel: str) -> Reading:
    readings = [each.readings[channel] for each in windows]
    return Reading(Joules(math.fsum(each.joules for each in readings)), readings[0].method)
