"""The only importer of lm-eval's evaluator: (model, task) -> scores with the items behind them."""

import hashlib
import json
import logging
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import degenerate, local
from glu_prune.evaluation.lm import CountedLM
from glu_prune.evaluation.metrics import LIKELIHOODS, scale_of
from glu_prune.statistics.means import mean

TASKS = Path(__file__).parent / "tasks"
FEWSHOT_SEED = 1234
_SCORER_SEED = 1
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
    parts: tuple[tuple[float, ...], ...] = ()
    """For metrics that score several things in one item (IFEval's instructions): each of them, per item."""


@dataclass(frozen=True)
class TaskResult:
    """What one model scored on one task."""

    items: tuple[str, ...]
    """What identifies each item and its prompt, the same for every model."""
    documents: tuple[Mapping[str, Any], ...]
    outputs: tuple[str, ...]
    """What the model answered: text, or the log-likelihoods of the choices."""
    margins: tuple[float, ...]
    """Per item of a multiple-choice task: log-likelihood of the best right answer minus the best wrong one, in nats."""
    lengths: tuple[int, ...]
    """Per item of a generation task: tokens of the output."""
    flaws: tuple[tuple[str, ...], ...]
    """Per item of a generation task: what is wrong with the output; see `degenerate.flaws`."""
    metrics: Mapping[str, MetricScores]
    positions: int
    """Token positions that the model computed, padding included."""
    scored_positions: int
    """Those of them that belong to log-likelihoods: the same work for every model of one tokenizer."""


def _pair(name: str, value: Any) -> tuple[float, float]:
    """lm-eval's entry for one item as (value, weight)."""
    if name in LIKELIHOODS:
        loglikelihood, units = value if isinstance(value, tuple | list) else (value, 1.0)
        return -float(loglikelihood) / units / LIKELIHOODS[name], float(units)
    if isinstance(value, list):
        return sum(map(float, value)) / len(value), float(len(value))
    return float(value), 1.0


def _aggregate(name: str, values: Sequence[float], weights: Sequence[float]) -> float:
    found = mean(values, weights)
    return math.exp(found) if scale_of(name) == "nats" else found


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
    parts = tuple(tuple(map(float, entry)) for entry in entries) if isinstance(entries[0], list) else ()
    return MetricScores(float(reported), values, weights, parts)


@contextmanager
def _same_draws() -> Iterator[None]:
    """Lets every model meet the same scorer, and leaves the caller's random numbers alone.

    IFEval's letter counter takes letters only. For items 1122 and 1129, which ask for "#" and "!", it draws a letter
    from `random` whenever it scores; unseeded, the same reply passes on one day and fails on another. What is drawn
    moves scores by at most 2 of 541 prompts: the prompt in a loop scores 0.303 with this seed, 0.305 with others.
    Its language detector draws, too.
    """
    import langdetect

    state = random.getstate()
    random.seed(_SCORER_SEED)
    langdetect.DetectorFactory.seed = 0
    try:
        yield
    finally:
        random.setstate(state)


def _compile_templates_once() -> None:
    """Keeps lm-eval's compiled templates: compiling them for every document takes longer than the rest of its work."""
    from lm_eval.utils import env

    if not hasattr(env.from_string, "cache_info"):
        env.from_string = lru_cache(maxsize=1024)(env.from_string)


def _build_requests_once(task: Any) -> None:
    """Lets `task` keep its requests, which take longer to build than a fast model to answer, for every model.

    Answers are kept on the requests: without clearing them, the first model's would be scored again.
    """
    build = task.build_all_requests
    built_for: dict[str, Any] = {}

    def reuse(**settings: Any) -> None:
        if settings != built_for:
            build(**settings)
            built_for.update(settings)
        for request in task.instances:
            request.resps, request.filtered_resps = [], {}

    task.build_all_requests = reuse


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
            _compile_templates_once()
            embedded = (TASKS / f"{task}.yaml").is_file()
            try:
                loaded = local.load(task, num_fewshot) or (self._manager if embedded else self._full_manager).load(
                    [task]
                )
            except (KeyError, ValueError, OSError) as error:
                msg = f"lm-eval task {task!r} cannot be loaded: {str(error).splitlines()[0] if str(error) else error!r}"
                raise EvaluationError(msg) from error
            for each in loaded["tasks"].values():
                if num_fewshot is not None:
                    each.set_config("num_fewshot", num_fewshot)
                each.set_fewshot_seed(seed=FEWSHOT_SEED)
                _build_requests_once(each)
            self._tasks[key] = loaded
        return self._tasks[key]

    def tasks(self, task: str, num_fewshot: int | None = None) -> dict[str, Any]:
        """lm-eval's task objects behind `task`, by name: one, or those of a group.

        Raises:
            EvaluationError: the task cannot be loaded.
        """
        found: dict[str, Any] = self._load(task, num_fewshot)["tasks"]
        return found

    def evaluate(self, lm: CountedLM, task: str, num_fewshot: int | None = None) -> TaskResult:
        """What `lm` scores on `task`; where the task extracts answers in several ways, by the first of them.

        Raises:
            EvaluationError: the task cannot be loaded, or gave scores that are not finite.
        """
        import lm_eval

        loaded = self._load(task, num_fewshot)
        lm.reset_counters()
        with _same_draws():
            results: Any = lm_eval.evaluate(lm=lm, task_dict=loaded, bootstrap_iters=0)
        samples = [sample for leaf in sorted(results["samples"]) for sample in results["samples"][leaf]]
        if not samples:
            msg = f"{task}: no item was scored"
            raise EvaluationError(msg)
        answer_filter = samples[0]["filter"]
        samples = [sample for sample in samples if sample["filter"] == answer_filter]
        reported = {name: results["results"][task].get(f"{name},{answer_filter}") for name in samples[0]["metrics"]}
        names = [name for name, value in reported.items() if isinstance(value, float | int)]
        texts = tuple(text for sample in samples if (text := _text(sample)) is not None)
        lengths = tuple(lm.count_tokens(texts)) if texts else ()
        return TaskResult(
            items=_items(samples),
            documents=tuple(sample["doc"] for sample in samples),
            outputs=texts or tuple(_likelihoods(sample) for sample in samples),
            margins=() if texts else _margins(samples),
            lengths=lengths,
            flaws=tuple(map(partial(_flaws, lm), samples, texts, lengths)) if texts else (),
            metrics={name: _metric(task, name, reported[name], [s[name] for s in samples]) for name in names},
            positions=lm.positions,
            scored_positions=lm.scored_positions,
        )


def _text(sample: Mapping[str, Any]) -> str | None:
    """The text that a model generated, as it was before answers are extracted; None for likelihoods."""
    response = sample["resps"][0][0]
    return response if isinstance(response, str) else None


def _flaws(lm: CountedLM, sample: Mapping[str, Any], text: str, length: int) -> tuple[str, ...]:
    ((prompt, settings),) = sample["arguments"]
    return degenerate.flaws(prompt, text, length, settings.get("max_gen_toks", lm.max_gen_toks))


def _loglikelihoods(sample: Mapping[str, Any]) -> list[float]:
    return [response[0] if isinstance(response, list | tuple) else response for response in sample["filtered_resps"]]


def _likelihoods(sample: Mapping[str, Any]) -> str:
    return json.dumps(_loglikelihoods(sample))


def _margins(samples: list[dict[str, Any]]) -> tuple[float, ...]:
    """The margin of every item; empty where some item has none."""
    found = [margin for sample in samples if (margin := _margin(sample)) is not None]
    return tuple(found) if len(found) == len(samples) else ()


def _margin(sample: Mapping[str, Any]) -> float | None:
    """The best right answer's log-likelihood minus the best wrong one's; None where an item has no such pair."""
    found = _loglikelihoods(sample)
    labels = sample["doc"].get("labels") or sample["doc"].get("mc2_targets", {}).get("labels")
    if labels is None or len(labels) != len(found):
        if not isinstance(sample["target"], int):
            return None
        labels = [int(index == sample["target"]) for index in range(len(found))]
    right = [value for value, label in zip(found, labels, strict=True) if label]
    wrong = [value for value, label in zip(found, labels, strict=True) if not label]
    return max(right) - max(wrong) if right and wrong else None
