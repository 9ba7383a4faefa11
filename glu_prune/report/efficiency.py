"""What each arm cost: rows about workloads that were measured, and about the evaluations that ran."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from glu_prune.efficiency.cost_metrics import COST_METRICS, CostMetric, channels, counted, gross, net
from glu_prune.efficiency.series import DENSE, REPLICATE, ArmSeries, PhaseWindow, Series
from glu_prune.evidence.finding import Finding
from glu_prune.judgement.efficiency import percent
from glu_prune.pruning.ratio import show_ratio
from glu_prune.report.rows import Row, Rows, finding_row
from glu_prune.statistics.means import mean_or_none, student_interval

_MEGA, _KILO = 1e6, 1e3


def measured_tables(
    model: str, ratio: Decimal, measured: Sequence[Series], label: str, found: Iterable[Finding]
) -> Rows:
    """Everything that measurements of the arm `label` have to show, the dense model beside it, and `found` of them."""
    shown = show_ratio(ratio)
    return {
        "efficiency": [row for series in measured for row in _measured(model, shown, series, label)],
        "energy": [row for series in measured for row in _energies(model, shown, series, label)],
        "findings": [finding_row(finding) for finding in found],
    }


def _measured(model: str, ratio: str, series: Series, label: str) -> Iterator[dict[str, Any]]:
    """One row per figure of one workload: the dense model, the arm `label`, and the change from one to the other.

    Intervals are [mean, low, high], changes [percent, low, high], all at 95 %.
    """
    here = {"model": model, "ratio": ratio, "arm": label, "workload": series.workload.name}
    arms = {which: arm for which, arm in series.arms.items() if which in (DENSE, label, REPLICATE)}
    for name, measure in COST_METRICS.items():
        values = {which: measure.values(series, arm) for which, arm in arms.items()}
        if values[DENSE]:
            changes = {which: _change(name, series, which) for which in (label, REPLICATE) if values.get(which)}
            yield {**here, **_figure(name, measure.unit, values, label, changes), "how": _how(measure, series)}
    if grids := {grid for arm in arms.values() for grid in _grids(arm)}:
        values = {which: list(_carbon(arm)) for which, arm in arms.items()}
        how = f"energy of all channels ({_methods(channels(series))}) on the grid of {'/'.join(sorted(grids))}"
        yield {**here, **_figure("co2e_per_1000_tokens", "g", values, label, {}), "how": how}
    sizes = {which: [arm.parameter_bytes / _MEGA] for which, arm in arms.items()}
    change = 100 * (sizes[label][0] / sizes[DENSE][0] - 1) if label in sizes else 0.0
    exact = {label: [change, change, change]}
    yield {**here, **_figure("model_bytes", "MB", sizes, label, exact), "how": "parameters x bytes of their dtype"}


def _figure(
    name: str, unit: str, values: Mapping[str, list[float]], label: str, changes: Mapping[str, list[float] | None]
) -> dict[str, Any]:
    return {
        "figure": name,
        "unit": unit,
        "n": len(values[DENSE]),
        "dense": student_interval(values[DENSE]),
        "pruned": student_interval(values[label]) if label != DENSE and values[label] else None,
        "change": changes.get(label) if label != DENSE else None,
        "again": changes.get(REPLICATE),
    }


def _change(name: str, series: Series, label: str) -> list[float] | None:
    """[change, low, high] from the dense model to `label` in percent; None where there is no ratio of the two."""
    dense, other = (COST_METRICS[name].values(series, series.arms[which]) for which in (DENSE, label))
    if min(*dense, *other) <= 0:
        return None
    logs = [math.log(after / before) for before, after in zip(dense, other, strict=True)]
    return [percent(each) for each in student_interval(logs)]


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


def _energies(model: str, ratio: str, series: Series, label: str) -> Iterator[dict[str, Any]]:
    """One row per arm and channel of one workload: joules per new token, gross and net, and watts idle."""
    for which, arm in series.arms.items():
        if which not in (DENSE, label, REPLICATE):
            continue
        phases = [turn.generation for turn in arm.turns]
        for channel, method in channels(series).items():
            idle = series.idle.channels.get(channel)
            yield {
                "model": model,
                "ratio": ratio,
                "workload": series.workload.name,
                "arm": which,
                "channel": channel,
                "n": len(phases),
                "gross": _per_token(phases, [gross(each, (channel,)) for each in phases]),
                "idle": [idle.watts, idle.spread] if idle else None,
                "net": _per_token(phases, [net(series, each, (channel,)) for each in phases]),
                "method": method,
            }


def _per_token(phases: Sequence[PhaseWindow], joules: Sequence[float | None]) -> list[float] | None:
    """Interval of joules per new token; None unless it is known of all."""
    known = [found / each.new_tokens for found, each in zip(joules, phases, strict=True) if found is not None]
    return student_interval(known) if len(known) == len(phases) else None


def evaluation_rows(costs: Iterable[Row]) -> list[dict[str, Any]]:
    """One row per model and arm from the cost rows of its cells.

    Speed and energy per token are taken over the log-likelihood tasks that all arms of a model have in common: there
    every arm does the same work. Generated text differs in length between arms, so per-token figures over it mislead.
    Where positions are not counted, as by a backend, there are no such figures.
    """
    cells = {(row["model"], row["arm"], f"{row['task']} {row['part']}"): row for row in costs}
    rows = []
    for model, arm in dict.fromkeys((model, arm) for model, arm, _ in cells):
        arms = {other for name, other, _ in cells if name == model}
        tasks = {task for name, other, task in cells if (name, other) == (model, arm)}
        mine = [cells[model, arm, task] for task in sorted(tasks)]
        alike = [
            row["cost"]
            for row in mine
            if row["cost"]["positions"] is not None
            and row["cost"]["scored_positions"] == row["cost"]["positions"]
            and all((model, other, f"{row['task']} {row['part']}") in cells for other in arms)
        ]
        rows.append({"model": model, "arm": arm, **mine[0]["size"], **_totals(mine, alike)})
    return rows


def _totals(cells: Sequence[Row], alike: Sequence[Row]) -> dict[str, Any]:
    tokens = sum(cost["positions"] for cost in alike)
    seconds = sum(cost["seconds"] for cost in alike)
    metered = bool(cells) and all(row["cost"]["energy"] for row in cells)
    channels = dict.fromkeys(channel for row in cells for channel in row["cost"]["energy"]) if metered else {}
    methods = {
        channel: {row["cost"]["energy"][channel]["method"] for row in cells if channel in row["cost"]["energy"]}
        for channel in channels
    }
    energy = sum(reading["joules"] for cost in alike for reading in cost["energy"].values())
    notes = dict.fromkeys(row["cost"]["note"] for row in cells if row["cost"]["note"])
    return {
        "tokens_per_second": tokens / seconds if tokens else None,
        "joules_per_1000_tokens": 1000 * energy / tokens if tokens and metered else None,
        "joules": {
            channel: sum(row["cost"]["energy"][channel]["joules"] for row in cells if channel in row["cost"]["energy"])
            for channel in channels
        },
        "others": mean_or_none([row["cost"]["others"] for row in cells], [row["cost"]["seconds"] for row in cells]),
        "method": ", ".join(f"{c}: {'/'.join(sorted(m))}" for c, m in methods.items()) or "; ".join(notes) or "-",
    }
