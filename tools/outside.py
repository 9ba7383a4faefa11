"""Dense scores of a pack, checked from outside: the same items answered through lm-eval's own `HFLM`.

    python -m tools.outside smollm2-135m-instruct --data FOLDER

ARC-Challenge and PIQA whole, and the items of HellaSwag that the pack has. lm-eval's stock tasks read the data from
files, as its guide to new tasks says; nothing of this project's scoring takes part. Written beside the pack, in
`outside.json`: how many items were answered by the same choice, and both scores.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval.tasks import TaskManager

from glu_prune.evaluation.answers import Answered
from glu_prune.evaluation.result import item_of
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE
from glu_prune.experiment.maintenance import records
from glu_prune.experiment.record import Record
from glu_prune.files import write_whole
from glu_prune.models.source import load, locate
from perf.sweep_items import BENCHMARKS, Benchmark
from perf.usual_loop import evaluate, write_tasks
from tools.replication import EVIDENCE, OUTSIDE

TASKS = ("arc_challenge", "piqa", "hellaswag")
BATCH_SIZE = 16


def agreement(record: Record, samples: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """How a record agrees with lm-eval's `samples`, by item; raises `LookupError` for an item that is not there."""
    answered = [samples[item] for item in record.items]
    choices = [Answered.of(sample) for sample in answered]
    same = [each is not None and each.answer == ours for each, ours in zip(choices, record.answers, strict=True)]
    scores = {
        name: {"pack": metric.score, "lm-eval": sum(float(each[name]) for each in answered) / len(answered)}
        for name, metric in record.metrics.items()
    }
    differ = {
        name: sum(float(sample[name]) != mark for sample, mark in zip(answered, metric.values, strict=True))
        for name, metric in record.metrics.items()
    }
    return {"items": len(answered), "equal choices": sum(same), "scores": scores, "items scored otherwise": differ}


def answers(model: Any, tokenizer: Any, benchmark: Benchmark, data: Path, part: str) -> dict[str, Mapping[str, Any]]:
    """lm-eval's samples of the items of `part` (`0-1000`, as a record says it; empty: all), by item."""
    (task,) = benchmark.tasks
    with tempfile.TemporaryDirectory() as folder:
        write_tasks(Path(folder) / "tasks", data, [benchmark])
        places = None
        if part:
            start, stop = map(int, part.split("-"))
            documents: list[Any] = [{}] * len((data / benchmark.scored).read_text(encoding="utf-8").splitlines())
            places = Subset(start, stop).documents({task: documents})
        manager = TaskManager(include_path=f"{folder}/tasks")
        found = evaluate(model, tokenizer, manager, benchmark, BATCH_SIZE, samples=places)
    return {item_of(task, sample): sample for sample in found["samples"][task]}


def main() -> int:
    """Answers, compares and keeps it, task by task."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--task", choices=TASKS, nargs="+", default=TASKS)
    options = parser.parse_args()
    out = EVIDENCE / options.model / OUTSIDE
    found = json.loads(out.read_text(encoding="utf-8")) if out.exists() else {}
    every = (each for each in records(out.parent, [Record]) if isinstance(each, Record))
    dense = {each.task: each for each in every if each.arm == DENSE.label}
    model, tokenizer = load(locate(options.model), "float32", "cpu")
    for benchmark in BENCHMARKS:
        if benchmark.name in options.task:
            record = dense[benchmark.name]
            samples = answers(model, tokenizer, benchmark, options.data, str(record.settings.get("part", "")))
            found[benchmark.name] = agreement(record, samples)
            write_whole(out, json.dumps(found, indent=1, sort_keys=True) + "\n")
            sys.stdout.write(f"{benchmark.name}: {found[benchmark.name]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
