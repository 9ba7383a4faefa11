"""GGUF files: what is read of them, against the models that were written, and what is said of broken ones."""

import hashlib
import shutil
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from gguf import GGUFValueType, RopeScalingType
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from glu_prune.cli import main
from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.models import gguf
from glu_prune.models.gguf import gguf_file, stock_folder
from glu_prune.models.source import ModelSource, identity, load, locate
from tests.helpers.examples import examples
from tests.helpers.gguf import KINDS, TEMPLATE, TOKENS, WIDTH, write

IDS = torch.arange(40).reshape(2, 20)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("models")
    monkeypatch.setenv("GLU_PRUNE_MODELS", str(folder))
    return folder


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.gguf"
    write(path)
    return path


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


def converted(cache):
    return sorted(path for path in cache.glob("converted/*") if path.is_dir())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma3"])
def test_weights_are_those_that_were_written_bit_for_bit(architecture, kind, tmp_path):
    written = write(tmp_path / "tiny.gguf", kind, architecture)
    source = locate(str(tmp_path / "tiny.gguf"))
    model, tokenizer = load(source, "float32", "cpu")
    assert type(model) is type(written)
    assert torch.equal(logits(model), logits(written))
    if architecture != "gemma3":  # whose tokenizers are of another kind
        assert tokenizer.convert_ids_to_tokens(tokenizer("a t").input_ids) == ["a", "Ġt"]
    assert source.dequantized("bfloat16") == f"{kind} -> bfloat16"
    assert {each.dtype for each in load(source, "bfloat16", "cpu")[0].parameters()} == {torch.bfloat16}


def test_a_file_is_known_by_its_content_and_converted_once(file, tmp_path, cache):
    shutil.copyfile(file, tmp_path / "copy.gguf")
    source, copy = locate(str(file)), ModelSource("other", tmp_path / "copy.gguf")
    assert source.fingerprint == hashlib.sha256(file.read_bytes()).hexdigest() == copy.fingerprint
    assert source.folder == copy.folder
    assert [folder / "checkpoint" for folder in converted(cache)] == [source.folder]
    write(tmp_path / "copy.gguf", "Q8_0")
    assert copy.folder != source.folder
    assert copy.dequantized("float32") == "Q8_0 -> float32"


def test_processes_that_convert_at_once_wait_for_each_other(file, cache):
    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(stock_folder, [file] * 4))) == 1
    assert len(converted(cache)) == 1


def test_a_conversion_that_was_killed_leaves_nothing_and_is_done_again(file, cache, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(gguf, "refuse_contradiction", stop)
        with pytest.raises(KeyboardInterrupt):
            stock_folder(file)
    assert converted(cache) == []
    assert (stock_folder(file) / "model.safetensors").is_file()


@pytest.mark.parametrize("name", ["origin.json", "checkpoint/config.json", "checkpoint/model.safetensors"])
def test_a_changed_checkpoint_is_told_and_written_again_once_it_is_removed(name, file):
    folder = stock_folder(file).parent
    (folder / name).write_bytes((folder / name).read_bytes()[:-1] + b" ")
    with pytest.raises(CheckpointError, match=r"was changed since .* remove it, and it is written again"):
        stock_folder(file)
    shutil.rmtree(folder)
    assert stock_folder(file).parent == folder


def test_a_folder_with_one_file_is_that_file(file, tmp_path):
    assert locate(str(tmp_path)).fingerprint == locate(str(file)).fingerprint
    assert identity(str(tmp_path)) == identity(str(file)) == str(file.resolve())
    shutil.copyfile(file, tmp_path / "other.gguf")
    with pytest.raises(ModelNotFoundError, match=r"holds 2 GGUF files, .* write the name of one, as .*other\.gguf"):
        locate(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    assert gguf_file(tmp_path) is None


@pytest.mark.parametrize("command", ["prune", "convert"])
def test_commands_write_a_stock_checkpoint(command, tmp_path, capsys):
    written = write(tmp_path / "tiny.gguf")
    ratio = ["--ratio", "0.25"] if command == "prune" else []
    assert main([command, str(tmp_path / "tiny.gguf"), *ratio, "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert ("dequantised: Q4_1 -> float32" in said.out) is (command == "prune")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert model.config.intermediate_size == (WIDTH * 3 // 4 if command == "prune" else WIDTH)
    assert torch.equal(logits(model), logits(written)) is (command == "convert")
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == TEMPLATE
    assert "quantization" not in (tmp_path / "out" / "config.json").read_text()


def test_a_plan_and_its_ties_need_no_stock_checkpoint(file, capsys):
    assert main(["plan", str(file), "--ratio", "0.5", "--criterion", "ppm"]) == 0
    assert f"{WIDTH} -> {WIDTH // 2}" in capsys.readouterr().out


def said_of(file: Path, capsys) -> str:
    """The one line that a command says of `file`, which leaves nothing behind."""
    assert main(["plan", str(file), "--ratio", "0.5"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    return said.err


def test_broken_files_are_one_line(file, cache, capsys):
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) - 100])
    assert "cannot be read as a GGUF file" in said_of(file, capsys)
    file.write_bytes(whole[:60])
    assert "cannot be read as a GGUF file" in said_of(file, capsys)
    file.write_bytes(b"GGML" + whole[4:])
    assert "is no GGUF file: it begins with b'GGML', not with b'GGUF'" in said_of(file, capsys)
    file.write_bytes(b"")
    assert "is no GGUF file: it begins with b''" in said_of(file, capsys)
    file.write_bytes(whole.replace(b"blk.1.ffn_up", b"blk.1.ffn_uq"))
    assert "contradicts itself: model.layers.1.mlp.up_proj.weight is missing" in said_of(file, capsys)
    layers = b"llama.block_count" + struct.pack("<I", GGUFValueType.UINT32)
    file.write_bytes(whole.replace(layers + struct.pack("<I", 2), layers + struct.pack("<I", 1 << 30)))
    assert "num_hidden_layers is 1073741824; at most 10,000 are allowed" in said_of(file, capsys)
    file.write_bytes(whole.replace(b"llama", b"lhama"))
    assert "GGUF model with architecture lhama is not supported yet" in said_of(file, capsys)
    assert converted(cache) == []


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda w: w.add_tensor("rope_freqs.weight", np.ones(4, np.float32)), "holds [0-9,]+ weights, and the Llama"),
        (lambda w: w.tensors[0].pop("blk.1.ffn_up.weight"), "holds [0-9,]+ weights, and the Llama"),
        (
            lambda w: w.add_rope_scaling_type(RopeScalingType.YARN),
            "scales positions .'yarn'., which transformers does not",
        ),
    ],
    ids=["a tensor more", "a tensor less", "scaled positions"],
)
def test_what_transformers_would_not_read_is_refused(edit, complaint, tmp_path):
    write(tmp_path / "tiny.gguf", edit=edit)
    with pytest.raises(CheckpointError, match=complaint):
        stock_folder(tmp_path / "tiny.gguf")


def test_gguf_is_an_extra(file, monkeypatch):
    monkeypatch.setattr(gguf, "find_spec", lambda _: None)
    with pytest.raises(CheckpointError, match=r"`pip install 'glu-prune\[gguf\]'`"):
        locate(str(file)).folder  # noqa: B018 - a property that converts
    assert locate(str(file)).fingerprint == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_cache_that_cannot_be_written_is_one_line(file, tmp_path, monkeypatch, capsys):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("GLU_PRUNE_MODELS", str(tmp_path / "taken"))
    assert "name another folder with GLU_PRUNE_MODELS" in said_of(file, capsys)


HEADER = 3_500
"""Bytes of a tiny file that are all header."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "tiny.gguf"
    write(path)
    return path.read_bytes()


@examples(60)
@given(st.lists(st.tuples(st.integers(4, HEADER), st.integers(1, 255)), min_size=1, max_size=3))
def test_flipped_bytes_of_a_header_give_an_error_of_ours_or_a_model(whole, tmp_path_factory, flips):
    folder = tmp_path_factory.mktemp("flipped")
    changed = bytearray(whole)
    for place, bits in flips:
        changed[place] ^= bits
    (folder / "tiny.gguf").write_bytes(changed)
    try:
        gguf.convert(folder / "tiny.gguf", folder / "out")
    except CheckpointError:
        assert [path.name for path in folder.iterdir()] == ["tiny.gguf"]
    else:
        model = AutoModelForCausalLM.from_pretrained(folder / "out")
        assert logits(model).shape == (2, 20, len(TOKENS))
