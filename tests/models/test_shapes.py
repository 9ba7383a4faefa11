import dataclasses

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.models.shapes import SHAPES, LlamaShape, known_shape, write_random_model
from glu_prune.models.source import load, load_model, load_tokenizer, locate
from glu_prune.pruning.disk_model import open_disk_model

SMALL = LlamaShape(hidden=64, width=160, layers=2, heads=4, kv_heads=2, head_dim=32, vocabulary=500, tied=True, positions=16384)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "parameters"), [("llama-3.2-1b", 1_235_814_400), ("llama-3.2-3b", 3_212_749_824), ("mini", 154_420_224)]
)
def test_known_shapes_have_the_published_number_of_parameters(name, parameters):
    with torch.device("meta"):
        model = LlamaForCausalLM(SHAPES[name].config)
    assert sum(each.numel() for each in model.parameters()) == parameters


def test_an_unknown_shape_is_refused():
    with pytest.raises(CheckpointError, match=r"'llama' is not known; allowed: llama-3\.2-1b, llama-3\.2-3b, mini$"):
        known_shape("llama")


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_shape_is_written_as_a_stock_checkpoint(tmp_path, tied, dtype):
    write_random_model(dataclasses.replace(SMALL, tied=tied), tmp_path / "out", dtype)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
    }
    model, ours = (
        AutoModelForCausalLM.from_pretrained(tmp_path / "out"),
        load_model(locate(str(tmp_path / "out")), "auto", "cpu"),
    )
    assert model.dtype == ours.dtype == getattr(torch, dtype)
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert open_disk_model(tmp_path / "out").width_map.blocks[0].width == 160
    matrices = [each.detach().float() for each in model.parameters() if each.ndim == 2]
    assert all(each.std().item() == pytest.approx(0.02, rel=0.1) for each in matrices)
    assert all(abs(each.mean().item()) < 0.002 for each in matrices)
    assert all(bool((each == 1).all()) for each in model.parameters() if each.ndim == 1)
    out = model.generate(torch.tensor([[1, 2, 3]]), min_new_tokens=5, max_new_tokens=5, do_sample=False)
    assert out.shape == (1, 8)


def test_whoever_may_read_the_configuration_may_read_the_weights(tmp_path):
    write_random_model(SMALL, tmp_path / "out")
    assert len({path.stat().st_mode for path in (tmp_path / "out").iterdir()}) == 1


def test_weights_follow_from_the_seed_and_nothing_else_does(tmp_path):
    before = torch.random.get_rng_state()
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        write_random_model(SMALL, tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c
    assert torch.equal(torch.random.get_rng_state(), before)


def test_nothing_is_overwritten_and_nothing_half_written(tmp_path, monkeypatch):
    with pytest.raises(CheckpointError, match="exists; choose another folder or remove it"):
        write_random_model(SMALL, tmp_path)
    with pytest.raises(CheckpointError, match="dtype 'int8' is not allowed; choose one of bfloat16, float16, float32"):
        write_random_model(SMALL, tmp_path / "out", "int8")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", full)
    with pytest.raises(CheckpointError, match="No space left on device"):
        write_random_model(SMALL, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("alone", [False, True])
def test_a_shape_with_another_models_tokenizer_can_be_asked(alone, tmp_path):
    whose = load_tokenizer(locate("tiny-base"))
    if alone:
        whose.save_pretrained(tmp_path / "words")
    wide = dataclasses.replace(SMALL, vocabulary=4096)
    write_random_model(wide, tmp_path / "out", "float32", tokenizer=str(tmp_path / "words") if alone else "tiny-base")
    model, tokenizer = load(locate(str(tmp_path / "out")), "float32", "cpu")
    assert tokenizer("Once upon a time").input_ids == whose("Once upon a time").input_ids
    ids = tokenizer("Once upon a time", return_tensors="pt").input_ids
    assert model(ids).logits.shape == (1, ids.shape[1], 4096)


def test_a_tokenizer_must_fit(tmp_path):
    with pytest.raises(
        CheckpointError, match="tiny-base: its tokenizer knows 2048 tokens; a model of this shape has 100"
    ):
        write_random_model(dataclasses.replace(SMALL, vocabulary=100), tmp_path / "out", tokenizer="tiny-base")
    with pytest.raises(ModelNotFoundError, match="'nobody' is not on this machine"):
        write_random_model(SMALL, tmp_path / "out", tokenizer="nobody")
    assert list(tmp_path.iterdir()) == []
