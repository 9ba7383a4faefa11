"""How far one model's predictions are from another's, token by token, on the items of a task.

KL(dense || pruned), the sum over the vocabulary of p_dense (log p_dense - log p_pruned), is taken at each token of an
item, given what stands before it there: both models predict the same tokens from the same texts. These are

- log-likelihoods (multiple choice, texts): the tokens of the continuations that are scored, of every choice;
- whole texts (rolling): all of their tokens, in the windows in which they are scored;
- generated answers: the tokens of the right answer after the prompt, where the task gives it as text (the first, where
  it gives several), else those of the prompt.

Of what is longer than the model's context, the end is taken.

Source: Dutta et al. (2024), Accuracy is Not All You Need, arXiv:2407.09141.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.chat import ChatTemplate
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.nulls import NullModel
from glu_prune.evaluation.prefixes import EncodedRequest
from glu_prune.evaluation.result import item_of
from glu_prune.evaluation.scorer import SHARED, SharedPrefixLM
from glu_prune.evaluation.subset import Subset

_ROWS = 256
"""Rows of the vocabulary of which log-probabilities are held at once."""


@dataclass(frozen=True)
class TaskDivergence:
    """The divergence of one model from another on each item of a task."""

    items: tuple[str, ...]
    """As in `TaskResult`."""
    documents: tuple[Mapping[str, Any], ...]
    sources: tuple[str, ...]
    divergences: tuple[float, ...]
    """In nats per token, the mean over the item's tokens."""
    tokens: tuple[int, ...]


@dataclass(frozen=True)
class _Item:
    identity: str
    document: Mapping[str, Any]
    source: str = ""
    pairs: tuple[tuple[str, str], ...] = ()
    """Contexts and continuations."""
    texts: tuple[str, ...] = ()
    """Whole texts."""


class _Silent(NullModel):
    """Answers nothing, so that lm-eval makes the requests of a task and nothing is computed."""

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """All alike."""
        return [(0.0, False)] * len(requests)

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """All alike."""
        return [0.0] * len(requests)

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Nothing."""
        return [""] * len(requests)


def task_divergence(
    evaluator: Evaluator,
    models: tuple[SharedPrefixLM, SharedPrefixLM],
    task: str,
    num_fewshot: int | None = None,
    subset: Subset | None = None,
    folder: Path | None = None,
    chat: ChatTemplate | None = None,
) -> TaskDivergence:
    """How far the second of `models`, which share a tokenizer, is from the first on `task`; see the module.

    The other arguments are as in `Evaluator.evaluate`, but `chat` is the template that prompts are put into.

    Raises:
        EvaluationError: the task cannot be loaded, or a divergence is not finite.
    """
    items = _items(evaluator, task, num_fewshot, subset, folder, chat)
    models[0].items = len(items)
    requests = list(_encoded(models[0], items))
    every = divergences(models, list(chain.from_iterable(requests)))
    bounds = np.cumsum([0, *map(len, requests)])
    found = [every[start:end].sum(0).tolist() for start, end in pairwise(bounds)]
    broken = next((index for index, (nats, _) in enumerate(found) if not math.isfinite(nats)), None)
    if broken is not None:
        msg = (
            f"{task}: the divergence of item {broken} is {found[broken][0]} nats; the weights or activations of a "
            "model are not finite, or it excludes what the dense one predicts"
        )
        raise EvaluationError(msg)
    return TaskDivergence(
        items=tuple(item.identity for item in items),
        documents=tuple(item.document for item in items),
        sources=tuple(filter(None, (item.source for item in items))),
        divergences=tuple(nats / tokens for nats, tokens in found),
        tokens=tuple(int(tokens) for _, tokens in found),
    )


@torch.no_grad()
def divergences(
    models: tuple[SharedPrefixLM, SharedPrefixLM], requests: Sequence[EncodedRequest]
) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """(requests, 2): the sum of KL(first || second) over the tokens of each continuation, in nats, and their number.

    The models share a tokenizer. Steps are those of the first model's scoring, or of the second's where that may share
    nothing, so that memory is bounded by the batch size; log-probabilities are taken in float32.
    """
    first, second = models
    planning = first if second.scoring == SHARED else second
    found = np.empty((len(requests), 2))
    done = 0
    for made in planning.plans(requests):
        values = np.empty(len(made.destinations))
        end = 0
        for step, one, other in zip(made.steps, first.logits(made), second.logits(made), strict=True):
            start, end = end, end + len(step.targets)
            values[made.destinations[start:end]] = _rows(one, other)[step.picks]
            first.answered(done + made.answered(end), len(requests), second.positions)
        lengths = np.diff([*made.starts, len(values)])
        found[done : done + len(lengths), 0] = np.add.reduceat(values, made.starts)
        found[done : done + len(lengths), 1] = lengths
        done += len(lengths)
    return found


def _rows(one: torch.Tensor, other: torch.Tensor) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """(rows,): KL(one || other) of logits (rows, vocabulary), in nats."""
    places = [slice(start, start + _ROWS) for start in range(0, len(one), _ROWS)]
    return torch.cat([_divergence(one[place], other[place]) for place in places]).double().cpu().numpy()


def _divergence(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    p, q = (torch.log_softmax(each, dim=-1, dtype=torch.float32) for each in (one, other))
    # What the first excludes adds nothing, whatever the second says of it; rounding may end a little below 0.
    terms = torch.where(p == -math.inf, 0.0, p.exp() * (p - q))
    return terms.sum(-1).clamp_min(0.0)


def _items(
    evaluator: Evaluator,
    task: str,
    num_fewshot: int | None,
    subset: Subset | None,
    folder: Path | None,
    chat: ChatTemplate | None,
) -> list[_Item]:
    """The items of a task with what is to be predicted, in the order in which they are scored."""
    silent = _Silent()
    silent.chat = chat
    samples = evaluator.samples(silent, task, num_fewshot, subset, folder, chat=chat is not None)
    leaves, sources = evaluator.tasks(task, num_fewshot, folder), evaluator.sources(task, num_fewshot, folder)
    return [
        replace(
            _item(leaves[leaf], leaf, sample, chat=chat is not None), source=sources.get((leaf, sample["doc_id"]), "")
        )
        for leaf, sample in samples
    ]


def _item(leaf: Any, name: str, sample: Mapping[str, Any], *, chat: bool) -> _Item:
    identity, document = item_of(name, sample), sample["doc"]
    if leaf.OUTPUT_TYPE == "loglikelihood_rolling":
        return _Item(identity, document, texts=tuple(text for (text,) in sample["arguments"]))
    if leaf.OUTPUT_TYPE != "generate_until":
        pairs = ((context, continuation) for context, continuation, *_ in sample["arguments"])
        return _Item(identity, document, pairs=tuple(pairs))
    prompt = sample["arguments"][0][0]
    target = _right_answer(sample["target"])
    if not target:
        return _Item(identity, document, pairs=(("", prompt),))
    # As lm-eval writes worked examples; after a chat template an answer begins by itself.
    delimiter = "" if chat else leaf.config.target_delimiter
    return _Item(identity, document, pairs=((prompt, delimiter + target),))


def _right_answer(target: object) -> str:
    """The first right answer, where the task gives one as text; else nothing."""
    if isinstance(target, list | tuple):
        target = next(iter(target), None)
    return target if isinstance(target, str) and target.strip() else ""


def _encoded(lm: SharedPrefixLM, items: Iterable[_Item]) -> Iterator[list[EncodedRequest]]:
    """The tokens of each item's contexts and continuations."""
    every = list(items)
    pairs = iter(list(lm.pairs([pair for item in every for pair in item.pairs])))
    for item in every:
        windows = chain.from_iterable(map(lm.windows, item.texts))
        yield [_end(each, lm.max_length) for each in chain(windows, (next(pairs) for _ in item.pairs))]


def _end(request: EncodedRequest, longest: int) -> EncodedRequest:
    """`request`; of a continuation of more than `longest` tokens the end, the others being context."""
    context, continuation = request
    surplus = max(0, len(continuation) - longest)
    return [*context, *continuation[:surplus]], continuation[surplus:]
