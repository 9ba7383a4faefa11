"""Energy over a window, per channel, with how each figure was obtained; the only importer of codecarbon."""

import logging
import math
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

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

UNFINISHED = "not measured: the work in this window did not finish"


@dataclass(frozen=True)
class Reading:
    """Energy of one channel over one window."""

    joules: Joules
    method: Method


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
    """One measured stretch of work; filled in when it ends, and left empty if the work does not finish."""

    seconds: Seconds = field(default=Seconds(0.0))
    readings: dict[str, Reading] = field(default_factory=dict)
    """Channel to reading; a channel that does not exist here, or was not measured, is absent, never zero."""
    emissions: Emissions | None = None
    note: str = ""
    """Why readings are absent; empty if they are not."""


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
        with _finished(window):
            yield window
        _fill(window, raw)


class CodeCarbonMeter:
    """codecarbon, offline, with a fresh tracker for every window.

    The settings a user gave to codecarbon (files, environment) are not used: a reading means the same everywhere.
    """

    def __init__(self, grid: str = "USA") -> None:
        """`grid` is the ISO 3166 alpha-3 code of the country whose CO2 per kWh is assumed; energies do not need it.

        Raises:
            MeterError: codecarbon knows no such grid; it would take the world's average and say nothing.
        """
        with _silence():
            from codecarbon.input import DataSource

            known = DataSource().get_global_energy_mix_data()
        if grid not in known:
            msg = (
                f"codecarbon has no grid {grid!r}; allowed are {len(known)} upper-case ISO 3166 alpha-3 country codes, "
                "such as CHN, DEU, ESP, FRA, GBR, IND, USA"
            )
            raise MeterError(msg)
        self._grid = grid

    def methods(self) -> Mapping[str, Method]:
        """Of the channels that codecarbon tracks here.

        Raises:
            MeterError: codecarbon does not start.
        """
        with _silence() as log:
            tracking = _Tracking(self._grid, log)
            try:
                tracking.start()
            finally:
                tracking.stop()
        return tracking.methods

    @contextmanager
    def window(self) -> Iterator[Window]:
        """A window with one reading per channel that codecarbon tracks here.

        Energies are taken in kWh from the tracker's final data, never from `stop()`, which returns kg of CO2.

        Raises:
            MeterError: codecarbon does not start or gives no data, or as `readings` says.
        """
        window = Window()
        with _silence() as log:
            tracking = _Tracking(self._grid, log)
            try:
                tracking.start()
                begin = time.perf_counter()
                with _finished(window):
                    yield window
                raw = tracking.finish(Seconds(time.perf_counter() - begin))
            finally:
                tracking.stop()
        _fill(window, raw)


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
            f"a window of {raw.seconds!r} s is too short to be measured: at least {SHORTEST} s, and better "
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


def _fill(window: Window, raw: RawWindow) -> None:
    """Completes `window`, all or nothing."""
    found, emissions = readings(raw), _emissions(raw)
    window.seconds, window.readings, window.emissions = Seconds(raw.seconds), found, emissions


@contextmanager
def _finished(window: Window) -> Iterator[None]:
    """Notes in `window` that its work did not finish, if it did not."""
    try:
        yield
    except BaseException:
        window.note = UNFINISHED
        raise


class _Log(logging.Filter):
    """Refuses every record, and keeps the first exception that was logged: later ones follow from it."""

    cause: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Always False."""
        self.cause = self.cause or (record.exc_info[1] if record.exc_info else None)
        return False

    def because(self) -> str:
        """That exception in brackets, on one line; empty if there is none."""
        return f" ({type(self.cause).__name__}: {' '.join(str(self.cause).split())})" if self.cause else ""


@contextmanager
def _silence() -> Iterator[_Log]:
    """Lets codecarbon log nothing, then leaves its logger as it was; no other logger is touched."""
    logger, log = logging.getLogger("codecarbon"), _Log()
    logger.addFilter(log)
    try:
        import codecarbon  # noqa: F401 - gives its logger a handler and a level, which are the ones to keep

        level, handlers = logger.level, logger.handlers
        try:
            yield log
        finally:
            logger.setLevel(level)
            logger.handlers = handlers
    finally:
        logger.removeFilter(log)


def _settings(grid: str) -> dict[str, Any]:
    """Every setting of a tracker, so that none is left to files and environment."""
    return {
        "country_iso_code": grid, "region": None, "cloud_provider": None, "cloud_region": None,
        "country_2letter_iso_code": None, "force_carbon_intensity_g_co2e_kwh": None,
        "electricitymaps_api_token": "",  # None would let an older name of this setting in
        "pue": 1.0, "wue": 0.0, "tracking_mode": "machine", "gpu_ids": None,
        "force_cpu_power": None, "force_ram_power": None, "force_mode_cpu_load": False,
        "rapl_include_dram": False, "rapl_prefer_psys": False,
        "measure_power_secs": 1.0, "api_call_interval": -1, "allow_multiple_runs": True,
        "output_methods": [], "output_handlers": [], "output_dir": tempfile.gettempdir(), "output_file": "",
        "on_csv_write": "append", "emissions_endpoint": None, "api_endpoint": "", "api_key": "", "prometheus_url": "",
        "logging_logger": None, "logger_preamble": "", "log_level": "warning", "metadata": None,
        "project_name": "glu-prune", "experiment_name": "", "experiment_id": "",
    }  # fmt: skip


class _Tracking:
    """One tracker of codecarbon, watched while it samples.

    codecarbon goes on without a word when a counter cannot be read or runs backwards, counts an interval twice when
    its timer and its end meet, and may leave the timer running. The tracker's own step is therefore wrapped: one at a
    time, none after the end, and the counters are looked at after each.
    """

    def __init__(self, grid: str, log: _Log) -> None:
        """A tracker that has not started; `log` holds what it logs."""
        from codecarbon import OfflineEmissionsTracker

        self._grid, self._log = grid, log
        self._tracker = OfflineEmissionsTracker(**_settings(grid))
        self._schedulers = [
            getattr(self._tracker, name, None) for name in ("_scheduler", "_scheduler_monitor_power")
        ]  # `stop` forgets them
        self._step, self._tracker._do_measurements = self._tracker._do_measurements, self._sample
        self._lock = threading.Lock()
        self._over = False
        self.methods: dict[str, Method] = {}
        self._counted: set[int] = set()
        self._flaws: list[str] = []

    def start(self) -> None:
        """Begins the window.

        Raises:
            MeterError: no first sample was taken.
        """
        self._tracker.start()
        if not self.methods:
            msg = (
                f"codecarbon does not start{self._log.because()}; does `codecarbon detect` work here, and are its "
                "files .codecarbon.config, in this folder and in your home, well formed?"
            )
            raise MeterError(msg)

    def finish(self, seconds: Seconds) -> RawWindow:
        """Ends a window whose work took `seconds`.

        Raises:
            MeterError: codecarbon gives no data.
        """
        self._sample()
        self.stop()
        data = getattr(self._tracker, "final_emissions_data", None)
        if data is None:
            msg = f"codecarbon gives no data for this window{self._log.because()}; measure it again"
            raise MeterError(msg)
        return RawWindow(
            seconds=seconds,
            kilowatt_hours={channel: getattr(data, f"{channel}_energy", None) for channel in self.methods},
            methods=self.methods,
            kilograms=getattr(data, "emissions", None),
            grid=self._grid,
            flaws=tuple(self._flaws),
        )

    def stop(self) -> None:
        """Stops the tracker; samples that come later do nothing."""
        if self._over:
            return
        with self._lock:  # a sample that is being taken is let finish
            self._over = True
        self._tracker.stop()
        for scheduler in filter(None, self._schedulers):
            scheduler.stop()

    def _sample(self) -> None:
        """One step of the tracker; the first one, right after the counters were set, decides about the methods."""
        with self._lock:
            if self._over:
                return
            before = self._tracker._total_gpu_energy.kWh
            try:
                self._step()
            except Exception as error:  # noqa: BLE001 - any error in the timer's thread must reach the window
                self._log.cause = self._log.cause or error
                self._flaws.append(f"codecarbon broke off a sample{self._log.because()}")
                return
            self._tracker._last_measured_time = time.perf_counter()
            if not self.methods:
                self.methods = _methods(self._tracker._hardware)
                self._counted = {id(gpu) for gpu in _gpus(self._tracker._hardware) if not gpu._use_power_fallback}
            else:
                self._flaws += _cpu_flaws(self._tracker._hardware)
                self._flaws += self._gpu_flaws(self._tracker._total_gpu_energy.kWh - before)

    def _gpu_flaws(self, gained: float) -> Iterator[str]:
        """What the GPUs kept silent about in the last sample, which added `gained` kWh."""
        gpus = _gpus(self._tracker._hardware)
        for gpu in gpus:
            if id(gpu) in self._counted and gpu._use_power_fallback:
                yield f"the energy counter of GPU {gpu.gpu_index} could not be read or went backwards"
            elif gpu._use_power_fallback and gpu._warned_power_failure:
                yield f"the power of GPU {gpu.gpu_index} could not be read"
        if not math.isclose(gained, sum(gpu.energy_delta.kWh for gpu in gpus), rel_tol=1e-6, abs_tol=1e-12):
            yield "a sample of the GPUs was lost"


def _kind(part: Any) -> str:
    return type(part).__name__


def _gpus(hardware: Iterable[Any]) -> list[Any]:
    """The GPUs that count: one without any, or with none selected, has no channel."""
    return [
        gpu
        for part in hardware
        if _kind(part) == "GPU"
        for gpu in part.devices.devices
        if gpu.gpu_index in part._get_gpu_ids()
    ]


_CPU_MODES: Mapping[str, Method] = {"intel_rapl": "rapl", "windows_emi": "counter", "intel_power_gadget": "sampled"}


def _methods(hardware: Iterable[Any]) -> dict[str, Method]:
    """Channel to method; a channel of several devices has that of the weakest."""
    found: dict[str, Method] = {}
    for part in hardware:
        if _kind(part) == "CPU":
            found["cpu"] = _CPU_MODES.get(part._mode, "modelled")
        elif _kind(part) == "RAM":
            found["ram"] = "modelled"
        elif _kind(part) == "Raspberry":
            found[part.chip_part.lower()] = "sampled"
        elif _kind(part) == "AppleSiliconChip":
            found[part.chip_part.lower()] = "modelled"  # codecarbon leaves out the second that each reading takes
    gpus = _gpus(hardware)
    if any(gpu._use_power_fallback for gpu in gpus):
        found["gpu"] = "sampled"
    elif gpus:
        found["gpu"] = "nvml" if all(_kind(gpu) == "NvidiaGPUDevice" for gpu in gpus) else "counter"
    return found


def _cpu_flaws(hardware: Iterable[Any]) -> Iterator[str]:
    """What RAPL kept silent about in the last sample."""
    for part in hardware:
        if _kind(part) == "CPU" and part._mode == "intel_rapl":
            rapl = part._intel_interface
            skipped = [file.path for file in rapl._rapl_files if file.sample_skipped]
            for path in skipped:
                yield f"the RAPL counter {path} could not be read or went backwards"
            if not skipped and not rapl._cpu_details:
                yield "the RAPL counters could not be read"
