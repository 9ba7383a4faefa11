"""Scores are those of plain lm-eval: on every embedded task, and on every benchmark whose data are here."""

import json
import os
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from glu_prune.evaluation import local
from glu_prune.evaluation.capability import EMBEDDED
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.lm import CountingLM
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.zoo.source import load, load_tokenizer, locate

DATA = os.environ.get(local.VARIABLE)
EXACT = 1e-3
"""Nats by which the log-likelihood of an answer may differ; of a long text, by the seventh digit, as float32 does."""
ROWS = {"ifeval": 2, "mmlu": 1, "wikitext": 2, "gsm8k": 4}


@pytest.fixture(scope="module")
def evaluator() -> Evaluator:
    return Evaluator()


def compare(evaluator: Evaluator, model, tokenizer, task: str, num_fewshot: int | None = None) -> None:
    plain = CountingLM(model, tokenizer, 16)
    plain.logits_cache = False
    expected = evaluator.evaluate(plain, task, num_fewshot)
    lm = SharedPrefixLM(model, tokenizer, 64)
    found = evaluator.evaluate(lm, task, num_fewshot)
    assert set(found.ways.values()) <= {64, "shared prefixes", "batched"}
    assert found.items == expected.items
    if found.lengths:
        assert found.outputs == expected.outputs
    else:
        for one, other in zip(found.outputs, expected.outputs, strict=True):
            assert json.loads(one) == pytest.approx(json.loads(other), rel=1e-6, abs=EXACT)
    assert found.metrics.keys() == expected.metrics.keys()
    for name, metric in expected.metrics.items():
        assert found.metrics[name].score == pytest.approx(metric.score, rel=1e-5, abs=1e-6)
        assert found.metrics[name].values == pytest.approx(metric.values, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("task", sorted({each.task for each in EMBEDDED}))
def test_embedded_tasks(evaluator, task):
    compare(evaluator, *load(locate("tiny-base"), "float32", "cpu"), task)


@pytest.fixture(scope="module")
def some_rows(tmp_path_factory) -> Path:
    """The first rows of every file that a benchmark reads, in the folder's layout."""
    if not DATA:
        pytest.skip(f"{local.VARIABLE} names no folder of benchmark data")
    folder = tmp_path_factory.mktemp("data")
    for task, benchmark in local._BENCHMARKS.items():
        for number, pattern in enumerate(benchmark.splits.values()):
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
    tokenizer = load_tokenizer(locate("tiny-base"), 2048)
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


@pytest.mark.parametrize("task", local.TASKS)
def test_benchmarks_on_local_data(evaluator, some_rows, small_model, monkeypatch, task):
    monkeypatch.setenv(local.VARIABLE, str(some_rows))
    compare(evaluator, *small_model, task, {"mmlu": 5, "gsm8k": 5}.get(task))
