"""What several phases of work cost together, whether or not the meter works."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from glu_prune.efficiency.meter import Meter, Window, added
from glu_prune.efficiency.processors import Processors
from glu_prune.errors import MeterError
from glu_prune.units import Seconds


class EvaluationMeter:
    """Adds up windows; where the meter fails, work goes on and its seconds count, with a note why nothing else does."""

    def __init__(self, meter: Meter, *, here: bool = True) -> None:
        """Nothing is added yet; `here` says whether this process does the work.

        What other processes do is looked at only then: a process that works for this one would be among them.
        """
        self._meter = meter
        self._processors = Processors() if here else None
        self._windows: list[Window] = []

    @contextmanager
    def phase(self) -> Iterator[None]:
        """Adds what happens inside to the total."""
        begin, end = 0.0, 0.0
        watched = self._processors.watched if self._processors else nullcontext
        try:
            with self._meter.window() as window, watched():
                begin = time.perf_counter()
                yield
                end = time.perf_counter()
        except MeterError as error:
            window = Window(note=f"not measured: {error}")
            if not begin:  # the meter did not start
                with watched():
                    begin = time.perf_counter()
                    yield
                    end = time.perf_counter()
            window.seconds = Seconds(end - begin)
        self._windows.append(window)

    @property
    def total(self) -> Window:
        """The sum; a channel that some phase lacks was not measured."""
        return Window(
            Seconds(math.fsum(each.seconds for each in self._windows)),
            added([each.readings for each in self._windows]),
            note="; ".join(dict.fromkeys(each.note for each in self._windows if each.note)),
            other_load=self._processors.other_load if self._processors else None,
        )
