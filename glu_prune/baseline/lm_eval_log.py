"""What lm-eval logs: a results JSON, and with --log_samples a JSONL file of each task's items beside it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glu_prune.baseline.log import named, read_bytes, written_by
from glu_prune.baseline.outcome import About, Fact, Outcome, known
from glu_prune.errors import BaselineError, EvaluationError
from glu_prune.experiment.cell import DENSE

_MEND = "run it again with --log_samples"


def from_results(path: Path, content: Mapping[str, Any]) -> Iterator[Outcome]:
    """Each task, and each group of tasks, that has samples, by each metric that they give item by item.

    Raises:
        BaselineError: the samples are not what lm-eval writes.
    """
    stamp = path.stem.rpartition("_")[2]
    model = str(content.get("model_name") or path.parent.name)
    files = {
        each.stem.removeprefix("samples_").removesuffix(f"_{stamp}"): each
        for each in sorted(path.parent.glob("samples_*.jsonl"))
        if each.stem.endswith(f"_{stamp}")
    }
    with written_by("lm-eval", f"{path}, or samples beside it,", _MEND):
        samples = {task: _lines(file) for task, file in files.items()}
        for task, reported in content["results"].items():
            leaves = list(_leaves(task, content.get("group_subtasks") or {}))
            if samples.keys() >= set(leaves):
                yield from _of_task(model, task, reported, leaves, samples, _shots(content, leaves))
    if not samples:
        msg = f"{path} holds no scores of items, as there are no samples beside it; {_MEND}"
        raise BaselineError(msg)


def _leaves(task: str, groups: Mapping[str, Any]) -> Iterator[str]:
    """The tasks of a group, or the task itself."""
    if not groups.get(task):
        yield task
        return
    for each in groups[task]:
        yield from _leaves(each, groups)


def _shots(content: Mapping[str, Any], leaves: Sequence[str]) -> dict[str, Fact]:
    """How many worked examples were shown, if that is said and the same in all tasks."""
    first, *others = {(content.get("n-shot") or {}).get(leaf) for leaf in leaves}
    return {"num_fewshot": first} if isinstance(first, int) and not others else {}


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = read_bytes(path).decode()
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise BaselineError(msg) from error
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _of_task(
    model: str,
    task: str,
    reported: Mapping[str, Any],
    leaves: Sequence[str],
    samples: Mapping[str, list[dict[str, Any]]],
    comparable: Mapping[str, Fact],
) -> Iterator[Outcome]:
    """By the first of the task's filters; a metric whose items do not make up its score is left out."""
    from glu_prune.evaluation.result import item_of, metric_of, samples_of
    from glu_prune.evaluation.shared_sources import shared_sources

    first = samples_of(task, leaves, samples)
    scores = {}
    for metric in first[0][1]["metrics"]:
        try:
            score = float(reported[f"{metric},{first[0][1]['filter']}"])
            scores[metric] = metric_of(task, metric, score, [sample[metric] for _, sample in first])
        except (KeyError, TypeError, ValueError, EvaluationError):  # a score of a whole corpus, not of items
            continue
    items = tuple(item_of(*each) for each in first)
    shared = shared_sources({task: [sample["doc"] for _, sample in first]})
    for capability in known(task, tuple(scores)):
        found = scores[capability.metric]
        field = capability.cluster
        labels = tuple(str(sample["doc"][field]) for _, sample in first) if field else tuple(shared.values()) or None
        about = About(
            model=model,
            arm=DENSE.label,
            capability=capability.name if capability.name != task else named(task, capability.metric),
            task=task,
            metric=capability.metric,
            higher_is_better=capability.higher_is_better,
            score=found.score,
            n=len(items),
            comparable=comparable,
        )
        yield Outcome(about, items, found.values, found.weights, labels)
