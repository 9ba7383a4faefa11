"""codecarbon as a meter, watched while it samples; its only importer."""

import logging
import math
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from glu_prune.efficiency.meter import Method, RawWindow, Window
from glu_prune.errors import MeterError
from glu_prune.units import Seconds


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
            MeterError: codecarbon does not start or gives no data, or as `Window.fill` says.
        """
        window = Window()
        with _silence() as log:
            tracking = _Tracking(self._grid, log)
            try:
                tracking.start()
                begin = time.perf_counter()
                with window.working():
                    yield window
                raw = tracking.finish(Seconds(time.perf_counter() - begin))
            finally:
                tracking.stop()
        window.fill(raw)


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
