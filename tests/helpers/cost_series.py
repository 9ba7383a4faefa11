"""Measurements that are made up: what each arm took and drew in each round."""

from collections.abc import Mapping, Sequence

import numpy as np

from glu_prune.efficiency.footprint import Footprint
from glu_prune.efficiency.idle import IdleChannel, IdlePower
from glu_prune.efficiency.meter import Emissions, Reading
from glu_prune.efficiency.series import DENSE_LABEL, REPLICATE, ArmSeries, PhaseWindow, Series, Turn
from glu_prune.efficiency.workload import Workload, drawn

LABEL = "ppm-0.5"
METER = {"gpu": "nvml"}
NO_METER = {"cpu": "modelled", "ram": "modelled"}
ONE, EIGHT = drawn(64, 32, 1), drawn(64, 32, 8)
LONG = 100
"""Times that each batch is repeated in a window, so that all are long enough for a counter."""

Round = tuple[float, Mapping[str, float]]
"""(seconds of a window of whole answers, channel to joules in it)."""


def took(seconds: float, *, seed: int = 0, rounds: int = 8, spread: float = 0.01, **watts: float) -> list[Round]:
    """An arm that takes so long and draws so much, but for noise of its own in each."""
    noise = np.exp(spread * np.random.default_rng(seed).standard_normal((rounds, 1 + len(watts))))
    return [
        (
            seconds * first,
            {channel: power * seconds * each for (channel, power), each in zip(watts.items(), rest, strict=True)},
        )
        for first, *rest in noise.tolist()
    ]


def series(
    dense: Sequence[Round],
    pruned: Sequence[Round],
    again: Sequence[Round] | None = None,
    *,
    methods: Mapping[str, str] = METER,
    sizes: tuple[int, int] = (100_000_000, 60_000_000),
    idle: float = 1.0,
    workload: Workload = ONE,
    held: tuple[Sequence[int], Sequence[int]] = ((), ()),
) -> Series:
    """Three arms; the copy of the dense model takes exactly what the dense model does, unless it is given."""
    arms = {DENSE_LABEL: (dense, sizes[0], held[0]), LABEL: (pruned, sizes[1], held[1])}
    arms[REPLICATE] = (dense if again is None else again, sizes[0], ())
    return Series(
        workload=workload,
        prompts="tokens drawn at random",
        device="cuda" if "gpu" in methods else "cpu",
        clock="host clock",
        idle=IdlePower({name: IdleChannel(idle, 0.1, method) for name, method in methods.items()}, 5, 1.0),
        arms={
            label: ArmSeries(
                label, size, 64, tuple(_turn(each, methods, workload) for each in rounds), tuple(map(_footprint, most))
            )
            for label, (rounds, size, most) in arms.items()
        },
    )


def _turn(each: Round, methods: Mapping[str, str], workload: Workload) -> Turn:
    """Two batches; a tenth of all is the prompts'."""
    seconds, _ = each
    first, last = (seconds / 20, seconds / 16), (seconds / 2, seconds / 2)
    return Turn(_phase(0.1, each, methods, workload, 1), _phase(1, each, methods, workload, 32), first, last)


def _phase(share: float, each: Round, methods: Mapping[str, str], workload: Workload, new_tokens: int) -> PhaseWindow:
    seconds, energies = each
    share *= LONG
    return PhaseWindow(
        batches=2 * LONG,
        prompt_tokens=2 * LONG * workload.batch_size * workload.prompt_tokens,
        new_tokens=2 * LONG * workload.batch_size * new_tokens,
        seconds=share * seconds,
        readings={name: Reading(share * energies[name], method) for name, method in methods.items()},
        emissions=Emissions(share * 1e-6, "USA") if methods else None,
    )


def _footprint(most: int) -> Footprint:
    return Footprint(most // 3, most // 2, most, None, None, None, "resident set")
