import math
import time
from types import SimpleNamespace

import pytest

from glu_prune.efficiency.meter import CodeCarbonMeter, NoMeter, readings
from glu_prune.errors import MeterError
from glu_prune.units import JOULES_PER_KILOWATT_HOUR, KilowattHours, joules

METHODS = {"cpu": "rapl", "ram": "modelled"}


def data(**energies: object) -> SimpleNamespace:
    return (
        SimpleNamespace(cpu_energy=1e-6, gpu_energy=0.0, ram_energy=2e-6)
        if not energies
        else SimpleNamespace(**{"cpu_energy": 1e-6, "gpu_energy": 0.0, "ram_energy": 2e-6, **energies})
    )


def test_a_kilowatt_hour_is_3_6_million_joules():
    assert joules(KilowattHours(1.0)) == JOULES_PER_KILOWATT_HOUR == 3_600_000


def test_readings_are_joules_with_their_method():
    found = readings(data(), METHODS)
    assert found["cpu"].joules == pytest.approx(3.6)
    assert found["cpu"].method == "rapl"
    assert found["ram"].joules == pytest.approx(7.2)


def test_a_channel_without_hardware_is_absent_not_zero():
    assert "gpu" not in readings(data(), METHODS)


@pytest.mark.parametrize("energy", [0, -1e-9, math.nan, math.inf, None])
def test_impossible_readings_are_errors(energy):
    with pytest.raises(MeterError, match="channel cpu"):
        readings(data(cpu_energy=energy), METHODS)


def test_a_tracker_without_data_is_an_error():
    with pytest.raises(MeterError, match="no data"):
        readings(None, METHODS)


def test_codecarbon_measures_a_real_window():
    with CodeCarbonMeter().window() as window:
        end = time.perf_counter() + 1.2
        while time.perf_counter() < end:
            math.sqrt(2)
    assert window.seconds >= 1.2
    assert window.readings["cpu"].joules > 0
    assert all(reading.method in ("rapl", "nvml", "modelled") for reading in window.readings.values())
    assert all(reading.joules / window.seconds < 5000 for reading in window.readings.values()), "watts, not kg or kWh"


def test_errors_inside_a_window_pass_through():
    with pytest.raises(KeyError), CodeCarbonMeter().window():
        raise KeyError("work")


def test_time_alone_says_why():
    with NoMeter("because").window() as window:
        pass
    assert window.note == "because"
    assert window.readings == {}
