"""llama2.c checkpoints, against formulas written out here and against a real model where the data is on the machine."""

import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from glu_prune.errors import CheckpointError
from glu_prune.models import llama2c
from glu_prune.models.formats import recognised
from glu_prune.models.formats import write_stock as convert
from glu_prune.models.llama2c import digest, read_model
from glu_prune.models.llama2c_tokenizer import read_tokenizer
from glu_prune.models.source import load, locate
from tests.helpers import ROOT
from tests.helpers.examples import examples
from tests.helpers.llama2c import (
    DIM,
    FIXED,
    HEAD,
    HEADS,
    HIDDEN,
    LAYERS,
    PIECES,
    SEQ,
    VOCAB,
    random_weights,
    write_checkpoint,
    write_model,
    write_tokenizer,
)

OPENING = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park."


def is_llama2c(folder: Path) -> bool:
    return recognised(folder) is llama2c


def rms_norm(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return weight * x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)


def rotate(vectors: np.ndarray) -> np.ndarray:
    """Each neighbouring pair of `vectors` (heads, head) of each position (seq, heads, head) turned by its angle."""
    turned = vectors.copy()
    for position in range(len(vectors)):
        for i in range(0, HEAD, 2):
            angle = position / 10000 ** (i / HEAD)
            first, second = vectors[position, :, i], vectors[position, :, i + 1]
            turned[position, :, i] = first * np.cos(angle) - second * np.sin(angle)
            turned[position, :, i + 1] = first * np.sin(angle) + second * np.cos(angle)
    return turned


def attend(w: dict[str, np.ndarray], layer: int, x: np.ndarray) -> np.ndarray:
    q = rotate((x @ w["wq"][layer].T).reshape(len(x), HEADS, HEAD))
    k = rotate((x @ w["wk"][layer].T).reshape(len(x), -1, HEAD))
    v = (x @ w["wv"][layer].T).reshape(len(x), -1, HEAD)
    out = np.zeros_like(q)
    for position in range(len(x)):
        for head in range(HEADS):
            shared = head // (HEADS // k.shape[1])
            scores = k[: position + 1, shared] @ q[position, head] / np.sqrt(HEAD)
            share = np.exp(scores - scores.max())
            out[position, head] = share / share.sum() @ v[: position + 1, shared]
    return out.reshape(len(x), DIM) @ w["wo"][layer].T


def forward(weights: dict[str, np.ndarray], tokens: list[int]) -> np.ndarray:
    """Logits (seq, vocab) by the formulas of llama2.c's `run.c`, in float64."""
    w = {name: each.astype(np.float64) for name, each in weights.items()}
    x = w["embedding"][tokens]
    for layer in range(LAYERS):
        x = x + attend(w, layer, rms_norm(x, w["rms_att"][layer]))
        normed = rms_norm(x, w["rms_ffn"][layer])
        gate = normed @ w["w1"][layer].T
        x = x + (gate / (1 + np.exp(-gate)) * (normed @ w["w3"][layer].T)) @ w["w2"][layer].T
    return rms_norm(x, w["rms_final"]) @ w.get("output", w["embedding"]).T


def read_entries(path: Path) -> list[tuple[str, float]]:
    data, at, entries = path.read_bytes(), 4, []
    while at < len(data):
        score, length = struct.unpack_from("<fi", data, at)
        entries.append((data[at + 8 : at + 8 + length].decode(), score))
        at += 8 + length
    return entries


def greedy(entries: list[tuple[str, float]], text: str) -> list[int]:
    """What `encode` of llama2.c's `run.c` does."""
    ids = {name: token for token, (name, _) in enumerate(entries)}
    tokens = []
    for character in " " + text if text else "":
        tokens += [ids[character]] if character in ids else [byte + 3 for byte in character.encode()]
    while True:
        best_score, best_at, best_id = -1e10, -1, -1
        for at in range(len(tokens) - 1):
            joined = ids.get(entries[tokens[at]][0] + entries[tokens[at + 1]][0], -1)
            if joined != -1 and entries[joined][1] > best_score:
                best_score, best_at, best_id = entries[joined][1], at, joined
        if best_at == -1:
            return [1, *tokens]
        tokens[best_at : best_at + 2] = [best_id]


def assert_encodes(tokenizer, entries, text):
    ids = tokenizer(text)["input_ids"]
    assert ids == greedy(entries, text)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.fixture
def checkpoint(tmp_path):
    write_checkpoint(tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture(scope="module")
def data():
    folder = Path(os.environ.get("GLU_PRUNE_DATA") or ROOT.parent / "shared" / "data")
    if not (folder / "stories260K").is_dir():
        pytest.skip(f"{folder} holds no stories260K: set GLU_PRUNE_DATA to a folder that does")
    return folder


def logits(model, tokens):
    with torch.inference_mode():
        return model(torch.tensor([tokens])).logits[0]


@pytest.mark.parametrize("rope", [True, False])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_logits_are_those_of_the_formulas(kv_heads, tied, rope, tmp_path, no_sockets):
    weights = write_checkpoint(tmp_path, kv_heads=kv_heads, tied=tied)
    write_model(tmp_path / "model.bin", weights, rope=rope)
    model = read_model(tmp_path)
    tokens = [1, *np.random.default_rng(0).integers(0, VOCAB, SEQ - 1).tolist()]
    expected = forward(weights, tokens)
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(logits(model, tokens).numpy(), expected, atol=2e-5)


@pytest.mark.parametrize("tied", [True, False])
def test_the_model_is_what_the_header_says(tied, tmp_path):
    write_checkpoint(tmp_path, kv_heads=2, tied=tied)
    model = read_model(tmp_path)
    config = model.config
    assert (config.hidden_size, config.intermediate_size, config.num_hidden_layers) == (DIM, HIDDEN, LAYERS)
    assert (config.num_attention_heads, config.num_key_value_heads) == (HEADS, 2)
    assert (config.vocab_size, config.max_position_embeddings) == (VOCAB, SEQ)
    assert (config.bos_token_id, config.eos_token_id, config.rms_norm_eps) == (1, 2, 1e-5)
    assert config.rope_parameters == {"rope_type": "default", "rope_theta": 10000.0}
    assert config.tie_word_embeddings is tied
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is tied
    assert model.dtype == torch.float32
    assert not model.training


@pytest.mark.parametrize("tied", [True, False])
def test_the_converted_folder_is_stock(tied, tmp_path, no_sockets):
    write_checkpoint(tmp_path / "tiny", tied=tied)
    convert(tmp_path / "tiny", tmp_path / "out")
    model, tokenizer = read_model(tmp_path / "tiny"), read_tokenizer(tmp_path / "tiny", VOCAB)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert again.dtype == torch.float32
    assert again.config.tie_word_embeddings is tied
    assert torch.equal(logits(again, [1, 2, 3, 269]), logits(model, [1, 2, 3, 269]))
    texts = ["", " ", "abab c é", "<s> <unk></s> <0x41>\n漢 ", "  aba "]
    reread = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert reread(texts)["input_ids"] == tokenizer(texts)["input_ids"]
    assert [reread.decode(ids, skip_special_tokens=True) for ids in reread(texts)["input_ids"]] == texts
    assert (reread.bos_token_id, reread.eos_token_id, reread.unk_token_id) == (1, 2, 0)


def test_nothing_is_overwritten_or_half_written(checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="tiny exists; choose another folder"):
        convert(checkpoint, checkpoint)
    (checkpoint / "tokenizer.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match="ends after 0 pieces"):
        convert(checkpoint, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "auto"])
def test_sources_load_it(dtype, checkpoint, no_sockets):
    source = locate(str(checkpoint))
    assert source.folder == checkpoint
    model, tokenizer = load(source, dtype, "cpu")
    assert model.dtype == getattr(torch, dtype, torch.float32)
    assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    assert tokenizer("ab")["input_ids"] == [1, len(FIXED) + PIECES.index(" ab")]
    expected = logits(read_model(checkpoint), [1, 5, 269])
    assert torch.allclose(logits(model, [1, 5, 269]).float(), expected, atol=0.1 if dtype == "bfloat16" else 0)


def test_the_fingerprint_is_of_the_two_files_whatever_their_names(checkpoint):
    before = locate(str(checkpoint)).fingerprint
    assert before == digest(checkpoint)
    (checkpoint / "notes.txt").write_text("a comment changes nothing")
    (checkpoint / "model.bin").rename(checkpoint / "stories.bin")
    (checkpoint / "tokenizer.bin").rename(checkpoint / "tok512.bin")
    assert digest(checkpoint) == before
    write_tokenizer(checkpoint / "tok512.bin", PIECES[::-1])
    other_tokenizer = digest(checkpoint)
    write_model(checkpoint / "stories.bin", random_weights(4, tied=True))
    assert len({before, other_tokenizer, digest(checkpoint)}) == 3


def test_other_folders_are_not_taken_for_it(checkpoint, tmp_path):
    assert is_llama2c(checkpoint)
    assert not is_llama2c(tmp_path)
    assert not is_llama2c(tmp_path / "absent")
    assert not is_llama2c(checkpoint / "model.bin")
    (checkpoint / "optimizer.bin").write_bytes(b"PK\3\4" * 100)
    assert is_llama2c(checkpoint), "another .bin that is no model does no harm"
    (checkpoint / "second.bin").write_bytes((checkpoint / "model.bin").read_bytes())
    assert not is_llama2c(checkpoint)
    (checkpoint / "second.bin").unlink()
    (checkpoint / "config.json").write_text("{}")
    assert not is_llama2c(checkpoint)
    (checkpoint / "config.json").unlink()
    (checkpoint / "tokenizer.bin").rename(tmp_path / "tokenizer.bin")
    assert not is_llama2c(checkpoint)


def header(*sizes):
    return lambda data: struct.pack("<7i", *sizes) + data[28:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", r"is 0 bytes long, but the header of a llama2\.c model is 28"),
        (
            lambda data: data[:-4],
            r"is \S+ bytes long, but by its Header\(dim=24, .*seq=16\) it must be \S+, or \S+ with",
        ),
        (lambda data: data + b"\0", r"bytes long, but by its Header"),
        (header(DIM, HIDDEN, LAYERS, HEADS, 3, VOCAB, SEQ), r"kv_heads=3, .* sizes above zero .* heads of kv_heads"),
        (header(DIM, HIDDEN, LAYERS, 24, 2, VOCAB, SEQ), r"heads=24, .* dim a multiple of 2 x heads"),
        (header(DIM, HIDDEN, -1, HEADS, 2, VOCAB, SEQ), r"layers=-1, .* above zero"),
        (header(DIM, HIDDEN, LAYERS, 0, 2, VOCAB, SEQ), r"heads=0, .* above zero"),
        (header(DIM, HIDDEN, LAYERS, HEADS, 2, 0, SEQ), r"vocab=0, .* above zero"),
        (header(DIM, HIDDEN, LAYERS, HEADS, 2, -VOCAB, SEQ), r"must be"),
        (header(DIM, HIDDEN, 2**31 - 1, HEADS, 2, VOCAB, SEQ), r"layers=2147483647, .* must be"),
        (lambda data: b"24ka\1\0\0\0" + data, r"export it as version 0"),
    ],
)
def test_a_model_file_that_is_wrong_is_named(change, message, checkpoint):
    path = checkpoint / "model.bin"
    path.write_bytes(change(path.read_bytes()))
    assert not is_llama2c(checkpoint)
    with pytest.raises(CheckpointError, match=message) as caught:
        read_model(checkpoint)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: b"", f"ends after 0 pieces, but the model's vocabulary is {VOCAB}"),
        (lambda data: data[:-1], f"ends after {VOCAB - 1} pieces, but the model's vocabulary is {VOCAB}"),
        (lambda data: data[:2000], r"ends after 1\d\d pieces"),
        (lambda data: data + b"\0\0", f"has 2 bytes after its first {VOCAB} pieces, but the model's vocabulary is"),
        (lambda data: struct.pack("<i", 5) + data[4:], r"has 6 bytes in piece 2|has 5 bytes in piece 1"),
        (lambda data: data[:8] + struct.pack("<i", -1) + data[12:], "has -1 bytes in piece 0, but must have 1 to"),
        (lambda data: data.replace(b"<0x41>", b"<0x42>"), "has '<0x42>' as piece 68, but must have '<0x41>'"),
        (lambda data: data.replace(b"<unk>", b"\n\n\n\n\n"), "has '' as piece 0, but must have '<unk>'"),
        (lambda data: data.replace(b" ab", b" a\xff"), rf"has a piece {VOCAB - 9} b' a\\xff', which is not UTF-8"),
        (lambda data: data.replace(b" ab", b"aba"), rf"has piece {VOCAB - 7} 'aba' twice or with no finite score"),
        (lambda data: data[:-10] + struct.pack("<f", np.nan) + data[-6:], r"'é' twice or with no finite score \(nan\)"),
        (
            lambda data: data.replace(struct.pack("<f", -3), struct.pack("<f", -2)),
            "gives ' ab' and 'ba' the same score",
        ),
    ],
)
def test_a_tokenizer_file_that_is_wrong_is_named(change, message, checkpoint):
    path = checkpoint / "tokenizer.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CheckpointError, match=message) as caught:
        read_tokenizer(checkpoint, VOCAB)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("size", "found"), [(VOCAB + 1, "ends after"), (VOCAB - 1, "bytes after its first")])
def test_a_vocabulary_that_does_not_fit_is_refused(size, found, checkpoint):
    with pytest.raises(
        CheckpointError, match=rf"{found} \d+ pieces, but the model's vocabulary is {size}; .* of this model"
    ):
        read_tokenizer(checkpoint, size)


def test_a_vocabulary_without_bytes_is_refused(checkpoint):
    path = checkpoint / "tokenizer.bin"
    path.write_bytes(path.read_bytes()[: 4 + sum(8 + len(name) for name in FIXED[:100])])
    with pytest.raises(CheckpointError, match="has nothing as piece 100, but must have '<0x61>'"):
        read_tokenizer(checkpoint, 100)


def test_which_files_are_meant_must_be_clear(checkpoint):
    (checkpoint / "tok512.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"holds 2 tokenizers tok\*\.bin \(tok512\.bin, tokenizer\.bin\)"):
        read_tokenizer(checkpoint, VOCAB)
    (checkpoint / "second.bin").write_bytes((checkpoint / "model.bin").read_bytes())
    with pytest.raises(CheckpointError, match=r"holds 2 whole llama2\.c models .*: model\.bin, second\.bin\)"):
        read_model(checkpoint)
    (checkpoint / "second.bin").unlink()
    (checkpoint / "model.bin").unlink()
    with pytest.raises(CheckpointError, match=r"holds 0 whole llama2\.c models .*: none\)"):
        read_model(checkpoint)


def test_a_file_that_cannot_be_opened_is_named(checkpoint):
    for name, read in (("model.bin", read_model), ("tokenizer.bin", lambda folder: read_tokenizer(folder, VOCAB))):
        (checkpoint / name).unlink()
        (checkpoint / name).mkdir()
        with pytest.raises(CheckpointError, match=rf"{name} cannot be read: Is a directory"):
            read(checkpoint)
        assert not is_llama2c(checkpoint)


@examples(300)
@given(
    pieces=st.lists(st.text("aab c", min_size=1, max_size=6), max_size=14, unique=True),
    texts=st.lists(st.one_of(st.text("aab c", max_size=24), st.text("ab é漢\0<s>\n", max_size=12)), max_size=8),
    shuffle=st.randoms(use_true_random=False),
)
def test_any_vocabulary_encodes_as_llama2c_does(pieces, texts, shuffle, tmp_path_factory):
    pieces = sorted({*pieces, " ", "a"})
    scores = [-float(number) for number in range(len(pieces))]
    shuffle.shuffle(scores)
    folder = tmp_path_factory.getbasetemp()
    write_tokenizer(folder / "tok.bin", pieces, scores)
    tokenizer = read_tokenizer(folder, len(FIXED) + len(pieces))
    entries = read_entries(folder / "tok.bin")
    for text in texts:
        assert_encodes(tokenizer, entries, text)


def test_the_real_model_tells_its_story(data, no_sockets):
    model, tokenizer = load(locate(str(data / "stories260K")), "float32", "cpu")
    assert sum(each.numel() for each in model.parameters()) == 260_032
    start = tokenizer("", return_tensors="pt")
    assert start["input_ids"].tolist() == [[1]]
    told = model.generate(**start, max_new_tokens=60, do_sample=False)
    text = tokenizer.decode(told[0], skip_special_tokens=True)
    assert text.startswith(OPENING)


def test_real_and_random_text_is_encoded_as_llama2c_does(data):
    tokenizer = read_tokenizer(data / "stories260K", 512)
    entries = read_entries(data / "stories260K" / "tok512.bin")
    lines = (data / "tinystories" / "tinystories_val.txt").read_text().split("\n")
    assert len(lines) > 800
    for line in lines[:800]:
        assert_encodes(tokenizer, entries, line)
    rng = random.Random("llama2c")
    names = [name for name, _ in entries[3:]]
    for _ in range(400):
        text = "".join(rng.choice(names) if rng.random() < 0.9 else chr(rng.randrange(0xD800)) for _ in range(30))
        assert_encodes(tokenizer, entries, text)
