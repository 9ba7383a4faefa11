"""A folder whose configuration says something else than its weights, or says what cannot be: refused in one line, by whoever reads it."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from glu_prune.cli import main
from glu_prune.errors import CheckpointError, GluPruneError
from glu_prune.models.source import load_model, load_tokenizer, locate
from glu_prune.pruning.checkpoint import load
from glu_prune.pruning.surgery import prune
from tests.helpers.models import llama


@pytest.fixture
def folder(tmp_path) -> Path:
    llama(layers=5, tied=False).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def configure(folder: Path, **entries: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def weigh(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def refused(folder: Path, capsys, *says: str) -> None:
    """`plan`, `prune` and whoever loads the model say so, in one line, and write nothing."""
    out = folder.with_name("out")
    for command in (["plan", str(folder)], ["prune", str(folder), "--out", str(out)]):
        assert main([*command, "--ratio", "0.5"]) == 1
        said = capsys.readouterr()
        assert said.out == ""
        (line,) = [each for each in said.err.splitlines() if each.startswith("glu-prune: ")]
        assert all(each in line for each in says), line
    with pytest.raises(GluPruneError) as error:
        load(folder)
    assert all(each in str(error.value) for each in says), error.value
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"intermediate_size": 6}, ("mlp.down_proj.weight", "(8, 6)", "(8, 12)")),
        ({"intermediate_size": 24}, ("(8, 24)", "(8, 12)")),
        ({"num_hidden_layers": 3}, ("layers of config.json are 0 to 2", "the weights 0 to 4")),
        ({"num_hidden_layers": 7}, ("layers of config.json are 0 to 6", "the weights 0 to 4")),
        ({"hidden_size": 16, "head_dim": 4}, ("16)", "8)")),
        ({"vocab_size": 16}, ("lm_head.weight", "(16, 8)", "(32, 8)")),
        ({"mlp_bias": True}, ("mlp.down_proj.bias", "its weights do not")),
    ],
    ids=["narrow", "wide", "few layers", "many layers", "hidden", "vocabulary", "bias"],
)
def test_another_model_than_that_of_the_weights(folder, capsys, entries, says):
    configure(folder, **entries)
    refused(folder, capsys, "config.json", *says)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda tensors: tensors.pop("model.norm.weight"), "model.norm.weight"),
        (lambda tensors: tensors.pop("lm_head.weight"), "lm_head.weight"),
        (lambda tensors: tensors.update({"model.layers.1.mlp.gate_proj.bias": torch.ones(12)}), "gate_proj.bias"),
        (lambda tensors: tensors.update({"model.norm.weight": torch.ones(9)}), "(9,)"),
        (lambda tensors: tensors.update({"model.layers.0.mlp.up_proj.weight": torch.ones(12, 8).int()}), "up_proj"),
    ],
)
def test_weights_that_the_configuration_does_not_know_or_misses(folder, capsys, change, says):
    weigh(folder, change)
    refused(folder, capsys, says)


def test_a_plan_of_a_configuration_without_weights_is_made(folder, capsys):
    (folder / "model.safetensors").unlink()
    configure(folder, num_hidden_layers=3)
    assert main(["plan", str(folder), "--ratio", "0.5"]) == 0


@pytest.mark.parametrize("size", [0, -1, 10**15, 10**30, "12", None, [12], True, 0.5])
def test_widths_that_cannot_be(folder, capsys, size):
    configure(folder, intermediate_size=size)
    refused(folder, capsys)


@pytest.mark.parametrize(
    "widths",
    ["x", 3, [], {"model.layers.0.mlp": 10**15}, {"model.layers.0.mlp": 0}, {"model.layers.0.mlp": "3"}, {"model.layers.0.mlp": True}, {"nowhere": 3}, {"model.layers.0.mlp": 13}],
)  # fmt: skip
def test_widths_of_ours_that_cannot_be(folder, capsys, widths):
    configure(folder, glu_widths=widths)
    refused(folder, capsys, *(["glu_widths"] if widths else []))


def test_widths_of_ours_that_can_be_are_read(tmp_path):
    model = llama(layers=3)
    prune(model, 0.5, skip=[1])
    model.save_pretrained(tmp_path / "model")
    assert load(tmp_path / "model").config.glu_widths["model.layers.0.mlp"] == 6
    assert main(["plan", str(tmp_path / "model"), "--ratio", "0.5"]) == 0


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("kind", ["pipe", "loop", "folder"])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path, name, kind):
    folder = tmp_path / "model"
    shutil.copytree(locate("tiny-base").folder, folder)
    path = folder / name
    path.unlink()
    {"pipe": os.mkfifo, "loop": lambda path: path.symlink_to(path), "folder": Path.mkdir}[kind](path)
    for ask in (
        lambda: locate(str(folder)).fingerprint,
        lambda: load_model(locate(str(folder)), "float32", "cpu"),
        lambda: locate(str(folder)).format.weight_bytes(folder),
    )[: 3 if name != "tokenizer.json" else kind != "folder"]:
        with pytest.raises(GluPruneError):
            ask()
    if name == "tokenizer.json":
        with pytest.raises(CheckpointError, match="tokenizer"):
            load_tokenizer(locate(str(folder)))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": "1.0"}', '{"model": 3}', "\x00"])
def test_a_broken_tokenizer_is_one_line(tmp_path, text):
    folder = tmp_path / "model"
    shutil.copytree(locate("tiny-base").folder, folder)
    (folder / "tokenizer.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"tokenizer in .* cannot be loaded"):
        load_tokenizer(locate(str(folder)))


@pytest.mark.parametrize("metadata", ["x", 3, [1], None, {"total_size": "x"}])
def test_the_metadata_of_an_index_may_be_anything(tmp_path, capsys, metadata):
    folder = tmp_path / "model"
    llama(layers=5).save_pretrained(folder, max_shard_size="3KB")
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "metadata": metadata}))
    code = main(["prune", str(folder), "--ratio", "0.5", "--out", str(tmp_path / "out")])
    assert code == (0 if isinstance(metadata, dict) else 1)
    assert "Traceback" not in capsys.readouterr().err


def test_a_class_of_another_type_of_model_is_refused(folder, capsys):
    configure(folder, model_type="qwen2")
    refused(folder, capsys, "LlamaForCausalLM", "qwen2")


@pytest.mark.parametrize("change", ["unnamed", "twice", "both"])
def test_an_index_that_does_not_say_where_everything_is_is_refused(tmp_path, capsys, change):
    folder = tmp_path / "model"
    llama(layers=5).save_pretrained(folder, max_shard_size="3KB")
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    name = index["weight_map"]["model.norm.weight"]
    if change == "unnamed":
        del index["weight_map"]["model.norm.weight"]
    elif change == "twice":
        other = next(each for each in index["weight_map"].values() if each != name)
        tensors = {**load_file(folder / other), "model.norm.weight": torch.zeros(8)}
        save_file(tensors, folder / other, metadata={"format": "pt"})
    else:
        shutil.copy(folder / name, folder / "model.safetensors")
    path.write_text(json.dumps(index))
    refused(folder, capsys, "model.safetensors.index.json")
