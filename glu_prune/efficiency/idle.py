"""The power drawn with nothing running, and what work adds to it."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from glu_prune.efficiency.meter import LEAST_SECONDS, Meter, Method, NoMeter, Reading, Window, methods_of
from glu_prune.errors import MeterError
from glu_prune.units import Joules, Seconds, Watts, energy_over, mean_power

SPREADS_ALLOWED = 2.0
"""How many spreads idle power may lie above power under load before it is taken to be wrong."""


@dataclass(frozen=True)
class IdleChannel:
    """Idle power of one channel."""

    watts: Watts
    """Mean over the windows."""
    spread: Watts
    """Standard deviation over the windows."""
    method: Method


@dataclass(frozen=True)
class IdlePower:
    """Idle power per channel, and how it was measured."""

    channels: Mapping[str, IdleChannel]
    """A channel that was not measured is absent."""
    windows: int
    seconds: Seconds
    """Length of each window."""

    def net(self, channel: str, reading: Reading, seconds: Seconds) -> Joules | None:
        """What work of `seconds` that took `reading` added to idling, in joules.

        It is negative if the work took less than idling, and is then kept as it is (see `above_load`). None if it is
        not known: the channel has no idle power, or one obtained by another method.
        """
        idle = self._comparable(channel, reading)
        return None if idle is None else Joules(reading.joules - energy_over(idle.watts, seconds))

    def above_load(self, channel: str, reading: Reading, seconds: Seconds) -> bool:
        """Whether idling took more power than the work, by more than its spread allows.

        Then something else ran while idle power was measured, and `net` is not to be used. False if `net` is None.
        """
        idle = self._comparable(channel, reading)
        if idle is None:
            return False
        return idle.watts - mean_power(reading.joules, seconds) > SPREADS_ALLOWED * idle.spread

    def _comparable(self, channel: str, reading: Reading) -> IdleChannel | None:
        idle = self.channels.get(channel)
        return idle if idle is not None and idle.method == reading.method else None


def idle_power(
    meter: Meter, *, seconds: float, windows: int = 5, wait: Callable[[float], object] = time.sleep
) -> IdlePower:
    """Idle power over `windows` windows of `seconds` each; the model is loaded and nothing runs.

    A counter that reads zero is an error here too: no device draws nothing, so it did not tick. With a `NoMeter`
    nothing is waited for and no channel is measured.

    Args:
        meter: measures each window.
        seconds: length of a window.
        windows: how many; at least 2, for a spread.
        wait: lets the given seconds pass.

    Raises:
        MeterError: fewer than 2 windows, windows too short for a channel's method, channels or methods that change
            between windows, or as the meter says.
    """
    if windows < 2:
        msg = f"idle power has a spread over windows and {windows} is asked for; take 2 or more"
        raise MeterError(msg)
    if isinstance(meter, NoMeter):
        return IdlePower({}, 0, Seconds(seconds))
    measured = [_idle_window(meter, seconds, wait) for _ in range(windows)]
    methods = [methods_of(window.readings) for window in measured]
    for later in methods[1:]:
        if later != methods[0]:
            msg = f"idle power was read by {methods[0]} in one window and by {later} in another; measure it again"
            raise MeterError(msg)
    channels = {channel: _channel(channel, method, measured) for channel, method in methods[0].items()}
    return IdlePower(channels, windows, Seconds(seconds))


def _idle_window(meter: Meter, seconds: float, wait: Callable[[float], object]) -> Window:
    with meter.window() as window:
        wait(seconds)
    for channel, reading in window.readings.items():
        if seconds < (least := LEAST_SECONDS[reading.method]):
            msg = (
                f"idle windows of {seconds} s are too short for channel {channel} ({reading.method}): {least} s or more"
            )
            raise MeterError(msg)
    return window


def _channel(channel: str, method: Method, windows: list[Window]) -> IdleChannel:
    watts = [mean_power(window.readings[channel].joules, window.seconds) for window in windows]
    return IdleChannel(Watts(statistics.fmean(watts)), Watts(statistics.stdev(watts)), method)
