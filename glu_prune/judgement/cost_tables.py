"""What workloads that were measured have to show: figures with intervals and changes, and energy by channel."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from glu_prune.efficiency.cost_metrics import COST_METRICS, CostMetric, channels, counted, gross, net
from glu_prune.efficiency.series import DENSE_LABEL, REPLICATE, ArmSeries, PhaseWindow, Series
from glu_prune.judgement.run_pairs import percent
from glu_prune.results.base import Interval
from glu_prune.results.costs import ChannelEnergy, FigureResult
from glu_prune.results.findings import Finding
from glu_prune.results.report import CaseTables
from glu_prune.statistics.means import student_interval

_MEGA, _KILO = 1e6, 1e3


def cost_tables(
    model: str,
    ratio: Decimal | None,
    measured: Sequence[Series],
    label: str,
    found: Iterable[Finding],
    named: str = "",
) -> CaseTables:
    """Everything that measurements of the arm `label` have to show, the dense model beside it, and `found` of them.

    `named` is what its file calls the arm, in place of a ratio.
    """
    return CaseTables(
        efficiency=tuple(row for series in measured for row in _figures(_Workload(model, ratio, named, series, label))),
        energy=tuple(row for series in measured for row in _energies(_Workload(model, ratio, named, series, label))),
        findings=tuple(found),
    )


@dataclass(frozen=True)
class _Workload:
    """One workload on the dense model, the arm `label`, and the replicate, ready for rows about it."""

    model: str
    ratio: Decimal | None
    named: str
    series: Series
    label: str

    def figure(
        self,
        name: str,
        unit: str,
        values: Mapping[str, list[float]],
        how: str,
        changes: Mapping[str, Interval | None] | None = None,
    ) -> FigureResult:
        """A row: the figure's mean in each arm and its change, at 95 %."""
        label, changed = self.label, changes or {}
        pruned = _interval(values[label]) if label != DENSE_LABEL and values[label] else None
        return FigureResult(
            model=self.model,
            ratio=self.ratio,
            named=self.named,
            arm=label,
            workload=self.series.workload.name,
            figure=name,
            unit=unit,
            n=len(values[DENSE_LABEL]),
            dense=_interval(values[DENSE_LABEL]),
            pruned=pruned,
            change=changed.get(label) if label != DENSE_LABEL else None,
            replicate=changed.get(REPLICATE),
            how=how,
        )


def _figures(here: _Workload) -> Iterator[FigureResult]:
    """One row per figure of one workload."""
    series, label = here.series, here.label
    arms = {which: arm for which, arm in series.arms.items() if which in (DENSE_LABEL, label, REPLICATE)}
    for name, measure in COST_METRICS.items():
        values = {which: measure.values(series, arm) for which, arm in arms.items()}
        if values[DENSE_LABEL]:
            changes = {which: _change(name, series, which) for which in (label, REPLICATE) if values.get(which)}
            yield here.figure(name, measure.unit, values, _how(measure, series), changes)
    if grids := {grid for arm in arms.values() for grid in _grids(arm)}:
        values = {which: list(_carbon(arm)) for which, arm in arms.items()}
        how = f"energy of all channels ({_methods(channels(series))}) on the grid of {'/'.join(sorted(grids))}"
        yield here.figure("co2e_per_1000_tokens", "g", values, how)
    sizes = {which: [arm.parameter_bytes / _MEGA] for which, arm in arms.items()}
    change = 100 * (sizes[label][0] / sizes[DENSE_LABEL][0] - 1) if label in sizes else 0.0
    exact = {label: (change, change, change)}
    yield here.figure("model_bytes", "MB", sizes, "parameters x bytes of their dtype", exact)


def _interval(values: Sequence[float]) -> Interval:
    mean, low, high = student_interval(values)
    return mean, low, high


def _change(name: str, series: Series, label: str) -> Interval | None:
    """(change, low, high) from the dense model to `label` in percent; None where there is no ratio of the two."""
    dense, other = (COST_METRICS[name].values(series, series.arms[which]) for which in (DENSE_LABEL, label))
    if min(*dense, *other) <= 0:
        return None
    logs = [math.log(after / before) for before, after in zip(dense, other, strict=True)]
    change, low, high = map(percent, student_interval(logs))
    return change, low, high


def _how(measure: CostMetric, series: Series) -> str:
    """How a figure was obtained, in words."""
    if measure.kind == "energy":
        return _methods(counted(series))
    if measure.kind == "memory":
        footprint = next(each for arm in series.arms.values() for each in arm.footprints)
        return footprint.how if footprint.device_resident is None else "torch's allocator on the device"
    return {"time": series.clock, "rate": "host clock", "driver": "NVML"}[measure.kind]


def _methods(found: Mapping[str, str]) -> str:
    return ", ".join(f"{channel}: {method}" for channel, method in found.items())


def _grids(arm: ArmSeries) -> Iterator[str]:
    return (turn.generation.emissions.grid for turn in arm.turns if turn.generation.emissions)


def _carbon(arm: ArmSeries) -> Iterator[float]:
    """Grams of CO2e per 1000 new tokens, round by round."""
    for each in (turn.generation for turn in arm.turns):
        if each.emissions:
            yield _KILO * _KILO * each.emissions.kilograms / each.new_tokens


def _energies(here: _Workload) -> Iterator[ChannelEnergy]:
    """One row per arm and channel of one workload: joules per new token, gross and net, and watts idle."""
    series, label = here.series, here.label
    for which, arm in series.arms.items():
        if which not in (DENSE_LABEL, label, REPLICATE):
            continue
        phases = [turn.generation for turn in arm.turns]
        for channel, method in channels(series).items():
            idle = series.idle.channels.get(channel)
            yield ChannelEnergy(
                model=here.model,
                ratio=here.ratio,
                named=here.named,
                workload=series.workload.name,
                arm=which,
                channel=channel,
                n=len(phases),
                gross=_per_token(phases, [gross(each, (channel,)) for each in phases]),
                idle=(idle.watts, idle.spread) if idle else None,
                net=_per_token(phases, [net(series, each, (channel,)) for each in phases]),
                method=method,
            )


def _per_token(phases: Sequence[PhaseWindow], joules: Sequence[float | None]) -> Interval | None:
    """Interval of joules per new token; None unless it is known of all."""
    known = [found / each.new_tokens for found, each in zip(joules, phases, strict=True) if found is not None]
    return _interval(known) if len(known) == len(phases) else None
