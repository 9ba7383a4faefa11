import pytest

from glu_prune.efficiency.idle import IdleChannel, IdlePower, idle_power
from glu_prune.efficiency.meter import NoMeter, Reading, ReplayMeter
from glu_prune.errors import MeterError
from tests.helpers.recordings import raw

IDLE = IdlePower({"cpu": IdleChannel(watts=5.0, spread=0.5, method="rapl")}, windows=5, seconds=10.0)


def calibrated(*windows, seconds=10.0):
    return idle_power(ReplayMeter(windows), seconds=seconds, windows=len(windows), wait=lambda _: None)


def test_idle_power_is_the_mean_over_windows_with_their_spread():
    found = calibrated(*(raw(10.0, joules={"cpu": joules}) for joules in (40, 50, 60)))
    assert found.channels["cpu"].watts == pytest.approx(5.0)
    assert found.channels["cpu"].spread == pytest.approx(1.0)
    assert found.channels["cpu"].method == "rapl"
    assert found.channels["ram"].spread == pytest.approx(0.0)
    assert (found.windows, found.seconds, set(found.channels)) == (3, 10.0, {"cpu", "ram"})


def test_idle_power_waits_as_long_as_it_says():
    waited = []
    idle_power(ReplayMeter([raw()] * 5), seconds=7.0, wait=waited.append)
    assert waited == [7.0] * 5


def test_work_counts_what_it_adds_to_idling():
    assert IDLE.net("cpu", Reading(130.0, "rapl"), 20.0) == pytest.approx(30.0)


def test_a_negative_net_is_kept():
    assert IDLE.net("cpu", Reading(90.0, "rapl"), 20.0) == pytest.approx(-10.0)


@pytest.mark.parametrize(("joules", "above"), [(130.0, False), (90.0, False), (81.0, False), (79.0, True)])
def test_idle_above_load_is_told_beyond_its_spread(joules, above):
    assert IDLE.above_load("cpu", Reading(joules, "rapl"), 20.0) is above


@pytest.mark.parametrize(("channel", "method"), [("gpu", "rapl"), ("cpu", "modelled")])
def test_what_cannot_be_compared_is_not_known(channel, method):
    reading = Reading(1.0, method)
    assert IDLE.net(channel, reading, 20.0) is None
    assert not IDLE.above_load(channel, reading, 20.0)


def test_without_a_meter_nothing_is_known_and_nothing_waited_for():
    found = idle_power(NoMeter("because"), seconds=10.0, wait=lambda _: pytest.fail("waited"))
    assert found == IdlePower({}, 0, 10.0)


def test_a_counter_that_stands_still_when_idle_is_an_error():
    with pytest.raises(MeterError, match="channel cpu"):
        calibrated(raw(), raw(joules={"cpu": 0.0}))


@pytest.mark.parametrize("methods", [{"cpu": "modelled", "ram": "modelled"}, {"ram": "modelled"}])
def test_channels_that_change_between_windows_are_an_error(methods):
    with pytest.raises(MeterError, match="in one window and by"):
        calibrated(raw(), raw(methods=methods))


def test_windows_too_short_for_a_counter_are_an_error():
    with pytest.raises(MeterError, match=r"0\.5 s are too short for channel cpu \(rapl\): 1\.0 s"):
        calibrated(raw(0.5), raw(0.5), seconds=0.5)


def test_one_window_has_no_spread():
    with pytest.raises(MeterError, match="take 2 or more"):
        calibrated(raw())
