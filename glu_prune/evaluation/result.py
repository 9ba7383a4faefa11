"""What a model scored on a task, item by item, from lm-eval's samples."""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import degenerate
from glu_prune.evaluation.answers import Answered, constant_scores
from glu_prune.evaluation.lm import ANSWER_LIMIT, EvaluatedLM
from glu_prune.evaluation.metrics import LIKELIHOODS, aggregate
from glu_prune.evaluation.shared_sources import Place

_QUESTION = 2000
"""Characters of a prompt that are kept."""
_AGREEMENT = 1e-6
"""Relative difference up to which our aggregate of the items agrees with lm-eval's."""


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
    constant: tuple[float, ...] = ()
    """What each item would score were the commonest answer given to all; empty where there is no such answer."""


@dataclass(frozen=True)
class TaskResult:
    """What one model scored on one task."""

    items: tuple[str, ...]
    """An identity of each item and its prompt, the same for every model."""
    documents: tuple[Mapping[str, Any], ...]
    outputs: tuple[str, ...]
    """What the model answered: text, or the log-likelihoods of the choices."""
    margins: tuple[float, ...]
    """Per item of a multiple-choice task: log-likelihood of the best right answer minus the best wrong one, in nats."""
    lengths: tuple[int, ...]
    """Per item of a generation task: tokens of the output."""
    flaws: tuple[tuple[str, ...], ...]
    """Per item of a generation task: what is wrong with the output; see `degenerate.flaws`."""
    near_ties: tuple[bool, ...]
    """Per item of a generation task: whether rounding may have decided on a token, so that another machine or batch
    may write another text; empty where that is not known."""
    answers: tuple[str, ...]
    """Per item what was answered, see `answers`; empty where texts are only scored."""
    sources: tuple[str, ...]
    """Per item the name of its source, the same for those that share one; empty where no two do."""
    metrics: Mapping[str, MetricScores]
    questions: tuple[str, ...]
    """Per item the end of its prompt, in which the question is."""
    targets: tuple[str, ...]
    """Per item the right answer, as a text; empty where there is no single one."""
    positions: int | None
    """Token positions that the model computed, padding included; None if it does not count them. Of tasks scored
    together each has its share by requests."""
    scored_positions: int | None
    """Those of them that belong to log-likelihoods: the same work for every model of one tokenizer."""
    requests: int
    """How many the model was given: one per text to write or choice to score."""
    truncated: int | None = 0
    """Items of which a prompt lost its beginning, as it was too long for the model; None if that is not known."""
    scoring_facts: Mapping[str, str | int] = field(default_factory=dict)
    """How the answers were computed, see `EvaluatedLM`, and the seed by which worked examples are drawn."""


def _pair(name: str, value: Any) -> tuple[float, float]:
    """lm-eval's entry for one item as (value, weight)."""
    if name in LIKELIHOODS:
        loglikelihood, units = value if isinstance(value, tuple | list) else (value, 1.0)
        return -float(loglikelihood) / units / LIKELIHOODS[name], float(units)
    if isinstance(value, list):
        return sum(map(float, value)) / len(value), float(len(value))
    return float(value), 1.0


def _by_item(name: str, value: Any) -> bool:
    """Whether lm-eval's entry for one item is a score; of F1 or BLEU it is what the score of a whole corpus is from."""
    return name in LIKELIHOODS or not isinstance(value, tuple | str)


def item_of(task: str, sample: Mapping[str, Any]) -> str:
    """A short identity of a sample: its place in its task, its document and its prompt, whatever else is scored."""
    # The place, because benchmarks repeat documents; the hashes, because the same place holds another document after
    # an update of the data, and another prompt after a change of template or worked examples.
    prints = f"{sample['doc_hash']}|{sample['prompt_hash']}|{task}|{sample['doc_id']}"
    return hashlib.sha256(prints.encode()).hexdigest()[:16]


def metric_of(task: str, name: str, reported: float, entries: list[Any]) -> MetricScores:
    """The scores of one metric, checked: finite, and equal to lm-eval's own aggregate."""
    # Arms are compared by their items. Did these not add up to the score that lm-eval reports (corpus metrics such as
    # BLEU, weights that we do not know), a test of them would be a test of something else.
    values, weights = zip(*(_pair(name, entry) for entry in entries), strict=True)
    broken = next((index for index, value in enumerate(values) if not math.isfinite(value)), None)
    if broken is not None:
        msg = f"{task}: {name} of item {broken} is {values[broken]}; the model's weights or activations are not finite"
        raise EvaluationError(msg)
    ours = aggregate(name, values, weights)
    if not math.isclose(ours, reported, rel_tol=_AGREEMENT, abs_tol=_AGREEMENT):
        msg = f"{task}: {name} is {reported} by lm-eval but {ours} from its items; its items cannot be paired"
        raise EvaluationError(msg)
    parts = tuple(tuple(map(float, entry)) for entry in entries) if isinstance(entries[0], list) else ()
    return MetricScores(float(reported), values, weights, parts)


def samples_of(task: str, leaves: Iterable[str], samples: Mapping[str, list[Any]]) -> list[tuple[str, dict[str, Any]]]:
    """The samples of `task`, each with its leaf, as the first of its filters leaves them.

    Raises:
        EvaluationError: there are none.
    """
    scored = [(leaf, sample) for leaf in sorted(leaves) for sample in samples.get(leaf, ())]
    if not scored:
        msg = f"{task}: no item was scored"
        raise EvaluationError(msg)
    return [(leaf, sample) for leaf, sample in scored if sample["filter"] == scored[0][1]["filter"]]


def result_of(
    lm: EvaluatedLM,
    task: str,
    tasks: Mapping[str, Any],
    scored: Sequence[tuple[str, Mapping[str, Any]]],
    aggregates: Mapping[str, Any],
    counts: tuple[int | None, int | None, int],
    scoring_facts: Mapping[str, str | int],
    sources: Mapping[Place, str],
) -> TaskResult:
    """What `lm` scored on `task`: the samples that `samples_of` gives, with what lm-eval makes of them.

    `tasks` are lm-eval's, by name; `counts` are the result's positions, scored positions and requests,
    `sources` those that documents share.

    Raises:
        EvaluationError: a score is not finite, or items do not make up lm-eval's aggregate.
    """
    positions, scored_positions, requests = counts
    samples = [sample for _, sample in scored]
    texts = tuple(text for sample in samples if (text := _text(sample)) is not None)
    lengths = tuple(lm.count_tokens(texts)) if texts else ()
    answered = [] if lm.content_free else list(filter(None, map(Answered.of, samples)))
    answered = answered if len(answered) == len(samples) else []
    return TaskResult(
        items=tuple(item_of(*each) for each in scored),
        documents=tuple(sample["doc"] for sample in samples),
        outputs=texts or tuple(_likelihoods(task, sample) for sample in samples),
        margins=() if texts else _margins(samples),
        lengths=lengths,
        flaws=tuple(map(partial(_flaws, lm), samples, texts, lengths)) if texts else (),
        near_ties=_near_ties(lm, samples) if texts else (),
        answers=tuple(each.answer for each in answered),
        sources=tuple(sources[leaf, sample["doc_id"]] for leaf, sample in scored) if sources else (),
        metrics=_metrics(task, samples, aggregates, [*constant_scores(tasks, scored, answered)]),
        questions=tuple(str(sample["arguments"][0][0])[-_QUESTION:] for sample in samples),
        targets=tuple(map(_target, samples)),
        positions=positions,
        scored_positions=scored_positions,
        requests=requests,
        truncated=_truncated(lm, samples),
        scoring_facts=scoring_facts,
    )


def _metrics(
    task: str,
    samples: Sequence[Mapping[str, Any]],
    aggregates: Mapping[str, Any],
    constant: Sequence[Mapping[str, Any]],
) -> dict[str, MetricScores]:
    """All metrics that score items; `constant` is what each item would score, were one answer given to all."""
    reported = {name: aggregates.get(f"{name},{samples[0]['filter']}") for name in samples[0]["metrics"]}
    return {
        name: replace(
            metric_of(task, name, float(value), [sample[name] for sample in samples]),
            constant=tuple(_pair(name, each[name])[0] for each in constant),
        )
        for name, value in reported.items()
        if isinstance(value, float | int) and _by_item(name, samples[0][name])
    }


def _target(sample: Mapping[str, Any]) -> str:
    target, choices = sample["target"], sample["arguments"]
    if isinstance(target, int) and len(choices) > 1:
        return str(choices[target][1]).strip() if 0 <= target < len(choices) else ""
    return target if isinstance(target, str) else ""


def _truncated(lm: EvaluatedLM, samples: Iterable[Mapping[str, Any]]) -> int | None:
    if (truncated := lm.truncated) is None:
        return None
    requests = ([tuple(each for each in given if isinstance(each, str)) for given in s["arguments"]] for s in samples)
    return sum(any(texts in truncated for texts in each) for each in requests)


def _near_ties(lm: EvaluatedLM, samples: Iterable[Mapping[str, Any]]) -> tuple[bool, ...]:
    if (near_ties := lm.near_ties) is None:
        return ()
    return tuple(sample["arguments"][0][0] in near_ties for sample in samples)


def _text(sample: Mapping[str, Any]) -> str | None:
    """The text that a model generated, as it was before answers are extracted; None for likelihoods."""
    response = sample["resps"][0][0]
    return response if isinstance(response, str) else None


def _flaws(lm: EvaluatedLM, sample: Mapping[str, Any], text: str, length: int) -> tuple[str, ...]:
    ((prompt, settings),) = sample["arguments"]
    limit = settings.get("max_gen_toks", lm.max_gen_toks)
    return degenerate.flaws(prompt, text, length, min(limit, int(lm.scoring_facts.get(ANSWER_LIMIT, limit))))


def _loglikelihoods(sample: Mapping[str, Any]) -> list[float]:
    return [response[0] if isinstance(response, list | tuple) else response for response in sample["filtered_resps"]]


def _likelihoods(task: str, sample: Mapping[str, Any]) -> str:
    """The log-likelihoods of the choices, as JSON.

    Raises:
        EvaluationError: one is NaN, so that no choice is the likeliest.
    """
    found = _loglikelihoods(sample)
    if any(map(math.isnan, found)):
        msg = f"{task}: a log-likelihood is NaN; the model's weights or activations are not finite"
        raise EvaluationError(msg)
    return json.dumps(found)


def _margins(samples: Sequence[Mapping[str, Any]]) -> tuple[float, ...]:
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
