"""Scores are those of plain lm-eval: on every embedded task, and on every benchmark whose data are here."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import lm_eval
import pytest
import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from transformers import LlamaConfig, LlamaForCausalLM

from glu_prune.evaluation import local_data, result
from glu_prune.evaluation.capability import EMBEDDED, STUDY
from glu_prune.evaluation.evaluate import TASKS, Evaluator
from glu_prune.evaluation.lm import ANSWER_LIMIT
from glu_prune.evaluation.local_benchmarks import BENCHMARKS
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.models.source import load, load_tokenizer, locate

DATA = os.environ.get(local_data.VARIABLE)
EXACT = 1e-3
"""Nats by which the log-likelihood of an answer may differ; of a long text, by the seventh digit, as float32 does."""
SHOTS = {each.task: each.num_fewshot for each in STUDY}
ROWS = {"ifeval": 2, "mmlu": 1, "wikitext": 2, "gsm8k": 4}


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator()


def plain(
    model, tokenizer, task: str, num_fewshot: int | None, settings: dict | None
) -> tuple[list[tuple[str, Any]], dict[str, Any]]:
    """What lm-eval's `simple_evaluate` gives with its `HFLM`: samples, each with its task, and scores."""
    loaded = local_data.load(task, num_fewshot)
    tasks = list((loaded["groups"] or loaded["tasks"]).values()) if loaded else [task]
    results = lm_eval.simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=16),
        tasks=tasks,
        num_fewshot=num_fewshot,
        task_manager=TaskManager(include_path=str(TASKS), include_defaults=False),
        gen_kwargs=settings,
        bootstrap_iters=0,
    )
    return result.samples_of(task, results["samples"], results["samples"]), results["results"][task]


def likeliest(likelihoods: list[float]) -> int:
    return likelihoods.index(max(likelihoods))


def compare(
    evaluator: Evaluator, model, tokenizer, task: str, num_fewshot: int | None = None, settings: dict | None = None
) -> None:
    """`settings` are lm-eval's for generation, where they must not be the task's."""
    scored, scores = plain(model, tokenizer, task, num_fewshot, settings)
    found = evaluator.evaluate(SharedPrefixLM(model, tokenizer, 64), task, num_fewshot)
    assert {found.scoring_facts.get("scoring"), found.scoring_facts.get("generation")} <= {
        None,
        "shared prefixes",
        "batched",
    }
    assert found.scoring_facts.get(ANSWER_LIMIT) == (settings or {}).get("max_gen_toks")
    assert found.items == tuple(result.item_of(*each) for each in scored)
    for (_, sample), output in zip(scored, found.outputs, strict=True):
        if found.lengths:
            assert output == sample["resps"][0][0]
        else:
            ours, theirs = json.loads(output), result._loglikelihoods(sample)
            assert ours == pytest.approx(theirs, rel=1e-6, abs=EXACT)
            assert likeliest(ours) == likeliest(theirs)
    assert found.metrics
    for name, metric in found.metrics.items():
        theirs = result.metric_of(
            task, name, scores[f"{name},{scored[0][1]['filter']}"], [sample[name] for _, sample in scored]
        )
        assert metric.score == pytest.approx(theirs.score, rel=1e-5, abs=1e-6)
        assert metric.values == pytest.approx(theirs.values, rel=1e-4, abs=1e-5)


slow = pytest.mark.slow("answers a whole task twice, once as slowly as plain lm-eval does")


def fast_and_slow(tasks: Iterable[str], fast: set[str]) -> list[object]:
    """All tasks, of which one for each kind of request is in the fast tier."""
    return [task if task in fast else pytest.param(task, marks=slow) for task in tasks]


@slow
@pytest.mark.parametrize("task", sorted({each.task for each in EMBEDDED}))
def test_embedded_tasks(evaluator, task):
    compare(evaluator, *load(locate("tiny-base"), "float32", "cpu"), task)


@pytest.fixture(scope="module")
def some_rows(tmp_path_factory) -> Path:
    """The first rows of every file that a benchmark reads, in the folder's layout."""
    if not DATA:
        pytest.skip(f"{local_data.VARIABLE} names no folder of benchmark data")
    folder = tmp_path_factory.mktemp("data")
    for task, benchmark in BENCHMARKS.items():
        for number, pattern in enumerate(benchmark.within(Path(DATA)).splits.values()):
            for path in sorted(Path(DATA).glob(pattern)):
                rows = path.read_text(encoding="utf-8").split("\n")[: ROWS.get(task, 6) if number == 0 else 6]
                copy = folder / path.relative_to(DATA)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text("\n".join(rows).rstrip("\n") + "\n", encoding="utf-8")
    (folder / "nltk_data").symlink_to(Path(DATA) / "nltk_data")
    return folder


@pytest.fixture(scope="module")
def small_model():
    """A random Llama with room for every prompt and answer."""
    tokenizer = load_tokenizer(locate("tiny-base"))
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=6000, bos_token_id=0, eos_token_id=0, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.2)
    return model, tokenizer


@pytest.mark.parametrize(
    "task", fast_and_slow(local_data.TASKS, {"arc_challenge", "gsm8k", "lambada_openai", "wikitext"})
)
def test_benchmarks_on_local_data(evaluator, some_rows, small_model, monkeypatch, task):
    monkeypatch.setenv(local_data.VARIABLE, str(some_rows))
    compare(evaluator, *small_model, task, SHOTS.get(task, 0))


@pytest.mark.parametrize("task", fast_and_slow(local_data.TASKS, {"piqa"}))
def test_benchmarks_on_local_data_beyond_the_context(evaluator, some_rows, monkeypatch, task):
    """A real model with room for 512 tokens: prompts are cut as lm-eval cuts them, and long answers get half of it."""
    stories = load(locate(f"{DATA}/stories260K"), "float32", "cpu")
    monkeypatch.setenv(local_data.VARIABLE, str(some_rows))
    compare(evaluator, *stories, task, SHOTS.get(task, 0), {"max_gen_toks": 256} if task == "ifeval" else None)


def test_all_benchmarks_of_the_study_are_served_from_the_folder():
    assert len(SHOTS) == 13
    assert set(SHOTS) <= set(local_data.TASKS)
