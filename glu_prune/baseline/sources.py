"""Where outcomes are read from: a store, a baseline, or what lm-eval wrote, told apart by what they hold."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from glu_prune.baseline.file import load
from glu_prune.baseline.outcome import About, Fact, Outcome, known, outcome
from glu_prune.errors import BaselineError, EvaluationError, StoreError
from glu_prune.experiment.cell import DENSE
from glu_prune.experiment.record import Record
from glu_prune.experiment.store import Store

_ALLOWED = "name a store folder, a baseline's JSON file, or a results JSON of lm-eval with its samples beside it"


def outcomes(place: Path) -> list[Outcome]:
    """What is scored in `place`.

    Raises:
        BaselineError: it is none of the kinds that can be read, cannot be trusted, or holds no score.
    """
    if place.is_dir():
        found = list(_from_store(place))
    else:
        content = _json(place)
        found = list(_from_lm_eval(place, content) if "results" in content else load(place).outcomes)
    if not found:
        msg = f"{place} holds no scores; {_ALLOWED}"
        raise BaselineError(msg)
    return found


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}; {_ALLOWED}"
        raise BaselineError(msg) from error
    except (ValueError, RecursionError) as error:
        msg = f"{path} is no JSON: {str(error).splitlines()[0]}; {_ALLOWED}"
        raise BaselineError(msg) from error
    if not isinstance(content, dict) or not {"results", "outcomes"} & content.keys():
        msg = f"{path} has neither `outcomes`, as a baseline, nor `results`, as lm-eval's; {_ALLOWED}"
        raise BaselineError(msg)
    return content


def records(store: Store) -> Iterator[Record]:
    """All scores of models that `store` holds.

    Raises:
        StoreError: one of them cannot be trusted.
    """
    for path in sorted((store.folder / "cells").glob("*.json")):
        body = path.read_text(encoding="utf-8").partition("\n")[2]
        if '"arm":' in body and '"metrics":' in body and (record := store.get(path.stem, Record)) is not None:
            yield record


def _from_store(folder: Path) -> Iterator[Outcome]:
    """The newest outcome of each thing that was asked in one way."""
    try:
        found = sorted(records(Store(folder)), key=lambda record: record.created)
    except (StoreError, OSError, UnicodeDecodeError) as error:
        raise BaselineError(str(error)) from error
    newest = {
        (each.about.key, *sorted(each.about.comparable.items())): each
        for record in found
        if "threads" not in record.settings  # those answer a second time, for a noise band
        for each in (outcome(record, capability) for capability in known(record.task, tuple(record.metrics)))
    }
    yield from newest.values()


def _from_lm_eval(path: Path, content: Mapping[str, Any]) -> Iterator[Outcome]:
    """Each task that has samples, by each metric that they give item by item.

    Raises:
        BaselineError: there are no samples, or they are not what lm-eval writes.
    """
    stamp = path.stem.partition("_")[2]
    model = str(content.get("model_name") or path.parent.name)
    shots = content.get("n-shot") or {}
    for samples in sorted(path.parent.glob(f"samples_*_{stamp}.jsonl")):
        task = samples.stem.removeprefix("samples_").removesuffix(f"_{stamp}")
        reported = content["results"].get(task)
        if not isinstance(reported, dict):
            continue
        comparable: dict[str, Fact] = {"num_fewshot": shots[task]} if isinstance(shots.get(task), int) else {}
        try:
            yield from _of_task(model, task, reported, _lines(samples), comparable)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            msg = f"{samples} is not what lm-eval writes: {error!r}; run it again with --log_samples"
            raise BaselineError(msg) from error


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise BaselineError(msg) from error
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _of_task(
    model: str, task: str, reported: Mapping[str, Any], samples: list[dict[str, Any]], comparable: Mapping[str, Fact]
) -> Iterator[Outcome]:
    """By the first of the task's filters; a metric whose items do not make up its score is left out."""
    from glu_prune.evaluation.evaluate import item_of, metric_of

    first = [sample for sample in samples if sample["filter"] == samples[0]["filter"]]
    scores = {}
    for metric in samples[0]["metrics"]:
        try:
            score = float(reported[f"{metric},{samples[0]['filter']}"])
            scores[metric] = metric_of(task, metric, score, [sample[metric] for sample in first])
        except (KeyError, TypeError, ValueError, EvaluationError):  # a score of a whole corpus, not of items
            continue
    items = tuple(item_of(task, sample) for sample in first)
    for capability in known(task, tuple(scores)):
        found = scores[capability.metric]
        labels = tuple(str(sample["doc"][capability.cluster]) for sample in first) if capability.cluster else None
        about = About(
            model=model,
            arm=DENSE.label,
            capability=capability.name,
            task=task,
            metric=capability.metric,
            higher_is_better=capability.higher_is_better,
            score=found.score,
            n=len(items),
            comparable=comparable,
        )
        yield Outcome(about, items, found.values, found.weights, labels)
