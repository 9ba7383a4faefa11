"""Small llama2.c checkpoints of random weights."""

import struct
from pathlib import Path

import numpy as np

DIM, HIDDEN, LAYERS, HEADS, SEQ = 24, 20, 2, 4, 16
HEAD = DIM // HEADS


FIXED = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256))]


PIECES = [" a", "ab", " ab", "ba", "aba", "c é", " ", "a", "b", "c", "é"]


VOCAB = len(FIXED) + len(PIECES)


def random_weights(kv_heads: int, tied: bool) -> dict[str, np.ndarray]:
    """Weights of a small model under llama2.c's names, in the order of its files."""
    rng = np.random.default_rng(kv_heads)
    shapes = {
        "embedding": (VOCAB, DIM),
        "rms_att": (LAYERS, DIM),
        "wq": (LAYERS, DIM, DIM),
        "wk": (LAYERS, kv_heads * HEAD, DIM),
        "wv": (LAYERS, kv_heads * HEAD, DIM),
        "wo": (LAYERS, DIM, DIM),
        "rms_ffn": (LAYERS, DIM),
        "w1": (LAYERS, HIDDEN, DIM),
        "w2": (LAYERS, DIM, HIDDEN),
        "w3": (LAYERS, HIDDEN, DIM),
        "rms_final": (DIM,),
        "rope": (2, SEQ, HEAD // 2),
    }
    if not tied:
        shapes["output"] = (VOCAB, DIM)
    return {name: rng.normal(0, 0.4, shape).astype("<f4") for name, shape in shapes.items()}


def write_model(path: Path, weights: dict[str, np.ndarray], *, rope: bool = True) -> None:
    kv_heads = weights["wk"].shape[1] // HEAD
    vocab = -VOCAB if "output" in weights else VOCAB
    header = struct.pack("<7i", DIM, HIDDEN, LAYERS, HEADS, kv_heads, vocab, SEQ)
    path.write_bytes(header + b"".join(each.tobytes() for name, each in weights.items() if rope or name != "rope"))


def write_tokenizer(path: Path, pieces: list[str], scores: list[float] | None = None) -> None:
    entries = [(name, 0.0) for name in FIXED]
    entries += zip(pieces, scores or [-float(number) for number in range(len(pieces))], strict=True)
    encoded = [(score, name.encode()) for name, score in entries]
    longest = max(len(name) for _, name in encoded)
    body = b"".join(struct.pack("<fi", score, len(name)) + name for score, name in encoded)
    path.write_bytes(struct.pack("<i", longest) + body)


def write_checkpoint(folder: Path, *, kv_heads: int = 2, tied: bool = True) -> dict[str, np.ndarray]:
    folder.mkdir(exist_ok=True)
    weights = random_weights(kv_heads, tied)
    write_model(folder / "model.bin", weights)
    write_tokenizer(folder / "tokenizer.bin", PIECES)
    return weights
