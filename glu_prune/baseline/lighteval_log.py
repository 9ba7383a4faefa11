"""What lighteval logs: a results JSON, and with --save-details a Parquet file of each task's items in another folder.

Source: lighteval/logging/evaluation_tracker.py and info_loggers.py of lighteval 0.13.0.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glu_prune.baseline.log import HARNESS, Document, LoggedTask, facts, refuse_larger, written_by
from glu_prune.baseline.outcome import Outcome
from glu_prune.errors import BaselineError, EvaluationError
from glu_prune.files import regular

_MEND = "run it again with --save-details"
_MIB = 2**20
_MOST = 4096 * _MIB
"""Bytes of a task's documents and scores, once they are decompressed."""
_ROWS = 64
"""Rows that are decompressed at once."""


def is_lighteval(content: Mapping[str, Any]) -> bool:
    """Whether JSON is such a file of results."""
    return {"results", "config_general", "config_tasks"} <= content.keys()


def from_results(path: Path, content: Mapping[str, Any]) -> Iterator[Outcome]:
    """Each task by each metric that its items make up.

    Raises:
        BaselineError: it is none, or has no details.
    """
    with written_by("lighteval", f"{path}, or its details,", _MEND):
        for task, config in content["config_tasks"].items():
            rows = _rows(_details(path, task))
            yield from _of_task(content, task, config, sorted(rows, key=lambda row: _place(row["doc"])))


def _details(path: Path, task: str) -> Path:
    """The file of a task's items: below `details` as the results are below `results`, or beside them."""
    stamp = path.stem.removeprefix("results_")
    name = f"details_{task}_{stamp}.parquet"
    if name != Path(name).name:
        msg = f"{path}: {task!r} is no name of a task"
        raise BaselineError(msg)
    places = [path.parent / name, path.parent / stamp / name]
    parts = path.absolute().parent.parts
    for place, part in reversed(list(enumerate(parts))):
        if part == "results":
            places.append(Path(*parts[:place], "details", *parts[place + 1 :], stamp, name))
    if (found := next((each for each in places if each.exists()), None)) is None:
        msg = f"{path} has no details of {task}, of which {places[-1]} would be the file; {_MEND}"
        raise BaselineError(msg)
    return found


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    read = 0
    with pq.ParquetFile(regular(path)) as file:
        for batch in file.iter_batches(_ROWS, columns=["doc", "metric"]):
            read += batch.nbytes
            refuse_larger(path, read, _MOST)
            yield from batch.to_pylist()


def _place(doc: Mapping[str, Any]) -> tuple[int, str]:
    """Where an item is in its data set, by its id; items are logged in an order that is drawn."""
    return len(str(doc["id"])), str(doc["id"])


def _of_task(
    content: Mapping[str, Any], task: str, config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]
) -> Iterator[Outcome]:
    """By each metric; one whose items do not make up its score, as of those of a whole corpus, is left out."""
    from glu_prune.evaluation.result import metric_of

    asked = {"num_fewshot": config.get("num_fewshots"), "task_version": config.get("version")}
    logged = LoggedTask(
        str(content["config_general"]["model_name"]),
        task,
        [_document(row["doc"]) for row in rows],
        facts({**asked, "answer_limit": config.get("generation_size")}),
        _computed(content, task),
    )
    higher = dict(_directions(config["metrics"]))
    for metric, score in content["results"][task].items():
        try:
            found = metric_of(task, metric, float(score), [row["metric"][metric] for row in rows])
            better = higher[metric]
        except (KeyError, TypeError, ValueError, EvaluationError):
            continue
        values = dict(enumerate(found.values))
        yield logged.outcome(metric, found.score, values, found.weights, higher_is_better=better)


def _document(doc: Mapping[str, Any]) -> Document:
    """The question, its choices, and which of them are right."""
    return {name: doc[name] for name in ("query", "choices", "gold_index")}


def _directions(metrics: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, bool]]:
    """Of each metric whether a higher score is better; metrics that are computed together have several names."""
    for each in metrics:
        name, higher = each["metric_name"], each["higher_is_better"]
        for one in [name] if isinstance(name, str) else name:
            yield one, bool(higher[one] if isinstance(higher, dict) else higher)


def _computed(content: Mapping[str, Any], task: str) -> dict[str, Any]:
    """What may differ, and is named where it does; the prompts, of which only tokens are known, by their hash."""
    model = content["config_general"].get("model_config") or {}
    hashes = (content.get("summary_tasks") or {}).get(task, {}).get("hashes") or {}
    how = facts({name: model.get(name) for name in ("dtype", "device", "batch_size", "max_length")})
    generated = json.dumps(model.get("generation_parameters"), sort_keys=True)
    prompts = facts({"prompt tokens": hashes.get("hash_input_tokens")})
    return {**how, **prompts, "generation_parameters": generated, HARNESS: "lighteval"}
