import inspect
import logging
import math
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import pytest

from glu_prune.efficiency.meter import (
    CHANNELS,
    LEAST_SECONDS,
    MEASURED,
    UNFINISHED,
    NoMeter,
    ReplayMeter,
    readings,
)
from glu_prune.efficiency.tracking import CodeCarbonMeter, _settings
from glu_prune.errors import MeterError, ShortWindowError
from glu_prune.units import JOULES_PER_KILOWATT_HOUR, KilowattHours, joules
from tests.helpers.recordings import raw

ENOUGH = 0.06
"""Seconds: the shortest window that is measured, and a little."""
WATTS = 20.0
"""What the parts draw that we give to codecarbon."""


def work(seconds: float = ENOUGH) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        math.sqrt(2)


def measured(*steps):
    """A window of codecarbon in which `steps` are called after some work."""
    with CodeCarbonMeter().window() as window:
        work()
        for step in steps:
            step()
    return window


def replayed(recorded):
    with ReplayMeter([recorded]).window() as window:
        pass
    return window


def test_a_kilowatt_hour_is_3_6_million_joules():
    assert joules(KilowattHours(1.0)) == JOULES_PER_KILOWATT_HOUR == 3_600_000


def test_readings_are_joules_with_their_method():
    found = readings(raw())
    assert found["cpu"].joules == pytest.approx(36)
    assert found["cpu"].method == "rapl"
    assert found["ram"].joules == pytest.approx(72)


def test_a_channel_without_hardware_is_absent_not_zero():
    assert "gpu" not in readings(raw(joules={"gpu": 0.0}))


@pytest.mark.parametrize("energy", [0, -1e-9, math.nan, math.inf, None, "1", True])
def test_impossible_readings_are_errors(energy):
    with pytest.raises(MeterError, match=r"channel cpu \(rapl\)"):
        readings(raw(kilowatt_hours={"cpu": energy, "ram": 1e-6}))


def test_a_channel_that_the_tracker_forgot_is_an_error():
    with pytest.raises(MeterError, match="None kWh on channel cpu"):
        readings(raw(kilowatt_hours={"ram": 1e-6}))


@pytest.mark.parametrize("seconds", [0.0, 0.049, -1.0])
def test_a_window_too_short_says_so(seconds):
    with pytest.raises(ShortWindowError, match=r"too short.* 1\.0 s"):
        readings(raw(seconds))


@pytest.mark.parametrize("seconds", [math.nan, math.inf, None])
def test_a_window_of_no_length_says_so(seconds):
    with pytest.raises(MeterError, match=rf"the clock says {seconds!r} s for a window, .*; measure it again"):
        readings(raw(seconds))


def test_a_failed_counter_makes_the_window_worthless():
    with pytest.raises(MeterError, match=r"not known: a thing; another; measure"):
        readings(raw(flaws=("a thing", "another", "a thing")))


@pytest.mark.parametrize("kilograms", [math.nan, -1.0, math.inf, "1"])
def test_impossible_emissions_are_errors(kilograms):
    with pytest.raises(MeterError, match="CO2e on grid USA"):
        replayed(raw(kilograms=kilograms))


def test_modelled_energy_supports_no_claim():
    assert set(LEAST_SECONDS) - MEASURED == {"modelled"}


def test_a_replay_gives_what_was_recorded():
    window = replayed(raw(10.0))
    assert window.seconds == 10.0
    assert window.readings == readings(raw())
    assert (window.emissions.kilograms, window.emissions.grid, window.note) == (1e-5, "USA", "")
    assert replayed(raw(kilograms=None)).emissions is None


def test_a_replay_that_ends_says_so():
    meter = ReplayMeter([raw()])
    with meter.window():
        pass
    with pytest.raises(MeterError, match="ends after 1 windows"), meter.window():
        pass


def test_a_refused_window_stays_empty():
    meter = ReplayMeter([raw(kilograms=math.nan)])
    with pytest.raises(MeterError), meter.window() as window:
        pass
    assert (window.seconds, window.readings) == (0.0, {})


def test_time_alone_says_why():
    with NoMeter("because").window() as window:
        pass
    assert (window.note, window.readings, window.emissions) == ("because", {}, None)


# codecarbon on the hardware of this machine


def test_codecarbon_measures_real_windows_one_after_the_other():
    meter = CodeCarbonMeter()
    for _ in range(2):
        with meter.window() as window:
            work(0.4)
        assert window.seconds >= 0.4
        assert set(window.readings) <= set(CHANNELS)
        assert all(1e-3 < reading.joules / window.seconds < 5000 for reading in window.readings.values()), "watts"
        assert window.emissions.grid == "USA"
        kilowatt_hours = sum(reading.joules for reading in window.readings.values()) / JOULES_PER_KILOWATT_HOUR
        assert window.emissions.kilograms / kilowatt_hours == pytest.approx(0.37, abs=0.2), "kg per kWh in the USA"


def test_a_real_window_too_short_is_refused():
    with pytest.raises(MeterError, match="too short"), CodeCarbonMeter().window():
        pass


@pytest.mark.parametrize("grid", ["usa", "US", "Spain", ""])
def test_an_unknown_grid_is_refused_before_any_work(grid):
    with pytest.raises(MeterError, match="upper-case ISO 3166"):
        CodeCarbonMeter(grid)


def test_the_grid_changes_the_co2_and_not_the_joules(hardware):
    hardware(ram)
    windows = []
    for grid in ("FRA", "POL"):
        with CodeCarbonMeter(grid).window() as window:
            work()
        windows.append(window)
    french, polish = (each.emissions.kilograms / each.readings["ram"].joules for each in windows)
    assert polish > 5 * french


def test_codecarbon_prints_nothing_from_its_first_import_on():
    program = """
        import logging, time
        logging.basicConfig(format="%(message)s")
        from glu_prune.efficiency.tracking import CodeCarbonMeter
        with CodeCarbonMeter().window():
            logging.getLogger("mine").warning("mine")
            time.sleep(0.1)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout + done.stderr == "mine\n"


def test_the_logger_of_codecarbon_is_left_as_it_was():
    import codecarbon  # noqa: F401

    logger = logging.getLogger("codecarbon")
    before = (logger.level, list(logger.handlers), list(logger.filters), logger.propagate)
    measured()
    assert (logger.level, logger.handlers, logger.filters, logger.propagate) == before


@pytest.mark.parametrize("where", ["environment", "file"])
def test_what_a_user_told_codecarbon_changes_nothing(where, monkeypatch, tmp_path, hardware):
    hardware(ram)
    monkeypatch.chdir(tmp_path)
    settings = {"pue": "2", "output_methods": "csv", "tracking_mode": "process", "output_dir": "/nowhere"}
    if where == "file":
        lines = [f"{name}={value}" for name, value in settings.items()]
        (tmp_path / ".codecarbon.config").write_text("\n".join(["[codecarbon]", *lines]))
    for name, value in settings.items():
        if where == "environment":
            monkeypatch.setenv(f"CODECARBON_{name.upper()}", value)
    with CodeCarbonMeter().window() as window:
        work(0.2)
    assert window.readings["ram"].joules / window.seconds < 1.5 * WATTS
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".csv"] == []


def test_no_setting_of_codecarbon_is_left_to_the_user():
    from codecarbon.emissions_tracker import BaseEmissionsTracker, OfflineEmissionsTracker

    names = {
        name
        for tracker in (BaseEmissionsTracker, OfflineEmissionsTracker)
        for name, parameter in inspect.signature(tracker.__init__).parameters.items()
        if name not in ("self", "args", "kwargs")
    }
    old = {"co2_signal_api_token", *(name for name in names if name.startswith("save_to_"))}
    assert names - old == set(_settings("USA"))


def test_no_token_takes_a_window_online(monkeypatch, hardware):
    hardware(ram)
    monkeypatch.setenv("CODECARBON_CO2_SIGNAL_API_TOKEN", "token")
    monkeypatch.setenv("CODECARBON_ELECTRICITYMAPS_API_TOKEN", "token")
    asked = []
    monkeypatch.setattr("codecarbon.core.electricitymaps_api.get_emissions", lambda *_: asked.append(1))
    measured()
    assert asked == []


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit])
def test_an_interrupted_window_has_no_readings_and_its_tracker_stops(error, hardware, trackers):
    hardware(ram)
    windows = []

    def interrupted():
        with CodeCarbonMeter().window() as window:
            windows.append(window)
            work()
            raise error

    with pytest.raises(error):
        interrupted()
    assert (windows[0].readings, windows[0].emissions, windows[0].note) == ({}, None, UNFINISHED)
    assert [tracker._scheduler for tracker in trackers] == [None]
    assert trackers[0].final_emissions_data is not None


def test_a_tracker_that_does_not_start_says_why(hardware, trackers):
    hardware(broken(0))
    with pytest.raises(MeterError, match=r"does not start \(OSError: no device\)"), CodeCarbonMeter().window():
        pytest.fail("the work must not begin")
    assert [tracker._scheduler for tracker in trackers] == [None]


def test_a_malformed_config_file_is_named(monkeypatch, tmp_path):
    (tmp_path / ".codecarbon.config").write_text("nonsense")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MeterError, match=r"does not start \(MissingSectionHeaderError.*codecarbon\.config"):
        CodeCarbonMeter().window().__enter__()


def test_a_sample_that_breaks_off_makes_the_window_worthless(hardware):
    hardware(broken(1))
    with pytest.raises(MeterError, match=r"broke off a sample \(OSError: no device\)"):
        measured()


def test_a_tracker_that_ends_without_data_is_an_error(hardware, monkeypatch):
    hardware(ram)
    monkeypatch.setattr("codecarbon.OfflineEmissionsTracker._persist_data", lambda *_, **__: 1 / 0)
    with pytest.raises(MeterError, match=r"gives no data.*ZeroDivisionError"):
        measured()


def test_a_late_sample_of_the_timer_adds_nothing(hardware, trackers):
    hardware(ram)
    measured()
    (tracker,) = trackers
    before = tracker._total_energy.kWh
    tracker._measure_power_and_energy()
    assert tracker._total_energy.kWh == before > 0


# codecarbon's own code on counters that we turn


def test_a_rapl_counter_is_read_exactly(rapl):
    rapl.write(5_000_000)
    window = measured(lambda: rapl.write(12_000_000))
    assert window.readings["cpu"].joules == pytest.approx(7.0)
    assert window.readings["cpu"].method == "rapl"


def test_a_rapl_counter_that_wraps_is_read_rightly(rapl):
    rapl.write(rapl.RANGE - 3_000_000)
    window = measured(lambda: rapl.write(4_000_000))
    assert window.readings["cpu"].joules == pytest.approx(7.0)


def test_a_rapl_counter_that_runs_backwards_is_refused(rapl):
    rapl.limit.write_text("0")
    rapl.write(5_000_000)
    with pytest.raises(MeterError, match=r"RAPL counter .* went backwards"):
        measured(lambda: rapl.write(4_000_000))


def test_a_rapl_counter_that_vanishes_for_a_while_is_refused(rapl, trackers):
    def sample(value):
        rapl.write(value)
        trackers[0]._measure_power_and_energy()

    with pytest.raises(MeterError, match=r"RAPL counter .* could not be read"):
        measured(lambda: sample(""), lambda: sample(1_500_000), lambda: rapl.write(2_000_000))


def test_a_rapl_counter_that_does_not_tick_is_refused(rapl):
    with pytest.raises(MeterError, match=r"reads 0\.?0? kWh on channel cpu \(rapl\).* needs 1\.0 s"):
        measured()


def test_a_gpu_counter_is_read_exactly(gpu):
    window = measured(lambda: gpu.turn(7000))
    assert window.readings["gpu"].joules == pytest.approx(7.0)
    assert window.readings["gpu"].method == "nvml"


def test_a_gpu_counter_that_runs_backwards_is_refused(gpu):
    with pytest.raises(MeterError, match="counter of GPU 0 could not be read or went backwards"):
        measured(lambda: gpu.turn(-1))


def test_a_gpu_counter_that_fails_for_a_while_is_refused(gpu, trackers):
    def fail():
        gpu.millijoules, kept = None, gpu.millijoules
        trackers[0]._measure_power_and_energy()
        gpu.millijoules = kept + 7000

    with pytest.raises(MeterError, match="counter of GPU 0 could not be read"):
        measured(fail)


def test_a_gpu_without_counter_is_sampled_and_says_so(gpu):
    gpu.millijoules = None
    begin = time.perf_counter()
    window = measured()
    seconds = time.perf_counter() - begin
    assert window.readings["gpu"].method == "sampled"
    assert WATTS * window.seconds <= window.readings["gpu"].joules <= WATTS * seconds


def test_a_gpu_without_counter_and_power_is_refused(gpu):
    gpu.millijoules, gpu.broken = None, True
    with pytest.raises(MeterError, match="power of GPU 0 could not be read"):
        measured()


def test_a_lost_sample_of_the_gpus_is_refused(gpu, trackers):
    def lose():
        gpu.turn(7000)
        del gpu._gpu_name  # read when the energy was already taken from the counter
        trackers[0]._measure_power_and_energy()
        gpu._gpu_name = "a GPU"
        gpu.turn(7000)

    with pytest.raises(MeterError, match="sample of the GPUs was lost"):
        measured(lose)


def test_a_gpu_that_is_not_selected_is_absent(gpu):
    gpu.part.gpu_ids = []
    assert set(measured().readings) == {"ram"}


@pytest.fixture
def hardware(monkeypatch):
    """Gives codecarbon parts that we make, afresh for each tracker, instead of what it finds here."""
    from codecarbon.core.resource_tracker import ResourceTracker

    def use(*makers):
        def equip(self):
            self.tracker._hardware = [make() for make in makers]
            self.tracker._conf |= {"ram_total_size": 1.0, "cpu_model": "", "gpu_count": 0, "gpu_model": ""}

        monkeypatch.setattr(ResourceTracker, "set_CPU_GPU_ram_tracking", equip)

    return use


@pytest.fixture
def trackers(monkeypatch):
    """The trackers that were started."""
    from codecarbon import OfflineEmissionsTracker

    started, start = [], OfflineEmissionsTracker.start
    monkeypatch.setattr(OfflineEmissionsTracker, "start", lambda self: (started.append(self), start(self)))
    return started


def ram():
    """Draws WATTS, always."""
    from codecarbon.external.ram import RAM

    return RAM(force_ram_power=WATTS)


def broken(good: int):
    """Makes a part that can be read `good` times."""

    def make():
        part, left = ram(), iter(range(good))

        def power():
            if next(left, None) is None:
                raise OSError("no device")
            return type(part).total_power(part)

        part.total_power = power
        return part

    return make


@pytest.fixture
def rapl(tmp_path, hardware):
    """The counter of a CPU, in a folder like the kernel's."""
    from codecarbon.external.hardware import CPU

    zone = tmp_path / "intel-rapl" / "intel-rapl:0"
    zone.mkdir(parents=True)
    counter = SimpleNamespace(RANGE=100_000_000, limit=zone / "max_energy_range_uj")
    counter.write = lambda microjoules: (zone / "energy_uj").write_text(str(microjoules))
    (zone / "name").write_text("package-0")
    counter.limit.write_text(str(counter.RANGE))
    counter.write(1_000_000)
    hardware(lambda: CPU(str(tmp_path), "intel_rapl", "a CPU", 10, rapl_dir=str(zone.parent)))
    return counter


@pytest.fixture
def gpu(hardware):
    """An NVIDIA GPU whose counter we turn; `part` is codecarbon's hardware that holds it."""
    from codecarbon.core.gpu_device import GPUDevice
    from codecarbon.external.hardware import GPU

    class NvidiaGPUDevice(GPUDevice):
        millijoules, broken = 5_000, False

        def _init_static_details(self):
            self._gpu_name, self._uuid = "a GPU", "GPU-0"

        def turn(self, millijoules):
            self.millijoules += millijoules

        def _get_total_energy_consumption(self):
            return self.millijoules

        def _get_power_usage(self):
            return 1 / 0 if self.broken else WATTS

        def _get_gpu_utilization(self):
            return 0

    device, part = NvidiaGPUDevice(handle=None, gpu_index=0), GPU(gpu_ids=[0])
    part.devices.devices, part.devices.device_count, part._gpu_ids_resolved = [device], 1, True
    device.part = part
    hardware(lambda: part, ram)
    return device
