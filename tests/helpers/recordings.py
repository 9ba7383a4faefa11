from collections.abc import Mapping

from glu_prune.efficiency.footprint import Footprint
from glu_prune.efficiency.idle import IdleChannel, IdlePower
from glu_prune.efficiency.meter import Emissions, RawWindow, Reading
from glu_prune.efficiency.series import DENSE_LABEL, ArmSeries, PhaseWindow, Series, Turn
from glu_prune.efficiency.workload import drawn
from glu_prune.units import JOULES_PER_KILOWATT_HOUR

METHODS = {"cpu": "rapl", "ram": "modelled"}


def raw(seconds: float = 10.0, *, joules: Mapping[str, float] | None = None, **changed: object) -> RawWindow:
    """A recorded window of a machine without a GPU: 36 J on the CPU and 72 J on the RAM."""
    energies = {"cpu": 36.0, "ram": 72.0} | dict(joules or {})
    usual = {
        "kilowatt_hours": {channel: energy / JOULES_PER_KILOWATT_HOUR for channel, energy in energies.items()},
        "methods": METHODS,
        "kilograms": 1e-5,
        "grid": "USA",
    }
    return RawWindow(seconds=seconds, **{**usual, **changed})


def phase(seconds: float, *, prompt_tokens: int = 24, new_tokens: int = 30, **readings: Reading) -> PhaseWindow:
    """Three batches of a window; `readings` are by channel."""
    return PhaseWindow(3, prompt_tokens, new_tokens, seconds, readings, Emissions(1e-5, "USA"))


def turn(prefill: Mapping[str, Reading], generation: Mapping[str, Reading], **changed: object) -> Turn:
    """Half a second of prompts, two seconds of answers, in three batches: 5 new tokens for each of 2 prompts of 4."""
    usual = {
        "prefill": phase(0.5, new_tokens=6, **prefill),
        "generation": phase(2.0, **generation),
        "first_token": (0.01, 0.02, 0.06),
        "last_token": (0.05, 0.10, 0.10),
    }
    return Turn(**{**usual, **changed})


def series(
    *turns: Turn,
    idle: Mapping[str, IdleChannel] | None = None,
    footprints: tuple[Footprint, ...] = (),
    **changed: object,
) -> Series:
    """One arm that had these turns."""
    usual = {
        "workload": drawn(4, 5, 2),
        "prompts": "tokens drawn at random",
        "device": "cuda",
        "clock": "host clock",
        "idle": IdlePower(idle or {}, 5, 1.0),
        "arms": {DENSE_LABEL: ArmSeries(DENSE_LABEL, 1000, 64, turns, footprints)},
    }
    return Series(**{**usual, **changed})
