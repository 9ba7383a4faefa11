"""Floors: what null models score on the same items as real models.

A score that content-free output reaches, too, shows nothing. Null models go through the same pipeline as real ones, so
scores can be compared item by item.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from glu_prune.evaluation.chat import ChatTemplate
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.null_names import UNIFORM, UNIGRAM
from glu_prune.evaluation.nulls import (
    Chooser,
    NullModel,
    Preference,
    ReplyRule,
    Unigram,
    Writer,
    choices_by_item,
    constant_preference,
    length_preference,
    repeat_text,
    rotate_choices,
)
from glu_prune.evaluation.result import MetricScores, TaskResult

_WRITERS: Mapping[str, ReplyRule] = {
    "constant word": lambda _prompt, _words: "the",
    "word loop": lambda _prompt, words: repeat_text("the ", words),
    "sentence loop": lambda _prompt, words: repeat_text("The man went to the store. ", words),
    "lowercase loop": lambda _prompt, words: repeat_text("the cat sat on the mat ", words),
    "empty": lambda _prompt, _words: "",
    "echo": lambda prompt, _words: prompt,
    "echo loop": repeat_text,
}
_MAJORITY = "majority answer"


def task_floors(task: str, num_fewshot: int | None = None) -> dict[str, dict[str, float]]:
    """Metric to null model to score, echoes included.

    Raises:
        EvaluationError: the task cannot be loaded.
    """
    floors: dict[str, dict[str, float]] = {}
    for null, result in null_results(Evaluator(), task, num_fewshot).items():
        for metric, scores in result.metrics.items():
            floors.setdefault(metric, {})[null] = scores.score
    return floors


def null_results(
    evaluator: Evaluator,
    task: str,
    num_fewshot: int | None = None,
    folder: Path | None = None,
    chat: ChatTemplate | None = None,
) -> dict[str, TaskResult]:
    """What each null model that fits the task scores on it, on the same items in the same order as any other model.

    With `chat`, prompts are those that a model with this template is given.

    Raises:
        EvaluationError: the task cannot be loaded, or there is no such template.
    """

    def run(lm: NullModel) -> TaskResult:
        lm.chat = chat
        return evaluator.evaluate(lm, task, num_fewshot, folder=folder, chat=chat is not None)

    tasks = evaluator.tasks(task, num_fewshot, folder)
    kind = next(iter(tasks.values())).OUTPUT_TYPE
    if kind == "generate_until":
        return {null: run(Writer(write)) for null, write in [*_WRITERS.items(), *_majority_answer(tasks)]}
    if kind == "multiple_choice":
        return _choosers(run, tasks)
    return {UNIGRAM: run(Unigram())}


def _majority_answer(tasks: Mapping[str, Any]) -> Iterator[tuple[str, ReplyRule]]:
    """The answer that is right most often, where answers are texts and some are right more than once."""
    targets = Counter(
        target
        for each in tasks.values()
        for doc in each.eval_docs
        if isinstance(target := each.doc_to_target(doc), str)
    )
    for answer, times in targets.most_common(1):
        if times > 1:
            yield _MAJORITY, partial(_say, answer)


def _say(answer: str, _prompt: str, _words: int) -> str:
    return answer


def _choosers(run: Callable[[NullModel], TaskResult], tasks: Mapping[str, Any]) -> dict[str, TaskResult]:
    first = run(Chooser(rotate_choices(0)))  # builds the requests, which the next line reads
    items = [choices for name in sorted(tasks) for choices in choices_by_item(tasks[name].instances)]
    counts = [len(choices) for choices in items]

    def expected(prefer: Callable[[int], Preference], known: Sequence[TaskResult] = ()) -> TaskResult:
        turns = range(len(known), max(counts))
        return _expected([*known, *(run(Chooser(prefer(turn))) for turn in turns)], counts)

    results = {UNIFORM: expected(rotate_choices, [first])}
    if any(len({len(context) + len(answer) for context, answer in choices}) > 1 for choices in items):
        results["longest answer"] = expected(partial(length_preference, -1))
        results["shortest answer"] = expected(partial(length_preference, 1))
    # The best of all constants is chosen with the right answers in view: an upper bound of what a constant can score.
    constants = [run(Chooser(constant_preference(answer))) for answer in _common_answers(items)]
    if constants:
        best = {name: max((each.metrics[name] for each in constants), key=_score) for name in constants[0].metrics}
        results["majority choice"] = replace(constants[0], metrics=best, outputs=("",) * len(items))
    return results


def _score(scores: MetricScores) -> float:
    return scores.score


def _common_answers(items: Sequence[Sequence[tuple[str, str]]]) -> list[str]:
    """The answers, if every item offers the same ones in the same context; else no answer is constant."""
    offered = {frozenset(answer for _, answer in choices) for choices in items}
    contexts_differ = any(len({context for context, _ in choices}) > 1 for choices in items)
    return sorted(offered.pop()) if len(offered) == 1 and not contexts_differ else []


def _expected(turns: Sequence[TaskResult], counts: Sequence[int]) -> TaskResult:
    """The expected scores of choosing at random: the mean over as many turns as each item has choices. No outputs."""

    # One random draw would put its luck into the floor; the mean over all rotations is exact and has no variance.
    def mean(metric: str) -> MetricScores:
        rows = zip(*(turn.metrics[metric].values for turn in turns), strict=True)
        values = tuple(math.fsum(row[:count]) / count for row, count in zip(rows, counts, strict=True))
        return MetricScores(math.fsum(values) / len(values), values, turns[0].metrics[metric].weights)

    first = turns[0]
    return replace(first, outputs=("",) * len(first.items), metrics={metric: mean(metric) for metric in first.metrics})
