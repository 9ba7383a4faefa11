"""Our own records under the checks that published figures have to pass."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from glu_prune.evidence.checks import examine
from glu_prune.evidence.figures import Floor, Run, Score
from glu_prune.evidence.finding import Finding
from glu_prune.judgement.cost_runs import BUSY, QUIET
from glu_prune.report.efficiency import evaluation_rows
from glu_prune.report.rows import Row, finding_row


def own_findings(cells: Sequence[Row], floors: Iterable[Row]) -> list[Row]:
    """What the checks find in the cells of a session, but for control arms, which are no claims, and parts of tasks.

    Whether the machine was busy is looked at in all cells, as what all of them cost is shown.
    """
    mine = [cell for cell in cells if not (cell["control"] or cell["part"])]
    found = examine(
        scores=[score for cell in mine for score in _scores(cell)],
        runs=[run for cell in mine if (run := _run(cell))],
        floors=[Floor(**floor) for floor in floors],
    )
    return [finding_row(finding) for finding in (*found, *_busy(evaluation_rows(cells)))]


def _busy(evaluations: Sequence[Row]) -> Iterator[Finding]:
    """Arms that answered while other processes worked."""
    for model in dict.fromkeys(row["model"] for row in evaluations):
        shares = {row["arm"]: row["others"] or 0.0 for row in evaluations if row["model"] == model}
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


def _scores(cell: Row) -> Iterator[Score]:
    for metric, (value, stderr, items) in cell["scores"].items():
        yield Score(
            model=cell["model"],
            ratio=Decimal(cell["ratio"]),
            task=cell["task"],
            metric=metric,
            value=value,
            stderr=stderr,
            items=int(items),
            source="this session",
        )


def _run(cell: Row) -> Run | None:
    """The evaluation of a cell as an efficiency run; None if no energy was metered."""
    cost = cell["cost"]
    if not cost["energy"]:
        return None
    figures = {f"energy_{channel}_joules": reading["joules"] for channel, reading in cost["energy"].items()}
    figures["window_seconds"] = cost["seconds"]
    if cell["new_tokens"]:
        figures |= {"new_tokens": float(cell["new_tokens"]), "measured_prompts": float(cell["prompts"])}
    return Run(cell["model"], Decimal(cell["ratio"]), 0, cell["task"], figures)
