import math

import pytest
import torch

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.lm import CountingLM
from glu_prune.evaluation.metrics import aggregate
from glu_prune.evaluation.result import _pair, item_of, metric_of
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.evaluation.subset import Subset
from glu_prune.models.source import load, locate


@pytest.fixture(scope="module")
def evaluator():
    return Evaluator()


@pytest.fixture(scope="module")
def lm():
    return SharedPrefixLM(*load(locate("tiny-base"), "float32", "cpu"), batch_size=64)


@pytest.fixture(scope="module")
def recall(evaluator, lm):
    return evaluator.evaluate(lm, "tiny_recall_mc")


def test_items_come_with_their_scores(recall):
    assert len(recall.items) == len(set(recall.items)) == len(recall.outputs) == len(recall.documents) == 480
    scores = recall.metrics["acc"]
    assert scores.score == pytest.approx(sum(scores.values) / 480)
    assert set(scores.values) <= {0.0, 1.0}


def test_the_answer_is_the_choice_of_highest_likelihood(recall):
    import json

    for document, output, right in zip(recall.documents, recall.outputs, recall.metrics["acc"].values, strict=True):
        likelihoods = json.loads(output)
        assert (likelihoods.index(max(likelihoods)) == document["gold"]) == bool(right)


def test_the_same_model_scores_the_same_twice(evaluator, lm, recall):
    assert evaluator.evaluate(lm, "tiny_recall_mc") == recall


def test_another_model_does_not_inherit_answers(evaluator, recall):
    """lm-eval keeps responses on the requests of a task; they must be fresh for every model."""
    model, tokenizer = load(locate("tiny-base"), "float32", "cpu")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.02, generator=torch.Generator().manual_seed(0))
    other = evaluator.evaluate(CountingLM(model, tokenizer, 64), "tiny_recall_mc")
    assert other.items == recall.items
    assert other.metrics["acc"].score < recall.metrics["acc"].score
    assert other.outputs != recall.outputs


def test_weights_that_are_not_finite_are_an_error(evaluator):
    model, tokenizer = load(locate("tiny-base"), "float32", "cpu")
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(
        EvaluationError, match=r"tiny_stories: a log-likelihood is NaN; the model's weights or activations"
    ):
        evaluator.evaluate(CountingLM(model, tokenizer, 64), "tiny_stories", subset=Subset(0, 32))


def test_unknown_tasks_are_an_error(evaluator, lm):
    with pytest.raises(EvaluationError, match="no task 'tiny_nothing'"):
        evaluator.evaluate(lm, "tiny_nothing")


def test_perplexities_keep_their_units():
    assert _pair("bits_per_byte", (-8 * math.log(2), 4)) == (pytest.approx(2.0), 4.0)
    assert _pair("word_perplexity", (-6.0, 3)) == (2.0, 3.0)
    assert _pair("perplexity", -2.5) == (2.5, 1.0)
    assert aggregate("word_perplexity", [2.0], [3.0]) == pytest.approx(math.exp(2))
    assert aggregate("bits_per_byte", [2.0, 1.0], [1.0, 3.0]) == 1.25


def test_templates_are_compiled_once_and_still_filled_in(evaluator):
    from lm_eval.utils import apply_template, env

    evaluator.tasks("tiny_recall")
    compile_once = env.from_string
    Evaluator().tasks("tiny_recall")
    assert env.from_string is compile_once
    assert [apply_template("<{{a}}>", {"a": value}) for value in (1, 2)] == ["<1>", "<2>"]
    assert compile_once("<{{a}}>") is compile_once("<{{a}}>")


def test_lists_count_every_constraint():
    assert _pair("inst_level_strict_acc", [True, True, False]) == (pytest.approx(2 / 3), 3.0)


def test_scores_that_their_items_do_not_give_are_an_error():
    with pytest.raises(EvaluationError, match=r"acc is 0\.75 by lm-eval but 0\.5 from its items"):
        metric_of("task", "acc", 0.75, [1.0, 0.0])


def test_repeated_documents_stay_apart():
    sample = {"doc_hash": "a", "prompt_hash": "b", "doc_id": 0}
    assert len({item_of("one", sample), item_of("one", {**sample, "doc_id": 1}), item_of("two", sample)}) == 3


def test_of_several_ways_to_extract_an_answer_the_first_counts(tmp_path, monkeypatch, lm):
    """As in GSM8K: every item is reported once per filter, with different scores."""
    import shutil

    from glu_prune.evaluation import evaluate as module

    shutil.copy(module.TASKS / "functions.py", tmp_path)
    (tmp_path / "data").mkdir()
    lines = (module.TASKS / "data" / "arithmetic.jsonl").read_text().splitlines()[:20]
    (tmp_path / "data" / "arithmetic.jsonl").write_text("\n".join(lines))
    text = (module.TASKS / "tiny_arithmetic.yaml").read_text().replace("task: tiny_arithmetic", "task: two_filters")
    never = "filter_list:\n  - name: never\n    filter:\n      - {function: regex, regex_pattern: '(zzz)'}\n"
    (tmp_path / "two_filters.yaml").write_text(
        text.replace("filter_list:\n", never + "      - {function: take_first}\n")
    )
    monkeypatch.setattr(module, "TASKS", tmp_path)
    result = Evaluator().evaluate(lm, "two_filters")
    assert len(result.items) == 20
    assert result.metrics["exact_match"].score == 0.0


def test_stories_are_scored_after_the_first_token_alone(evaluator, lm):
    """Bits per byte are those of the text given the opening token, computed here by hand."""
    result = evaluator.evaluate(lm, "tiny_stories")
    for index in (0, 57, 399):
        text = result.documents[index]["text"]
        ids = torch.tensor([lm.tokenizer(text).input_ids])
        with torch.no_grad():
            logprobs = lm.model(ids[:, :-1]).logits.log_softmax(-1)
        bits = -logprobs.gather(-1, ids[:, 1:, None]).sum().item() / math.log(2)
        assert result.metrics["bits_per_byte"].values[index] == pytest.approx(bits / len(text.encode()), rel=1e-4)


def test_a_part_scores_its_items_as_the_whole_does(evaluator, lm, recall):
    """The same items, prompts and answers, and what follows from them; parts are disjoint, and all of them are all."""
    found = [
        evaluator.evaluate(lm, "tiny_recall_mc", subset=part)
        for part in (Subset(0, 64), Subset(64, 128), Subset(128, 999))
    ]
    assert [len(each.items) for each in found] == [64, 64, 352]
    place = {item: index for index, item in enumerate(recall.items)}
    assert sorted(place[item] for each in found for item in each.items) == list(range(480))
    for each in found:
        places = [place[item] for item in each.items]
        assert places == sorted(places)
        assert list(each.documents) == [recall.documents[index] for index in places]
        assert list(each.metrics["acc"].values) == [recall.metrics["acc"].values[index] for index in places]
        assert list(each.margins) == pytest.approx([recall.margins[index] for index in places], abs=1e-4)
    assert evaluator.evaluate(lm, "tiny_recall_mc").items == recall.items, "a part leaves nothing behind"


def test_a_part_without_items_is_an_error(evaluator, lm):
    with pytest.raises(EvaluationError, match="tiny_recall_mc: no item was scored"):
        evaluator.evaluate(lm, "tiny_recall_mc", subset=Subset(480, 960))
