"""Writes the floors of tasks as CSV: `python -m tools.floors TASK[:SHOTS]...`."""

import csv
import sys
from collections.abc import Iterable, Iterator

from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.floors import null_results
from glu_prune.statistics.means import spread


def rows(
    evaluator: Evaluator, task: str, num_fewshot: int | None = None
) -> Iterator[tuple[str, str, str, str, str, int]]:
    """(task, metric, null, score, sd, items) per metric and null model."""
    results = null_results(evaluator, task, num_fewshot)
    for metric in next(iter(results.values())).metrics:
        for null, result in results.items():
            scores = result.metrics[metric]
            yield (
                task,
                metric,
                null,
                f"{scores.score:.6g}",
                f"{spread(scores.values, scores.weights):.6g}",
                len(result.items),
            )


def main(arguments: Iterable[str]) -> None:
    """Writes the floors of tasks, given as `TASK` or `TASK:SHOTS`, to standard output."""
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(("task", "metric", "null", "score", "sd", "items"))
    for argument in arguments:
        task, _, shots = argument.partition(":")
        table.writerows(rows(Evaluator(), task, int(shots) if shots else None))
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
