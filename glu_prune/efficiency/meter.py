"""Energy over a window, per channel, with how each figure was obtained; the only importer of codecarbon."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from glu_prune.errors import MeterError
from glu_prune.units import Joules, KilowattHours, Seconds, joules

Method = Literal["nvml", "rapl", "modelled"]
"""`nvml` and `rapl` are read from counters; `modelled` is power assumed from load and hardware, times time."""

CHANNELS = ("cpu", "gpu", "ram")


@dataclass(frozen=True)
class Reading:
    """Energy of one channel over one window."""

    joules: Joules
    method: Method


@dataclass
class Window:
    """One measured stretch of work; filled in when it ends."""

    seconds: Seconds = field(default=Seconds(0.0))
    readings: dict[str, Reading] = field(default_factory=dict)
    """Channel to reading; a channel that does not exist here, or was not measured, is absent, never zero."""
    note: str = ""
    """Why readings are absent; empty if they are not."""


class Meter(Protocol):
    """Measures what happens inside a `with` block."""

    def window(self) -> Any:
        """A context manager giving a `Window` whose figures are complete when the block ends."""
        ...


class NoMeter:
    """Measures time only, and says why."""

    def __init__(self, reason: str) -> None:
        """`reason` becomes the window's note."""
        self._reason = reason

    @contextmanager
    def window(self) -> Iterator[Window]:
        """A window with seconds and no readings."""
        window = Window(note=self._reason)
        begin = time.perf_counter()
        yield window
        window.seconds = Seconds(time.perf_counter() - begin)


class CodeCarbonMeter:
    """codecarbon, offline, with a fresh tracker for every window."""

    @contextmanager
    def window(self) -> Iterator[Window]:
        """A window with one reading per channel that codecarbon tracks here.

        Energies are taken in kWh from the tracker's final data, never from `stop()`, which returns kg of CO2.

        Raises:
            MeterError: a reading is missing, not finite, negative, or zero over a window in which work was done.
        """
        from codecarbon import OfflineEmissionsTracker

        window = Window()
        tracker = OfflineEmissionsTracker(country_iso_code="USA", output_methods=[], log_level="critical")
        tracker.start()
        begin = time.perf_counter()
        try:
            yield window
        finally:
            window.seconds = Seconds(time.perf_counter() - begin)
            tracker.stop()
        window.readings = readings(tracker.final_emissions_data, _methods(tracker))


def _methods(tracker: Any) -> dict[str, Method]:
    """Channel to method for the hardware that `tracker` follows."""
    found: dict[str, Method] = {}
    for hardware in tracker._hardware:
        kind = type(hardware).__name__.lower()
        if kind == "cpu":
            found["cpu"] = "rapl" if getattr(hardware, "_mode", "") == "intel_rapl" else "modelled"
        elif kind == "gpu":
            found["gpu"] = "nvml"
        elif kind == "ram":
            found["ram"] = "modelled"
    return found


def readings(data: Any, methods: Mapping[str, Method]) -> dict[str, Reading]:
    """The readings in codecarbon's final `data`, for the channels in `methods`.

    Raises:
        MeterError: as `CodeCarbonMeter.window` says.
    """
    if data is None:
        msg = "codecarbon gave no data for this window; is another tracker holding its lock?"
        raise MeterError(msg)
    found = {}
    for channel, method in methods.items():
        energy = getattr(data, f"{channel}_energy")
        if not isinstance(energy, int | float) or not math.isfinite(energy) or energy <= 0:
            msg = (
                f"codecarbon reads {energy!r} kWh on channel {channel} ({method}) over a window in which work was done"
            )
            raise MeterError(msg)
        found[channel] = Reading(joules(KilowattHours(energy)), method)
    return found
