"""Figures of cost: what each is, in which unit, and how it is computed from what was measured of an arm."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Literal

from glu_prune.efficiency.footprint import Footprint
from glu_prune.efficiency.meter import ACCELERATORS, MEASURED, computing, methods_of
from glu_prune.efficiency.series import ArmSeries, PhaseWindow, Series, Turn

CORRECT_ANSWER = "joules_per_correct_answer"
_KILO, _MEGA = 1e3, 1e6
Values = list[float]
"""One per round, or one per process for memory; none where it was not measured."""


@dataclass(frozen=True)
class CostMetric:
    """One figure."""

    name: str
    unit: str
    what: str
    kind: Literal["time", "rate", "energy", "memory", "driver"]
    """`rate`: over the time of a whole window, by the host's clock; `driver`: as the device's driver says."""
    values: Callable[[Series, ArmSeries], Values]


def channels(series: Series) -> dict[str, str]:
    """Channel to method, of the energy that was metered."""
    first = next(iter(series.arms.values()))  # all windows of a series are metered alike
    return {**methods_of(first.turns[0].generation.readings)} if first.turns else {}


def metered(series: Series) -> bool:
    """Whether the energy of what computes was read from a meter; that of an idle GPU beside it says nothing."""
    return channels(series).get(computing(series.device)) in MEASURED


def counted(series: Series) -> dict[str, str]:
    """Those of `channels` that figures of energy are about: what was read from a meter, or all, if not `metered`.

    A GPU that idles beside a model on the CPU is not among them.
    """
    idle = ACCELERATORS - {computing(series.device)}
    found = {name: how for name, how in channels(series).items() if name not in idle}
    return {channel: method for channel, method in found.items() if method in MEASURED or not metered(series)}


def gross(phase: PhaseWindow, names: Collection[str]) -> float | None:
    """Joules of the channels `names` in all; None if one was not metered."""
    readings = [phase.readings.get(name) for name in names]
    known = [reading.joules for reading in readings if reading is not None]
    return math.fsum(known) if known and len(known) == len(readings) else None


def net(series: Series, phase: PhaseWindow, names: Collection[str]) -> float | None:
    """`gross`, less what idling takes in the same time; negative where idling took more. None if it is not known."""
    over = [
        series.idle.net(name, reading, phase.seconds)
        for name in names
        if (reading := phase.readings.get(name)) is not None
    ]
    known = [joules for joules in over if joules is not None]
    return math.fsum(known) if known and len(known) == len(names) else None


def _each(figure: Callable[[Series, Turn], float | None]) -> Callable[[Series, ArmSeries], Values]:
    """One value per round; none unless every round has one, as rounds of arms are compared one by one."""

    def values(series: Series, arm: ArmSeries) -> Values:
        found = [value for turn in arm.turns if (value := figure(series, turn)) is not None]
        return found if len(found) == len(arm.turns) else []

    return values


def _decoding(series: Series, turn: Turn) -> Values:
    """Seconds per token after the first, batch by batch; empty if there are none."""
    steps = series.workload.new_tokens - 1
    if steps == 0:
        return []
    return [(last - first) / steps for first, last in zip(turn.first_token, turn.last_token, strict=True)]


def _time_per_output_token(series: Series, turn: Turn) -> float | None:
    return _KILO * median(steps) if (steps := _decoding(series, turn)) else None


def _decode_rate(series: Series, turn: Turn) -> float | None:
    steps = _decoding(series, turn)
    return series.workload.batch_size * len(steps) / math.fsum(steps) if steps else None


def _per(joules: float | None, tokens: int) -> float | None:
    return None if joules is None else joules / tokens


def _held(part: Callable[[Footprint], int | None]) -> Callable[[Series, ArmSeries], Values]:
    """Megabytes, process by process."""

    def values(_: Series, arm: ArmSeries) -> Values:
        found = [held / _MEGA for each in arm.footprints if (held := part(each)) is not None]
        return found if len(found) == len(arm.footprints) else []

    return values


def _on_device(held: int | None, on_host: int) -> int:
    return on_host if held is None else held


def _from_answers(_: Series, __: ArmSeries) -> Values:
    return []


COST_METRICS: Mapping[str, CostMetric] = {
    metric.name: metric
    for metric in (
        CostMetric(
            "time_to_first_token",
            "ms",
            "from the prompts to the first new token of all of a batch; median of a window",
            "time",
            _each(lambda _, turn: _KILO * median(turn.first_token)),
        ),
        CostMetric(
            "time_per_output_token",
            "ms",
            "time of a token after the first, of all of a batch; median of a window",
            "time",
            _each(_time_per_output_token),
        ),
        CostMetric(
            "time_to_last_token",
            "ms",
            "from the prompts to the last new token, end to end; median of a window",
            "time",
            _each(lambda _, turn: _KILO * median(turn.last_token)),
        ),
        CostMetric(
            "prefill_tokens_per_second",
            "tokens/s",
            "prompt tokens over time, of prompts alone",
            "rate",
            _each(lambda _, turn: turn.prefill.prompt_tokens / turn.prefill.seconds),
        ),
        CostMetric(
            "decode_tokens_per_second",
            "tokens/s",
            "new tokens after the first over the time that they took",
            "time",
            _each(_decode_rate),
        ),
        CostMetric(
            "tokens_per_second",
            "tokens/s",
            "new tokens over the whole time, prompts included",
            "rate",
            _each(lambda _, turn: turn.generation.new_tokens / turn.generation.seconds),
        ),
        CostMetric(
            "joules_per_token",
            "J",
            "energy over new tokens, prompts included",
            "energy",
            _each(lambda series, turn: _per(gross(turn.generation, counted(series)), turn.generation.new_tokens)),
        ),
        CostMetric(
            "net_joules_per_token",
            "J",
            "the same, less what idling with the model loaded takes in that time",
            "energy",
            _each(lambda series, turn: _per(net(series, turn.generation, counted(series)), turn.generation.new_tokens)),
        ),
        CostMetric(
            "joules_per_prompt_token",
            "J",
            "energy over prompt tokens, of prompts alone",
            "energy",
            _each(lambda series, turn: _per(gross(turn.prefill, counted(series)), turn.prefill.prompt_tokens)),
        ),
        CostMetric(
            CORRECT_ANSWER,
            "J",
            "energy of the prompt tokens of all questions of a capability over the questions that are answered right",
            "energy",
            _from_answers,
        ),
        CostMetric(
            "resident_memory",
            "MB",
            "held with the model loaded, before any work, in a process of its own",
            "memory",
            _held(lambda each: _on_device(each.device_resident, each.resident)),
        ),
        CostMetric(
            "peak_memory",
            "MB",
            "the most that was held while generating, in a process of its own",
            "memory",
            _held(lambda each: _on_device(each.device_peak, each.peak)),
        ),
        CostMetric(
            "device_memory",
            "MB",
            "what that process held on the device in all, as the device's driver says",
            "driver",
            _held(lambda each: each.device_used),
        ),
    )
}
