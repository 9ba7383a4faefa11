"""Measures one workload on several loaded models in turns: warm-up, idle power, then rounds of metered windows."""

import itertools
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.footprint import Footprint, footprints
from glu_prune.efficiency.fresh import FreshProcesses
from glu_prune.efficiency.generation import Generator, PaddedBatch, padded
from glu_prune.efficiency.idle import IdlePower, idle_power
from glu_prune.efficiency.meter import LEAST_SECONDS, LONG_ENOUGH, Meter, methods_of
from glu_prune.efficiency.processors import Processors
from glu_prune.efficiency.series import REPLICATE, ArmSeries, PhaseWindow, Series, Turn
from glu_prune.efficiency.workload import Batch, Prompts, Workload
from glu_prune.errors import MeterError, ShortWindowError, WorkloadError
from glu_prune.models.source import ModelSource
from glu_prune.pruning.blocks import find_blocks
from glu_prune.units import Seconds

Steps = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

IDLE_WINDOWS = 5
_UNMETERED = 0.25
"""Seconds of a window where there is no energy counter."""
_WARM_UP = 2
"""Batches before anything is measured, taken in turn; they tell how many fill a window."""
_TRIES_OF_ROUND = 8
"""Each time, its windows have twice the work."""
_TRIES = 3
"""So many batches of the warm-up are timed, unless fewer fill a window."""


@dataclass(frozen=True)
class _Counts:
    """How many batches make a window, the same for all arms."""

    prefill: int
    generation: int

    def doubled(self) -> "_Counts":
        return _Counts(2 * self.prefill, 2 * self.generation)

    def for_windows_of(self, seconds: float, turns: Sequence[Turn]) -> "_Counts":
        """More of them from the next round on, if windows of this one were too short."""
        shares = (min(getattr(turn, part).seconds for turn in turns) / seconds for part in ("prefill", "generation"))
        known = zip((self.prefill, self.generation), shares, strict=True)
        return _Counts(*(count if share >= LONG_ENOUGH else math.ceil(count / share) for count, share in known))


def measure(
    models: Mapping[str, Any],
    prompts: Prompts,
    meter: Meter,
    effort: Effort,
    *,
    processes: FreshProcesses,
    scratch: Path,
    progress: Steps,
) -> Series:
    """The memory of each of `models` in processes of its own, then `prompts` through each in turns.

    Every arm does the same work: the same batches, as many of them, and exactly as many new tokens. The order of the
    arms rotates from round to round and is reversed in every other one, so that drift falls on all of them alike.

    Args:
        models: Label to model, all on one device, ready for evaluation.
        prompts: What they are asked.
        meter: Of energy.
        effort: How often and how long.
        processes: Where memory is measured; from `fresh_processes`.
        scratch: A folder with room for one of the models, which is saved there for a while.
        progress: Is told after every round.

    Raises:
        WorkloadError: a model cannot hold the prompts and new tokens, or ends early.
        MeterError: a reading cannot be true, or windows were not metered alike.
    """
    workload = prompts.workload
    for label, model in models.items():
        refuse_too_long(label, model.config, workload)
    progress("memory", 0, effort.rounds)
    held = _held(models, prompts, effort, processes, scratch)
    generators = {label: Generator(model) for label, model in models.items()}
    device = next(iter(models.values())).device
    idle, turns = _rounds(generators, prompts, device, meter, effort, progress)
    return Series(
        workload=workload,
        prompts=prompts.source,
        device=device.type,
        clock=next(iter(generators.values())).clock,
        idle=idle,
        arms={
            label: ArmSeries(label, _bytes(model), _width(model), tuple(turns[label]), held.get(label, ()))
            for label, model in models.items()
        },
    )


def _held(
    models: Mapping[str, Any], prompts: Prompts, effort: Effort, processes: FreshProcesses, scratch: Path
) -> dict[str, tuple[Footprint, ...]]:
    """The memory of every arm but the replicate, which differs from the dense model in nothing that memory shows."""
    first, new_tokens = next(prompts.batches(0)), prompts.workload.new_tokens
    return {
        label: tuple(_footprints(label, model, first, new_tokens, effort, processes, scratch))
        for label, model in models.items()
        if label != REPLICATE
    }


def _footprints(
    label: str, model: Any, batch: Batch, new_tokens: int, effort: Effort, processes: FreshProcesses, scratch: Path
) -> Iterator[Footprint]:
    """Of a model that is saved for that: all arms in one way, so that they are loaded in one way."""
    if effort.processes == 0:
        return
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="footprint-") as folder:
        model.save_pretrained(folder)
        source, dtype = ModelSource(label, Path(folder)), str(model.dtype).removeprefix("torch.")
        how, asked = (source, dtype, str(model.device)), (batch, new_tokens, effort.processes)
        attention, device_map = model.config._attn_implementation, getattr(model, "hf_device_map", "")
        yield from footprints(*how, *asked, processes, attention=attention, device_map=device_map)


def _rounds(
    generators: Mapping[str, Generator], prompts: Prompts, device: Any, meter: Meter, effort: Effort, progress: Steps
) -> tuple[IdlePower, dict[str, list[Turn]]]:
    """Idle power after a warm-up, and the turns of every arm, round by round."""
    warm = [padded(batch, device) for batch in itertools.islice(prompts.batches(0), _WARM_UP)]
    least = max((LEAST_SECONDS[method] for method in meter.methods().values()), default=_UNMETERED)
    seconds = effort.seconds or least
    paces = [_pace(generator, warm, prompts.workload, seconds) for generator in generators.values()]
    idle = idle_power(meter, seconds=max(seconds, least), windows=IDLE_WINDOWS)
    # By the fastest arm: every arm does as many batches, and no window may be too short for the counters.
    counts = _Counts(*(_filling(seconds, min(each)) for each in zip(*paces, strict=True)))
    turns: dict[str, list[Turn]] = {label: [] for label in generators}
    for number in range(effort.rounds):
        done, counts = _round(number, generators, prompts, counts, device, meter)
        for label, turn in done.items():
            _refuse_other_channels(idle, turn)
            turns[label].append(turn)
        counts = counts.for_windows_of(seconds, [*done.values()])
        progress("measuring", number + 1, effort.rounds)
    return idle, turns


def _order(labels: tuple[str, ...], number: int) -> Iterable[str]:
    """Who goes first, second, ... in a round: rotated, and reversed in every other round."""
    start = number // 2 % len(labels)
    rotated = labels[start:] + labels[:start]
    return reversed(rotated) if number % 2 else rotated


def refuse_too_long(name: str, config: Any, workload: Workload) -> None:
    """Raises `WorkloadError` if a model of this configuration has too few positions for `workload`."""
    most = getattr(config.get_text_config(), "max_position_embeddings", None)
    if most is not None and workload.prompt_tokens + workload.new_tokens > most:
        msg = (
            f"{name} holds {most} positions; workload {workload.name} needs {workload.prompt_tokens} prompt tokens + "
            f"{workload.new_tokens} new tokens; choose fewer"
        )
        raise WorkloadError(msg)


def _refuse_other_channels(idle: IdlePower, turn: Turn) -> None:
    """Rounds that lack a channel could not be compared with those that have it."""
    expected = methods_of(idle.channels)
    for phase in (turn.prefill, turn.generation):
        if (found := methods_of(phase.readings)) != expected:
            msg = f"energy was read by {expected} while idle and by {found} at work; measure it again"
            raise MeterError(msg)


def _round(
    number: int,
    generators: Mapping[str, Generator],
    prompts: Prompts,
    counts: _Counts,
    device: Any,
    meter: Meter,
    tries: int = _TRIES_OF_ROUND,
) -> tuple[dict[str, Turn], _Counts]:
    """A turn of every arm, and how many batches made a window.

    Begins anew with more of them where a window was too short, as they are if other work held up the warm-up.
    """
    asked = itertools.islice(prompts.batches(number), max(counts.prefill, counts.generation))
    batches = [padded(batch, device) for batch in asked]
    order = _order(tuple(generators), number)
    try:
        return {label: _turn(generators[label], batches, counts, prompts.workload, meter) for label in order}, counts
    except ShortWindowError:
        if tries == 1:
            raise
    return _round(number, generators, prompts, counts.doubled(), device, meter, tries - 1)


def _bytes(model: Any) -> int:
    return sum(each.numel() * each.element_size() for each in model.parameters())


def _width(model: Any) -> int:
    """Neurons of the first block."""
    return find_blocks(model)[0].width


def _pace(generator: Generator, warm: list[PaddedBatch], workload: Workload, window: float) -> tuple[float, float]:
    """Seconds of one batch: (prompts alone, with all new tokens)."""
    return _fastest(generator, warm, 1, window), _fastest(generator, warm, workload.new_tokens, window)


def _filling(window: float, pace: float) -> int:
    """How many batches fill a window: as few as make it long enough, if one more would make it far too long."""
    return max(1, math.ceil(window / pace - (1 - LONG_ENOUGH)))


def _fastest(generator: Generator, warm: list[PaddedBatch], new_tokens: int, window: float) -> float:
    """Seconds of the fastest batch after the first: had it been held up, windows would be too short."""
    batches = itertools.cycle(warm)
    _timed(generator, next(batches), new_tokens)
    taken: list[float] = []
    while sum(taken) < window and (sum(taken) < _UNMETERED or len(taken) < _TRIES):
        taken.append(_timed(generator, next(batches), new_tokens))
    return min(taken)


def _timed(generator: Generator, batch: PaddedBatch, new_tokens: int) -> float:
    begin = time.perf_counter()
    generator(batch, new_tokens)
    if (seconds := time.perf_counter() - begin) <= 0:  # what is to fill a window would never do so
        msg = f"a batch took {seconds:g} s by this machine's clock, which stands still or runs backwards; set it right"
        raise MeterError(msg)
    return seconds


def _turn(generator: Generator, batches: list[PaddedBatch], counts: _Counts, workload: Workload, meter: Meter) -> Turn:
    prefill, _ = _phase(generator, batches[: counts.prefill], workload.batch_size, 1, meter)
    generation, times = _phase(generator, batches[: counts.generation], workload.batch_size, workload.new_tokens, meter)
    first, last = zip(*times, strict=True)
    return Turn(prefill, generation, first, last)


def _phase(
    generator: Generator, batches: list[PaddedBatch], batch_size: int, new_tokens: int, meter: Meter
) -> tuple[PhaseWindow, list[tuple[Seconds, Seconds]]]:
    """One window, and the times of its batches."""
    processors = Processors()
    generator.wait()
    with meter.window() as window, processors.watched():
        times = [generator(batch, new_tokens) for batch in batches]
        generator.wait()
    phase = PhaseWindow(
        batches=len(batches),
        prompt_tokens=sum(batch.prompt_tokens for batch in batches),
        new_tokens=len(batches) * batch_size * new_tokens,
        seconds=window.seconds,
        readings=window.readings,
        emissions=window.emissions,
        note=window.note,
        other_load=processors.other_load,
    )
    return phase, times
