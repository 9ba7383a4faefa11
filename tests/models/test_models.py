"""The embedded models as anyone loads them."""

import csv
import hashlib

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from glu_prune.models.source import MODELS, embedded_models
from tools.miniature.recipes import RECIPES

both = pytest.mark.parametrize("name", sorted(RECIPES))


def test_every_recipe_has_its_model():
    assert embedded_models() == tuple(sorted(RECIPES))


@both
def test_stock_loading_gives_a_llama_of_expansion_ratio_four(name, no_sockets):
    model = AutoModelForCausalLM.from_pretrained(MODELS / name)
    assert isinstance(model, LlamaForCausalLM)
    assert model.config.hidden_act == "silu"
    assert model.config.intermediate_size / model.config.hidden_size == 4.0
    assert model.config.dtype == torch.bfloat16
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert all(bool(parameter.isfinite().all()) for parameter in model.parameters())


@both
def test_weights_are_small_and_safe(name):
    files = {path.name for path in (MODELS / name).iterdir()}
    assert "model.safetensors" in files
    assert not any(file.endswith((".bin", ".pt", ".pkl")) for file in files)
    assert (MODELS / name / "model.safetensors").stat().st_size <= 10e6


@both
def test_any_text_can_be_encoded(name, no_sockets):
    tokenizer = AutoTokenizer.from_pretrained(MODELS / name)
    for text in ("Where was Ana born?", "naïve café", "漢字 😀", "\t\n  x", "12345", "\x00\x7f"):
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True) == text
    assert tokenizer("").input_ids == [tokenizer.bos_token_id]


@both
def test_digits_stand_alone(name):
    tokenizer = AutoTokenizer.from_pretrained(MODELS / name)
    assert [token for token in tokenizer.tokenize("What is 12 plus 345?") if token.isdigit()] == list("12345")


@both
def test_the_card_is_about_these_weights(name):
    folder = MODELS / name
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (folder / "README.md").read_text()


@both
def test_the_log_shows_the_recipe_to_its_end(name):
    with (MODELS / name / "training_log.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert int(rows[-1]["step"]) == RECIPES[name].steps
    assert int(rows[-1]["tokens"]) == RECIPES[name].tokens
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])


def test_base_saw_at_most_a_few_percent_of_instructions():
    assert RECIPES["tiny-base"].shares("instructions") < 0.03
    assert RECIPES["tiny-instruct"].shares("instructions") > 0.3
