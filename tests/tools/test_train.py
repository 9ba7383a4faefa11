"""Training works as its command says, on a recipe of a few steps."""

import csv
from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM

from tools.miniature.recipes import RECIPES, Architecture
from tools.miniature.train import IGNORE, _batches, _create, _load, learning_rate_factor, train

pytestmark = pytest.mark.slow("tests what made the committed models and tables, which does not change with the package")

STAGE = replace(RECIPES["tiny-base"].stages[0], steps=4, warmup_steps=2)
SHORT = replace(
    RECIPES["tiny-base"],
    stages=(STAGE, replace(STAGE, steps=6)),
    batch_rows=4,
    architecture=Architecture(hidden_size=32, intermediate_size=128, num_hidden_layers=1, num_attention_heads=2),
)


@pytest.fixture
def quick(monkeypatch):
    from tools.miniature import tokenizer

    monkeypatch.setattr(tokenizer, "SAMPLE_DOCUMENTS", 2000)


def test_a_recipe_becomes_a_model(tmp_path, quick, no_sockets):
    train(SHORT, None, tmp_path / "model", "cpu")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert model.dtype == torch.bfloat16
    assert (model.config.hidden_size, model.config.intermediate_size) == (32, 128)
    with (tmp_path / "model" / "training_log.csv").open() as stream:
        assert [row["step"] for row in csv.DictReader(stream)] == ["4", "10"]
    tuned = replace(RECIPES["tiny-instruct"], stages=(STAGE,), batch_rows=4)
    train(tuned, tmp_path / "model", tmp_path / "tuned", "cpu")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "tuned")
    assert not torch.equal(again.model.embed_tokens.weight, model.model.embed_tokens.weight)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "tuned"]


def test_nothing_is_overwritten(tmp_path):
    with pytest.raises(FileExistsError, match="choose another folder"):
        train(SHORT, None, tmp_path, "cpu")


def test_the_same_seed_gives_the_same_start_and_batches(tmp_path, quick):
    for name in ("one", "other"):
        _create(SHORT, tmp_path / name)
    (one, tokenizer), (other, _) = _load(tmp_path / "one", "cpu"), _load(tmp_path / "other", "cpu")
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    first, again = next(_batches(SHORT, 0, tokenizer)), next(_batches(SHORT, 0, tokenizer))
    assert torch.equal(first, again)
    assert not torch.equal(first, next(_batches(SHORT, 1, tokenizer)))
    assert first.shape == (4, 129)
    assert (first == IGNORE).float().mean() < 0.2


def test_the_learning_rate_rises_stays_and_falls():
    stage = replace(STAGE, steps=100, warmup_steps=10, decay_from=0.6)
    factors = [learning_rate_factor(stage, step) for step in range(100)]
    assert factors[0] == 0.1
    assert set(factors[10:60]) == {1.0}
    assert factors[60:] == sorted(factors[60:], reverse=True)
    assert 0 < factors[-1] < 0.05
    assert learning_rate_factor(replace(stage, decay_from=1.0), 99) == 1.0
