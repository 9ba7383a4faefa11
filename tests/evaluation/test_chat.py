"""Chat templates: prompts as lm-eval makes them, and null models that are given the same."""

import lm_eval
import pytest

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.chat import ChatTemplate
from glu_prune.evaluation.evaluate import TASKS, Evaluator
from glu_prune.evaluation.floors import null_results
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.evaluation.subset import Subset
from glu_prune.models.source import ModelSource, load, locate

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant> {% endif %}"
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The embedded model with a chat template."""
    folder = tmp_path_factory.mktemp("chat")
    model, tokenizer = load(locate("tiny-base"), "float32", "cpu")
    tokenizer.chat_template = TEMPLATE
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return ModelSource("chat", folder)


@pytest.fixture(scope="module")
def lm(source):
    return SharedPrefixLM(*load(source, "float32", "cpu"), batch_size=64)


@pytest.mark.parametrize(
    "task", ["tiny_recall_mc", pytest.param("tiny_arithmetic", marks=pytest.mark.slow("writes all answers twice"))]
)
def test_prompts_are_those_of_lm_eval(lm, task):
    ours = Evaluator().evaluate(lm, task, None, Subset(0, 12), chat=True)
    manager = lm_eval.tasks.TaskManager(include_path=str(TASKS), include_defaults=False)
    theirs = lm_eval.simple_evaluate(
        lm, tasks=[task], task_manager=manager, apply_chat_template=True, fewshot_as_multiturn=True,
        bootstrap_iters=0, random_seed=None, numpy_random_seed=None, torch_random_seed=None,
    )  # fmt: skip
    samples = {sample["doc_id"]: sample for sample in theirs["samples"][task]}
    asked = [sample["arguments"][0][0] for sample in samples.values()]
    assert all(prompt.startswith("<user> ") and prompt.endswith("<assistant> ") for prompt in asked)
    whole = Evaluator().evaluate(lm, task, chat=True)
    assert set(ours.items) < set(whole.items)
    assert {name: each.score for name, each in whole.metrics.items()} == {
        name: pytest.approx(theirs["results"][task][f"{name},{samples[0]['filter']}"]) for name in whole.metrics
    }


@pytest.mark.slow("answers a task twice")
def test_null_models_are_given_the_same_items(lm, source):
    evaluator = Evaluator()
    mine = evaluator.evaluate(lm, "tiny_recall_mc", chat=True)
    nulls = null_results(evaluator, "tiny_recall_mc", chat=ChatTemplate(source))
    assert all(each.items == mine.items for each in nulls.values())
    plain = evaluator.evaluate(lm, "tiny_recall_mc")
    assert plain.items != mine.items
    assert plain.metrics != mine.metrics


def test_a_model_without_a_template_is_one_line():
    with pytest.raises(EvaluationError, match=r"tiny-base has no chat template; ask without one"):
        ChatTemplate(locate("tiny-base"))
