"""Our own records under the checks that published figures have to pass."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from glu_prune.evidence.checks import examine
from glu_prune.evidence.figures import Floor, Run, Score, channel_energies
from glu_prune.judgement.cost_runs import BUSY, QUIET
from glu_prune.results.costs import CellResult, EvaluationCost, FloorScore
from glu_prune.results.findings import Finding


def own_findings(
    cells: Sequence[CellResult], floors: Iterable[FloorScore], costs: Sequence[EvaluationCost]
) -> tuple[Finding, ...]:
    """What the checks find in the cells of a session, but for control arms, which are no claims, and subsets of tasks.

    Whether the machine was busy is looked at in the costs of all cells, as what all of them cost is shown.
    """
    mine = [cell for cell in cells if not (cell.control or cell.subset)]
    found = examine(
        scores=[score for cell in mine for score in _scores(cell)],
        runs=[run for cell in mine if (run := _run(cell))],
        floors=[Floor(**dict(floor)) for floor in floors],
    )
    return (*found, *_busy(costs))


def _busy(costs: Sequence[EvaluationCost]) -> Iterator[Finding]:
    """Arms that answered while other processes worked."""
    for model in dict.fromkeys(each.model for each in costs):
        shares = {each.arm: each.other_load or 0.0 for each in costs if each.model == model}
        if busy := sum(share > QUIET for share in shares.values()):
            most = max(shares, key=shares.__getitem__)
            yield Finding(
                check=BUSY,
                model=model,
                subject="evaluations",
                says=f"other processes used more than {QUIET:.0%} of this machine's processors while {busy} of "
                f"{len(shares)} arms answered, and {shares[most]:.0%} while {most} did: they are in what these "
                "evaluations cost, and so in what one arm seems to save. Claims about cost are judged from turns",
            )


def _scores(cell: CellResult) -> Iterator[Score]:
    for metric, summary in cell.scores.items():
        yield Score(
            **_which(cell),
            task=cell.task,
            metric=metric,
            value=summary.score,
            stderr=summary.error,
            items=summary.scored,
            source="this session",
        )


def _run(cell: CellResult) -> Run | None:
    """The evaluation of a cell as an efficiency run; None if no energy was metered."""
    cost = cell.cost
    if cost is None or not cost.energy:
        return None
    figures = {"window_seconds": cost.seconds}
    if cell.new_tokens:
        figures |= {"new_tokens": float(cell.new_tokens), "measured_prompts": float(cell.prompts)}
    energies = channel_energies({channel: reading.joules for channel, reading in cost.energy.items()})
    return Run(**_which(cell), seed=0, workload=cell.task, figures=figures, energies=energies)


def _which(cell: CellResult) -> dict[str, Any]:
    """Model and ratio; an arm with a name counts as a model of its own, as nothing orders it among ratios."""
    if cell.ratio is None:
        return {"model": f"{cell.model} ({cell.named})", "ratio": Decimal(0)}
    return {"model": cell.model, "ratio": cell.ratio}
