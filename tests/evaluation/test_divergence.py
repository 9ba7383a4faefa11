"""How far one model's predictions are from another's, against a plain computation with transformers alone."""

from decimal import Decimal
from pathlib import Path

import pytest
import torch

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.divergence import divergences, task_divergence
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.evaluation.subset import Subset
from glu_prune.models.source import load, locate
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.surgery import apply

FEW = Subset(0, 4)
TINY = ("tiny_recall_mc", "tiny_stories", "tiny_arithmetic", "tiny_instructions")
ROLLING = """\
task: whole_texts
custom_dataset: !function whole.load
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: word_perplexity}, {metric: bits_per_byte}]
"""
WHOLE = """\
from datasets import Dataset

def load(**_):
    return {"test": Dataset.from_list([{"text": "Tom had a red ball. " * count} for count in (1, 2, 60)])}
"""
ALIASES = """\
task: aliases
custom_dataset: !function whole.load
test_split: test
output_type: generate_until
doc_to_text: "Say it:"
doc_to_target: "{{ [text, 'another'] }}"
target_delimiter: "\\n"
generation_kwargs: {until: ["."]}
metric_list: [{metric: exact_match}]
"""


@pytest.fixture(scope="module")
def models():
    """tiny-base, and with three in ten neurons fewer: each as an LM that shares the other's plans."""
    dense, tokenizer = load(locate("tiny-base"), "float32", "cpu")
    pruned, _ = load(locate("tiny-base"), "float32", "cpu")
    apply(pruned, rank(pruned, "ppm", 0).plan(Decimal("0.3")))
    lm = SharedPrefixLM(dense, tokenizer, 8)
    return lm, lm.sibling(pruned)


@pytest.fixture(scope="module")
def evaluator():
    return Evaluator()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    found = tmp_path_factory.mktemp("tasks")
    for name, text in (("whole.py", WHOLE), ("whole_texts.yaml", ROLLING), ("aliases.yaml", ALIASES)):
        (found / name).write_text(text)
    return found


def asked(task: str, document: dict) -> list[tuple[str, str]]:
    """What stands before, and what is to be predicted, as the tasks' files say."""
    if task == "tiny_recall_mc":
        return [(f"Question: {document['paraphrase']}\nAnswer:", f" {choice}") for choice in document["choices"]]
    if task == "tiny_arithmetic":
        return [(f"Question: {document['question']}\nAnswer:", f" {document['answer']}")]
    if task == "tiny_instructions":
        return [("", f"Request: {document['prompt']}\nReply:")]
    if task == "aliases":
        return [("Say it:", f"\n{document['text']}")]
    return [("", document["text"])]


def plainly(models, context: str, continuation: str, longest: int) -> tuple[float, int]:
    """(sum of divergences, tokens) of one continuation, in one pass of each model over all that fits."""
    tokenizer = models[0].tokenizer
    tokens = tokenizer(context + continuation)["input_ids"]
    predicted = len(tokens) - (len(tokenizer(context)["input_ids"]) if context else 1)
    tokens = torch.tensor([tokens[-longest - 1 :]])
    predicted = min(predicted, tokens.shape[1] - 1)
    with torch.no_grad():
        p, q = (lm.model(tokens).logits[0, :-1].double().log_softmax(-1) for lm in models)
    every = (p.exp() * (p - q)).sum(-1)
    return float(every[-predicted:].sum()), predicted


def expected(models, task: str, documents, longest: int = 10_000) -> tuple[list[float], list[int]]:
    values, tokens = [], []
    for document in documents:
        parts = [plainly(models, *pair, longest) for pair in asked(task, document)]
        tokens.append(sum(count for _, count in parts))
        values.append(sum(nats for nats, _ in parts) / tokens[-1])
    return values, tokens


@pytest.mark.parametrize("task", TINY)
def test_it_is_what_two_passes_give(models, evaluator, task):
    found = task_divergence(evaluator, models, task, subset=FEW)
    values, tokens = expected(models, task, found.documents)
    assert found.tokens == tuple(tokens)
    assert found.divergences == pytest.approx(values, rel=1e-3)
    assert min(values) > 1e-3


def test_answers_that_a_task_gives_as_several_texts_are_the_first_of_them(models, evaluator, folder):
    found = task_divergence(evaluator, models, "aliases", folder=folder, subset=Subset(0, 1))
    values, tokens = expected(models, "aliases", found.documents)
    assert (found.tokens, found.divergences) == (tuple(tokens), pytest.approx(values, rel=1e-3))


def test_whole_texts_are_predicted_in_the_windows_in_which_they_are_scored(models, evaluator, folder):
    """The longest is longer than the context."""
    found = task_divergence(evaluator, models, "whole_texts", folder=folder)
    for document, value, count in zip(found.documents, found.divergences, found.tokens, strict=True):
        windows = models[0].windows(document["text"])
        parts = [(token_ids(context), token_ids(continuation)) for context, continuation in windows]
        sums = [two_passes(models, *each) for each in parts]
        assert count == sum(len(continuation) for _, continuation in parts)
        assert value == pytest.approx(sum(sums) / count, rel=1e-3)
    assert len(models[0].windows(found.documents[-1]["text"])) > 1


def token_ids(tokens) -> list[int]:
    return [int(each) for each in tokens]


def two_passes(models, context: list[int], continuation: list[int]) -> float:
    tokens = torch.tensor([[*context, *continuation][-models[0].max_length - 1 :][:-1]])
    with torch.no_grad():
        p, q = (lm.model(tokens).logits[0].double().log_softmax(-1) for lm in models)
    return float((p.exp() * (p - q)).sum(-1)[-len(continuation) :].sum())


@pytest.mark.parametrize("task", ["tiny_stories", "tiny_instructions"])
def test_of_what_is_longer_than_the_context_the_end_is_taken(models, evaluator, task):
    dense, pruned = (SharedPrefixLM(lm.model, lm.tokenizer, 8) for lm in models)
    dense._max_length = pruned._max_length = 16
    found = task_divergence(evaluator, (dense, pruned), task, subset=FEW)
    assert set(found.tokens) == {16}
    assert found.divergences == pytest.approx(expected(models, task, found.documents, longest=16)[0], rel=1e-3)


@pytest.mark.parametrize("task", TINY)
def test_a_model_is_at_no_distance_from_itself(models, evaluator, task):
    dense, _ = models
    found = task_divergence(evaluator, (dense, dense), task, subset=FEW)
    assert set(found.divergences) == {0.0}
    copy, _ = load(locate("tiny-base"), "float32", "cpu")
    assert set(task_divergence(evaluator, (dense, dense.sibling(copy)), task, subset=FEW).divergences) == {0.0}


@pytest.mark.parametrize("task", TINY)
def test_the_items_are_those_that_are_scored(models, evaluator, task):
    scored = evaluator.evaluate(models[1], task, subset=FEW)
    found = task_divergence(evaluator, models, task, subset=FEW)
    assert found.items == scored.items


@pytest.mark.parametrize("task", ["tiny_recall_mc", "tiny_stories"])
def test_where_nothing_may_be_shared_it_is_the_same(models, evaluator, task):
    dense, pruned = (SharedPrefixLM(lm.model, lm.tokenizer, 8) for lm in models)
    dense.scoring = pruned.scoring = "plain: because"
    found = task_divergence(evaluator, (dense, pruned), task, subset=FEW)
    shared = task_divergence(evaluator, models, task, subset=FEW)
    assert found.tokens == shared.tokens
    assert found.divergences == pytest.approx(shared.divergences, rel=1e-3)


def test_batches_change_nothing(models, evaluator):
    larger = SharedPrefixLM(models[0].model, models[0].tokenizer, 64)
    one, other = (
        task_divergence(evaluator, (lm, lm.sibling(models[1].model)), "tiny_recall_mc", subset=FEW)
        for lm in (larger, models[0])
    )
    assert one.divergences == pytest.approx(other.divergences, rel=1e-3)


def test_requests_come_back_in_their_order(models):
    requests = [([1], [5, 6, 7]), ([1, 9], [5]), ([1], [5])]
    every = divergences(models, requests)
    alone = [divergences(models, [each])[0].tolist() for each in requests]
    assert every.tolist() == [pytest.approx(each, rel=1e-3) for each in alone]
    assert every[:, 1].tolist() == [3, 1, 1]


def test_weights_that_are_not_finite_are_an_error(models, evaluator):
    broken, _ = load(locate("tiny-base"), "float32", "cpu")
    with torch.no_grad():
        broken.model.norm.weight[0] = float("nan")
    dense = models[0]
    for pair in ((dense, dense.sibling(broken)), (dense.sibling(broken), dense)):
        with pytest.raises(EvaluationError, match=r"tiny_stories: the divergence of item 0 is nan nats"):
            task_divergence(evaluator, pair, "tiny_stories", subset=FEW)
