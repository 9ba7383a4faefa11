"""Which data type suits a model: speeds are given, what models say in each is computed."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from glu_prune.evaluation import half_precision
from glu_prune.evaluation.half_precision import choose, difference
from glu_prune.models.source import ModelSource, locate
from tests.helpers.models import llama

TINY = locate("tiny-base")


@pytest.fixture
def speeds(monkeypatch):
    """Sets how long products take."""

    def given(float32: float = 1.0, bfloat16: float = 4.0, float16: float = 4.0) -> None:
        found = {"float32": float32, "bfloat16": bfloat16, "float16": float16}
        monkeypatch.setattr(half_precision, "seconds_of_product", found.__getitem__)

    return given


@pytest.fixture(scope="module")
def offset(tmp_path_factory) -> ModelSource:
    """The embedded model with a large constant in its residual stream, beside which 16 bits lose what tokens differ in.

    In 32 bits they stay apart, as the norms make up for the constant.
    """
    folder = tmp_path_factory.mktemp("models") / "offset"
    shutil.copytree(TINY.folder, folder)
    weights = {name: each.float() for name, each in load_file(folder / "model.safetensors").items()}
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    weights["model.embed_tokens.weight"] += 100.0
    for name in weights:
        if "norm" in name:
            weights[name] *= 100.0
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    return ModelSource("offset", folder)


def test_where_16_bits_are_slow_no_model_is_loaded(speeds, monkeypatch):
    speeds()
    monkeypatch.setattr(half_precision, "load_model", lambda *_, **__: pytest.fail("loaded"))
    found = choose(TINY)
    assert found.dtype == "float32"
    assert found.why == "bfloat16 takes 4 times as long as float32; float16 takes 4 times as long as float32"


def test_a_little_faster_is_not_worth_its_rounding(speeds):
    speeds(bfloat16=0.9)
    assert choose(TINY).dtype == "float32"


def test_the_fastest_that_says_the_same_is_taken(speeds):
    speeds(bfloat16=0.5)
    found = choose(TINY)
    assert found.dtype == "bfloat16"
    assert found.why == "bfloat16 takes 0.5 times as long as float32, and says the same within 0.05 nats per token"
    speeds(bfloat16=0.5, float16=0.4)
    assert choose(TINY).dtype == "float16"


def test_a_model_that_says_something_else_in_16_bits_is_run_in_32(speeds, offset):
    speeds(bfloat16=0.1)
    found = choose(offset)
    assert found.dtype == "float32"
    assert found.why.startswith("bfloat16 changes ")
    assert difference(TINY, "bfloat16") == "" != difference(offset, "bfloat16")


def test_log_likelihoods_count_where_the_likeliest_tokens_stay(monkeypatch):
    monkeypatch.setattr(half_precision, "NATS_PER_TOKEN", 1e-4)
    assert difference(TINY, "bfloat16").startswith("changes log-likelihoods by 0.00")


def test_likeliest_tokens_count_where_log_likelihoods_stay(monkeypatch):
    monkeypatch.setattr(half_precision, "NATS_OF_CHOICE", 1e-3)
    assert difference(TINY, "bfloat16").startswith("changes the likeliest of ")


def test_what_is_no_number_is_another_answer(tmp_path):
    """In float16, 65504 is the largest."""
    model = llama(width=12)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight *= 1e6
        model.model.layers[0].mlp.up_proj.weight *= 1e6
    model.save_pretrained(tmp_path)
    found = difference(ModelSource("large", tmp_path), "float16")
    assert found.startswith("changes the likeliest") or "nan" in found, found


def test_a_model_without_a_tokenizer_is_given_drawn_tokens_and_only_as_many_as_it_holds(tmp_path):
    llama().save_pretrained(tmp_path)
    source = ModelSource("bare", tmp_path)
    first, second = (list(half_precision._prompts(source)) for _ in range(2))
    assert first == second
    assert {len(each) for each in first} == {
        json.loads((tmp_path / "config.json").read_text())["max_position_embeddings"]
    }
    assert difference(source, "bfloat16") == ""
