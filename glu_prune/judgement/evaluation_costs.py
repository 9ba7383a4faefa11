"""What the evaluations of each arm cost in all: added up over the tasks that it answered."""

from collections.abc import Sequence

from glu_prune.results.costs import CellResult, EvaluationCost, EvaluationReadings
from glu_prune.statistics.means import mean_or_none

_MEGA, _KILO = 1e6, 1e3


def evaluation_costs(cells: Sequence[CellResult]) -> tuple[EvaluationCost, ...]:
    """One row per model and arm from its cells.

    Speed and energy per token are taken over the log-likelihood tasks that all arms of a model have in common: there
    every arm does the same work. Generated text differs in length between arms, so per-token figures over it mislead.
    Where positions are not counted, as by a backend, there are no such figures.
    """
    known = {(cell.model, cell.arm, cell.task, cell.subset): cell for cell in cells}
    rows = []
    for model, arm in dict.fromkeys((cell.model, cell.arm) for cell in known.values()):
        arms = {other for name, other, *_ in known if name == model}
        mine = [known[key] for key in sorted(known) if key[:2] == (model, arm)]
        alike = [
            cell.cost
            for cell in mine
            if cell.cost is not None
            and cell.cost.positions is not None
            and cell.cost.scored_positions == cell.cost.positions
            and all((model, other, cell.task, cell.subset) in known for other in arms)
        ]
        rows.append(_total(mine, alike))
    return tuple(rows)


def _total(cells: Sequence[CellResult], alike: Sequence[EvaluationReadings]) -> EvaluationCost:
    """The sum over the cells of one arm; per token over those that are `alike` in every arm."""
    costs = [cell.cost for cell in cells if cell.cost is not None]
    tokens = sum(cost.positions or 0 for cost in alike)
    seconds = sum(cost.seconds for cost in alike)
    metered = len(costs) == len(cells) and all(cost.energy for cost in costs)
    channels = dict.fromkeys(channel for cost in costs for channel in cost.energy) if metered else {}
    readings = {name: [cost.energy[name] for cost in costs if name in cost.energy] for name in channels}
    energy = sum(reading.joules for cost in alike for reading in cost.energy.values())
    methods = (f"{name}: {'/'.join(sorted({each.method for each in found}))}" for name, found in readings.items())
    notes = dict.fromkeys(cost.note for cost in costs if cost.note)
    first = cells[0]
    return EvaluationCost(
        **first.size.model_dump(),
        model=first.model,
        arm=first.arm,
        dtype=f"{first.dtype}: {first.dtype_why}" if first.dtype_why else first.dtype,
        megabytes=first.size.bytes / _MEGA,
        tokens_per_second=tokens / seconds if tokens else None,
        joules_per_1000_tokens=_KILO * energy / tokens if tokens and metered else None,
        joules={name: sum(each.joules for each in found) for name, found in readings.items()},
        other_load=mean_or_none([cost.other_load for cost in costs], [cost.seconds for cost in costs]),
        method=", ".join(methods) or "; ".join(notes) or "-",
    )
