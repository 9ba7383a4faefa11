"""The only importer of lm-eval's evaluator: (model, task) -> scores with the items behind them."""

import hashlib
import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.lm import CountingLM

TASKS = Path(__file__).parent / "tasks"
FEWSHOT_SEED = 1234
_PERPLEXITIES: Mapping[str, float] = {"word_perplexity": 1.0, "byte_perplexity": 1.0, "bits_per_byte": math.log(2)}
"""Metrics whose items are (log-likelihood, units) pairs, and how many nats make one of their unit."""
_AGREEMENT = 1e-6


@dataclass(frozen=True)
class MetricScores:
    """One metric on all items of a task."""

    score: float
    """As lm-eval aggregates it."""
    values: tuple[float, ...]
    """One per item. Perplexities hold nats (bits for bits_per_byte) per unit, so that means are meaningful."""
    weights: tuple[float, ...]
    """How much each item counts: 1, or its number of constraints, words or bytes."""


@dataclass(frozen=True)
class TaskResult:
    """What one model scored on one task."""

    items: tuple[str, ...]
    """What identifies each item and its prompt, the same for every model."""
    documents: tuple[Mapping[str, Any], ...]
    outputs: tuple[str, ...]
    """What the model answered: text, or the log-likelihoods of the choices."""
    metrics: Mapping[str, MetricScores]
    positions: int
    """Token positions that the model computed, padding included."""
    scored_positions: int
    """Those of them that belong to log-likelihoods: the same work for every model of one tokenizer."""


def _pair(name: str, value: Any) -> tuple[float, float]:
    """lm-eval's entry for one item as (value, weight)."""
    if name in _PERPLEXITIES:
        loglikelihood, units = value
        return -float(loglikelihood) / units / _PERPLEXITIES[name], float(units)
    if isinstance(value, list):
        return sum(map(float, value)) / len(value), float(len(value))
    return float(value), 1.0


def _aggregate(name: str, values: Iterable[float], weights: Iterable[float]) -> float:
    pairs = list(zip(values, weights, strict=True))
    mean = sum(value * weight for value, weight in pairs) / sum(weight for _, weight in pairs)
    return math.exp(mean) if name.endswith("perplexity") else mean


def _items(samples: list[dict[str, Any]]) -> tuple[str, ...]:
    """A short identity per sample: its document and prompt, numbered where both occur more than once."""
    seen: Counter[str] = Counter()
    found = []
    for sample in samples:
        prints = f"{sample['doc_hash']}|{sample['prompt_hash']}"
        seen[prints] += 1
        found.append(hashlib.sha256(f"{prints}|{seen[prints]}".encode()).hexdigest()[:16])
    return tuple(found)


def _metric(task: str, name: str, reported: float, entries: list[Any]) -> MetricScores:
    """The scores of one metric, checked: finite, and equal to lm-eval's own aggregate."""
    values, weights = zip(*(_pair(name, entry) for entry in entries), strict=True)
    broken = next((index for index, value in enumerate(values) if not math.isfinite(value)), None)
    if broken is not None:
        msg = f"{task}: {name} of item {broken} is {values[broken]}; the model's weights or activations are not finite"
        raise EvaluationError(msg)
    ours = _aggregate(name, values, weights)
    if not math.isclose(ours, reported, rel_tol=_AGREEMENT, abs_tol=_AGREEMENT):
        msg = f"{task}: {name} is {reported} by lm-eval but {ours} from its items; its items cannot be paired"
        raise EvaluationError(msg)
    return MetricScores(float(reported), values, weights)


class Evaluator:
    """Runs lm-eval tasks; loads each task once."""

    def __init__(self) -> None:
        """Makes no connection and loads nothing yet."""
        self._tasks: dict[tuple[str, int | None], dict[str, Any]] = {}

    @cached_property
    def _manager(self) -> Any:
        from lm_eval.tasks import TaskManager

        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        return TaskManager(include_path=str(TASKS), include_defaults=False)

    @cached_property
    def _full_manager(self) -> Any:
        from lm_eval.tasks import TaskManager

        return TaskManager(include_path=str(TASKS))

    def _load(self, task: str, num_fewshot: int | None) -> dict[str, Any]:
        """lm-eval's task dictionary for `task`, with settings that do not change afterwards."""
        key = (task, num_fewshot)
        if key not in self._tasks:
            manager = self._manager if (TASKS / f"{task}.yaml").is_file() else self._full_manager
            try:
                loaded = manager.load([task])
            except (KeyError, ValueError, OSError) as error:
                msg = f"lm-eval task {task!r} cannot be loaded: {str(error).splitlines()[0] if str(error) else error!r}"
                raise EvaluationError(msg) from error
            for each in loaded["tasks"].values():
                if num_fewshot is not None:
                    each.set_config("num_fewshot", num_fewshot)
                each.set_fewshot_seed(seed=FEWSHOT_SEED)
            self._tasks[key] = loaded
        return self._tasks[key]

    def evaluate(self, lm: CountingLM, task: str, num_fewshot: int | None = None) -> TaskResult:
        """What `lm` scores on `task`; where the task extracts answers in several ways, by the first of them.

        Raises:
            EvaluationError: the task cannot be loaded, or gave scores that are not finite.
        """
        import lm_eval

        loaded = self._load(task, num_fewshot)
        lm.reset_counters()
        results: Any = lm_eval.evaluate(lm=lm, task_dict=loaded, bootstrap_iters=0)
        samples = [sample for leaf in sorted(results["samples"]) for sample in results["samples"][leaf]]
        if not samples:
            msg = f"{task}: no item was scored"
            raise EvaluationError(msg)
        answer_filter = samples[0]["filter"]
        samples = [sample for sample in samples if sample["filter"] == answer_filter]
        reported = {name: results["results"][task].get(f"{name},{answer_filter}") for name in samples[0]["metrics"]}
        names = [name for name, value in reported.items() if isinstance(value, float | int)]
        return TaskResult(
            items=_items(samples),
            documents=tuple(sample["doc"] for sample in samples),
            outputs=tuple(_output(sample) for sample in samples),
            metrics={name: _metric(task, name, reported[name], [s[name] for s in samples]) for name in names},
            positions=lm.positions,
            scored_positions=lm.scored_positions,
        )


def _output(sample: Mapping[str, Any]) -> str:
    response = sample["filtered_resps"]
    if isinstance(response, list) and len(response) == 1 and isinstance(response[0], str):
        return response[0]
    return json.dumps([r[0] if isinstance(r, list | tuple) else r for r in response])
