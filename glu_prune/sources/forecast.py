"""What a run will take: how much is to be run, how long that takes here, and what of it the store has already."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum
from statistics import fmean
from typing import TYPE_CHECKING

from glu_prune.efficiency.meter import MEASURED
from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import AnyCell, Cell, DistanceCell, FloorCell, SeriesCell
from glu_prune.experiment.engine import Engine
from glu_prune.files import files_below

if TYPE_CHECKING:
    from glu_prune.experiment.executors.probing import Prober
    from glu_prune.models.source import ModelSource

STORED, PROBED = "stored", "probed"


@dataclass(frozen=True)
class TaskWork:
    """What is to be run of one task of one model."""

    model: str
    task: str
    arms: int
    """That are to be run."""
    stored: int
    """Arms that the store has."""
    tokens: float | None
    """Of each arm; None if that is not known."""
    seconds: float | None
    """Of all of them, dense and pruned alike; None if that is not known."""
    how: str
    """Where the seconds are from, or why they are not known."""
    joules: float | None = None
    """Of all of them, by meters; None if arms in the store were not metered, or there are none."""


@dataclass(frozen=True)
class Forecast:
    """What a run will take."""

    tasks: tuple[TaskWork, ...]
    loading: float
    """Seconds until models are loaded."""
    gigabytes: float
    """That are read from disk, or moved to each machine of a cluster."""
    floors: int
    """That are to be computed, of which no model is part."""
    series: int
    """Of costs, which are to be measured."""
    distances: int
    """Cells of KL, each of which takes as long as two arms."""


def forecast(engine: Engine, cells: Iterable[AnyCell], prober: "Prober | None") -> Forecast:
    """For `cells`; where the store does not say how long one takes, `prober` tries it.

    Raises:
        StoreError: the store cannot be read.
        GluPruneError: a model cannot be loaded.
    """
    every = list(dict.fromkeys(cells))
    missing = {cell.key for cell in every if engine.check(cell)}
    alike: dict[object, list[Cell]] = {}
    for cell in every:
        if isinstance(cell, Cell):
            about = cell.source, cell.settings, cell.tasks, cell.num_fewshot, cell.subset, cell.folder
            alike.setdefault(about, []).append(cell)
    tasks = tuple(_work(engine, some, missing, prober) for some in alike.values())
    models: dict[str, ModelSource] = {}
    for cell in every:
        if cell.key in missing and isinstance(cell, Cell | DistanceCell):
            models[cell.source.fingerprint] = cell.source
    return Forecast(
        tasks=tasks,
        loading=sum(prober.loading.values()) if prober else 0.0,
        gigabytes=sum(map(_bytes, models.values())) / 1e9,
        floors=_count(every, missing, FloorCell),
        series=_count(every, missing, SeriesCell),
        distances=_count(every, missing, DistanceCell),
    )


def _work(engine: Engine, cells: Sequence[Cell], missing: set[str], prober: "Prober | None") -> TaskWork:
    """Of cells that differ in their arms alone, or that are answered together."""
    first = cells[0]
    arms = {cell.arm for cell in cells}
    left = {cell.arm for cell in cells if cell.key in missing}
    seconds, tokens, joules, how = _known(engine, cells)
    if left and seconds is None and prober is not None:
        try:
            found = prober.probe(first)
            tokens, seconds, how = found.tokens, found.seconds * len(left) + found.beside, PROBED
        except EvaluationError as error:
            how = str(error)
    elif seconds is not None:
        seconds *= len(left)
    return TaskWork(
        model=first.source.name,
        task=", ".join(first.tasks),
        arms=len(left),
        stored=len(arms) - len(left),
        tokens=tokens,
        seconds=seconds if left else 0.0,
        how=how,
        joules=None if joules is None else joules * len(left),
    )


def _known(engine: Engine, cells: Sequence[Cell]) -> tuple[float | None, float | None, float | None, str]:
    """Seconds, tokens and joules of an arm, from those that were run on this machine."""
    by_arm: dict[object, float] = {}
    tokens, joules = [], []
    for cell in cells:
        if (cost := engine.cost(cell)) is not None:
            by_arm[cell.arm] = by_arm.get(cell.arm, 0.0) + cost.cost.seconds
            tokens.append(float(engine.record(cell).positions or 0))
            metered = [each.joules for each in cost.cost.energy.values() if each.method in MEASURED]
            joules += [fsum(metered)] if metered else []
    if not by_arm:
        return None, None, None, "unknown: no arm was run on this machine"
    # Tasks that are answered together have a share each, so that an arm's joules are the sum over them.
    energy = fsum(joules) / len(by_arm) if len(joules) == len(tokens) else None
    return fmean(by_arm.values()), fmean(tokens), energy, STORED


def _count(cells: Sequence[AnyCell], missing: set[str], kind: type) -> int:
    return sum(isinstance(cell, kind) and cell.key in missing for cell in cells)


def _bytes(source: "ModelSource") -> int:
    return sum(path.stat().st_size for path in files_below(source.folder))
