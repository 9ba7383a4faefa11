"""Energy over a window, per channel, with how each figure was obtained."""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from glu_prune.errors import MeterError, ShortWindowError
from glu_prune.units import Joules, KilogramsCO2e, KilowattHours, Seconds, joules

Method = Literal["nvml", "rapl", "counter", "sampled", "modelled"]
"""How the energy of a channel was obtained.

`nvml`, `rapl`: the energy counter of an NVIDIA GPU, of a CPU under Linux. `counter`: another energy counter (AMD GPU,
Windows EMI). `sampled`: power that the device reports, read once per second and summed over time. `modelled`: power
assumed from load and hardware, times time.
"""

MEASURED: frozenset[Method] = frozenset({"nvml", "rapl", "counter", "sampled"})
"""The methods that read the device. Only these can support a claim about energy."""

LONG_ENOUGH = 0.8
"""Share of the length that a window is to have from which it is long enough; one more batch may well double it."""
LEAST_SECONDS: Mapping[Method, Seconds] = {
    "nvml": Seconds(3.0),
    "rapl": Seconds(1.0),
    "counter": Seconds(3.0),
    "sampled": Seconds(10.0),
    "modelled": Seconds(0.25),
}
"""How long a window must be to be resolved to a few percent: an NVML counter moves in steps of up to 0.1 s, a RAPL
counter every millisecond, a sample comes once per second, and the CPU load behind a model in steps of 10 ms."""

SHORTEST = Seconds(0.05)
"""Below this codecarbon takes no sample of its own at the end of a window."""

CHANNELS = ("cpu", "gpu", "ram")
ACCELERATORS = frozenset({"gpu"})
"""Channels of what computes when it is asked to, and idles beside a model that is elsewhere."""

UNFINISHED = "not measured: the work in this window did not finish"


def computing(device: str) -> str:
    """The channel of what computes on a torch device."""
    return "cpu" if device == "cpu" else "gpu"


@dataclass(frozen=True)
class Reading:
    """Energy of one channel over one window."""

    joules: Joules
    method: Method


def added(parts: Sequence[Mapping[str, Reading]]) -> dict[str, Reading]:
    """Channel to the sum over all parts; a channel that some part lacks was not measured."""
    return {
        channel: Reading(Joules(math.fsum(each[channel].joules for each in parts)), first.method)
        for channel, first in (parts[0] if parts else {}).items()
        if all(channel in each for each in parts)
    }


class _Obtained(Protocol):
    """Anything that was obtained by a method."""

    @property
    def method(self) -> Method:
        """Which."""


def methods_of(channels: Mapping[str, _Obtained]) -> dict[str, Method]:
    """Channel to method."""
    return {channel: each.method for channel, each in channels.items()}


@dataclass(frozen=True)
class Emissions:
    """CO2 of all channels over one window, modelled ones too: energy times what the grid emits per kWh in a year."""

    kilograms: KilogramsCO2e
    grid: str
    """The grid it assumes: an ISO 3166 alpha-3 country code."""


@dataclass
class Window:
    """One measured span of work; filled in when it ends, and left empty if the work does not finish."""

    seconds: Seconds = field(default=Seconds(0.0))
    readings: dict[str, Reading] = field(default_factory=dict)
    """Channel to reading; a channel that does not exist here, or was not measured, is absent, never zero."""
    emissions: Emissions | None = None
    note: str = ""
    """Why readings are absent; empty if they are not."""
    other_load: float | None = None
    """Share of the machine's processors that other processes used meanwhile; None if nobody looked."""

    @contextmanager
    def working(self) -> Iterator["Window"]:
        """Holds the work, and notes that it did not finish, if it did not."""
        try:
            yield self
        except BaseException:
            self.note = UNFINISHED
            raise

    def fill(self, raw: "RawWindow") -> None:
        """Completes the window, all or nothing.

        Raises:
            MeterError: as `readings` says, or the CO2 cannot be.
        """
        found, emissions = readings(raw), _emissions(raw)
        self.seconds, self.readings, self.emissions = Seconds(raw.seconds), found, emissions


@dataclass(frozen=True)
class RawWindow:
    """What a tracker says about one window, before it is checked."""

    seconds: float
    """How long the work took."""
    kilowatt_hours: Mapping[str, float | None]
    """Channel to energy."""
    methods: Mapping[str, Method]
    """Channel to method; these are the channels that exist here."""
    kilograms: float | None
    """CO2e, or None if the tracker gives none."""
    grid: str
    """ISO 3166 alpha-3 country code."""
    flaws: tuple[str, ...] = ()
    """What went wrong with the counters during the window, one sentence each."""


class Meter(Protocol):
    """Measures what happens inside a `with` block."""

    def methods(self) -> Mapping[str, Method]:
        """Channels that exist here, and how their energy is obtained; no work needs to be done for that."""
        ...

    def window(self) -> AbstractContextManager[Window]:
        """A context manager giving a `Window` whose figures are complete when the block ends."""
        ...


class NoMeter:
    """Measures time only, and says why."""

    def __init__(self, reason: str) -> None:
        """`reason` becomes the window's note."""
        self.reason = reason

    @staticmethod
    def methods() -> Mapping[str, Method]:
        """None."""
        return {}

    @contextmanager
    def window(self) -> Iterator[Window]:
        """A window with seconds and no readings."""
        window = Window(note=self.reason)
        begin = time.perf_counter()
        yield window
        window.seconds = Seconds(time.perf_counter() - begin)


class ReplayMeter:
    """Gives recorded windows, in order, through the checks of a real meter."""

    def __init__(self, windows: Iterable[RawWindow]) -> None:
        """`windows` are taken one by one, as they are asked for."""
        self._windows = iter(windows)
        self._next = next(self._windows, None)
        self._given = 0

    def methods(self) -> Mapping[str, Method]:
        """Those of the window that comes next."""
        return self._next.methods if self._next else {}

    @contextmanager
    def window(self) -> Iterator[Window]:
        """The next recorded window; its seconds are those recorded, however long the block takes.

        Raises:
            MeterError: no window is left, or as `readings` says.
        """
        raw, self._next = self._next, next(self._windows, None)
        if raw is None:
            msg = f"the recording ends after {self._given} windows and one more is asked for; record more"
            raise MeterError(msg)
        self._given += 1
        window = Window()
        with window.working():
            yield window
        window.fill(raw)


def readings(raw: RawWindow) -> dict[str, Reading]:
    """The readings in `raw`, for the channels that exist here.

    Raises:
        ShortWindowError: the window is too short.
        MeterError: its length is no number, a counter failed in it, or an energy is missing, not a number, not finite,
            negative, or zero over a window in which work was done.
    """
    if not _number(raw.seconds):
        msg = f"the clock says {raw.seconds!r} s for a window, which is no time; measure it again"
        raise MeterError(msg)
    if raw.seconds < SHORTEST:
        msg = (
            f"a window of {raw.seconds:.3g} s is too short to be measured: at least {SHORTEST} s, and better "
            f"{max(LEAST_SECONDS[method] for method in ('modelled', *raw.methods.values()))} s; repeat the work in it"
        )
        raise ShortWindowError(msg)
    if raw.flaws:
        msg = f"the energy of this window is not known: {'; '.join(dict.fromkeys(raw.flaws))}; measure it again"
        raise MeterError(msg)
    return {
        channel: _reading(channel, raw.kilowatt_hours.get(channel), method, raw.seconds)
        for channel, method in raw.methods.items()
    }


def _reading(channel: str, energy: float | None, method: Method, seconds: float) -> Reading:
    if energy is None or not _number(energy) or energy <= 0:
        msg = (
            f"codecarbon reads {energy!r} kWh on channel {channel} ({method}) over a window of {seconds:.2f} s in "
            f"which work was done; it must be above zero, and {method} needs {LEAST_SECONDS[method]} s to resolve it"
        )
        raise MeterError(msg)
    return Reading(joules(KilowattHours(energy)), method)


def _emissions(raw: RawWindow) -> Emissions | None:
    if raw.kilograms is None:
        return None
    if not _number(raw.kilograms) or raw.kilograms < 0:
        msg = f"codecarbon gives {raw.kilograms!r} kg of CO2e on grid {raw.grid}; it must be zero or more"
        raise MeterError(msg)
    return Emissions(KilogramsCO2e(raw.kilograms), raw.grid)


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
