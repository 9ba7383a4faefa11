"""Checkpoints of llama2.c (`model.bin` beside `tokenizer.bin`) as transformers models and tokenizers.

Source: https://github.com/karpathy/llama2.c, `export.py` (`legacy_export`, version 0) and `run.c` (`encode`).
"""

import hashlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glu_prune.errors import CheckpointError
from glu_prune.pruning.checkpoint import new_folder, refuse_existing

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

_HEADER = struct.Struct("<7i")
_LENGTH = struct.Struct("<i")
_ENTRY = struct.Struct("<fi")
_FLOAT = 4
"""Bytes of one weight."""
_UNK, _BOS, _EOS = _SPECIAL = ("<unk>", "<s>", "</s>")
_FIXED = (*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)))
"""What every vocabulary begins with."""
_ROPE_TABLES = "rope_tables"
_ROTATED = ("self_attn.q_proj.weight", "self_attn.k_proj.weight")


@dataclass(frozen=True)
class Header:
    """The sizes at the beginning of a model file."""

    dim: int
    """Of the residual stream."""
    hidden: int
    """Neurons of each GLU block."""
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    """Negative in the file, and here, if the output matrix is not the embedding."""
    seq: int
    """Longest text, tokens."""

    @property
    def head(self) -> int:
        """Width of one attention head."""
        return self.dim // self.heads

    @property
    def tied(self) -> bool:
        """Whether the embedding serves as output matrix."""
        return self.vocab > 0

    @property
    def plausible(self) -> bool:
        """Whether a model can have these sizes: all above zero, each dividing what it must."""
        sizes = (self.dim, self.hidden, self.layers, self.heads, self.kv_heads, abs(self.vocab), self.seq)
        return min(sizes) > 0 and self.dim % (2 * self.heads) == 0 and self.heads % self.kv_heads == 0

    def tensors(self, *, rope_tables: bool) -> list[tuple[str, int, tuple[int, ...]]]:
        """What follows, in order: name in transformers (`{}` for the layer), how many, and the shape of one."""
        square, keys = (self.dim, self.dim), (self.kv_heads * self.head, self.dim)
        wide, narrow = (self.hidden, self.dim), (self.dim, self.hidden)
        layer = "model.layers.{}."
        every = [
            ("model.embed_tokens.weight", 1, (abs(self.vocab), self.dim)),
            (layer + "input_layernorm.weight", self.layers, (self.dim,)),
            (layer + "self_attn.q_proj.weight", self.layers, square),
            (layer + "self_attn.k_proj.weight", self.layers, keys),
            (layer + "self_attn.v_proj.weight", self.layers, keys),
            (layer + "self_attn.o_proj.weight", self.layers, square),
            (layer + "post_attention_layernorm.weight", self.layers, (self.dim,)),
            (layer + "mlp.gate_proj.weight", self.layers, wide),
            (layer + "mlp.down_proj.weight", self.layers, narrow),
            (layer + "mlp.up_proj.weight", self.layers, wide),
            ("model.norm.weight", 1, (self.dim,)),
            (_ROPE_TABLES, int(rope_tables), (2, self.seq, self.head // 2)),
            ("lm_head.weight", int(not self.tied), (abs(self.vocab), self.dim)),
        ]
        return [(name, count, shape) for name, count, shape in every if count]

    def file_size(self, *, rope_tables: bool) -> int:
        """Bytes of a whole file, header included."""
        weights = sum(count * math.prod(shape) for _, count, shape in self.tensors(rope_tables=rope_tables))
        return _HEADER.size + _FLOAT * weights


def is_llama2c(folder: Path) -> bool:
    """Whether `folder` is a llama2.c checkpoint: one whole model and one tokenizer, `tok*.bin`, and no config.json."""
    if not folder.is_dir() or (folder / "config.json").exists():
        return False
    try:
        _read_header(_model_file(folder))
        _tokenizer_file(folder)
    except CheckpointError:
        return False
    return True


def fingerprint(folder: Path) -> str:
    """SHA-256 over the SHA-256 of the model file and that of the tokenizer file, whatever their names.

    Raises:
        CheckpointError: a file is missing or cannot be read.
    """
    whole = hashlib.sha256()
    for path in (_model_file(folder), _tokenizer_file(folder)):
        try:
            with path.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
        except OSError as error:
            raise _unreadable(path, error) from error
    return whole.hexdigest()


def read_model(folder: Path, dtype: str = "float32") -> "LlamaForCausalLM":
    """The model in `folder`, in `dtype` (`auto`: float32, as it is saved), ready for evaluation.

    llama2.c rotates neighbouring pairs of query and key dimensions, transformers the first half against the second;
    the rows of both projections are reordered, head by head, so that the logits are the same.

    Raises:
        CheckpointError: the file is not whole, or not of this format.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    path = _model_file(folder)
    header, rope_tables = _read_header(path)
    config = LlamaConfig(
        vocab_size=abs(header.vocab),
        hidden_size=header.dim,
        intermediate_size=header.hidden,
        num_hidden_layers=header.layers,
        num_attention_heads=header.heads,
        num_key_value_heads=header.kv_heads,
        max_position_embeddings=header.seq,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=_FIXED.index(_BOS),
        eos_token_id=_FIXED.index(_EOS),
        tie_word_embeddings=header.tied,
    )
    weights = _read_weights(path, header, rope_tables=rope_tables)
    # No weights are drawn first, and RoPE frequencies stay float32 in every dtype: `.to` would round them.
    exact = torch.float32 if dtype == "auto" else getattr(torch, dtype)
    return LlamaForCausalLM.from_pretrained(None, config=config, state_dict=weights, dtype=exact).eval()


def read_tokenizer(folder: Path, vocab_size: int) -> "PreTrainedTokenizerFast":
    """The tokenizer in `folder`, which gives the ids that llama2.c gives: <s>, a space, then the best merges first.

    Text is only ever text: a `<s>` written in it is three characters, as in llama2.c.

    Raises:
        CheckpointError: the file is not whole, not of this format, or not of `vocab_size` pieces.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, processors
    from transformers import PreTrainedTokenizerFast

    path = _tokenizer_file(folder)
    pieces = _read_pieces(path, vocab_size)
    ids = {name: token for token, name in enumerate([*_FIXED, *pieces])}
    bpe = models.BPE(ids, _merges(path, pieces), unk_token=_UNK, byte_fallback=True)
    tokenizer = Tokenizer(bpe)
    tokenizer.normalizer = normalizers.Prepend(" ")
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{_BOS} $A", pair=f"{_BOS} $A $B", special_tokens=[(_BOS, ids[_BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=_UNK,
        bos_token=_BOS,
        eos_token=_EOS,
        split_special_tokens=True,
        clean_up_tokenization_spaces=False,
    )


def convert(folder: Path, out: Path) -> None:
    """Writes the checkpoint in `folder` to `out` as transformers saves models: config, safetensors, tokenizer.

    Raises:
        CheckpointError: `folder` cannot be read, or `out` exists or cannot be written.
    """
    refuse_existing(out)
    model = read_model(folder)
    tokenizer = read_tokenizer(folder, model.config.vocab_size)
    with new_folder(out) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


def _model_file(folder: Path) -> Path:
    """The only .bin file that is not a tokenizer; of several, the only one that is whole."""
    found = [path for path in sorted(folder.glob("*.bin")) if not path.name.startswith("tok")]
    chosen = found if len(found) == 1 else [path for path in found if _whole(path)]
    if len(chosen) != 1:
        names = ", ".join(path.name for path in chosen or found) or "none"
        msg = (
            f"{folder} holds {len(chosen)} whole llama2.c models (.bin files besides tok*.bin: {names}), but must hold "
            "one; give each model a folder of its own"
        )
        raise CheckpointError(msg)
    return chosen[0]


def _whole(path: Path) -> bool:
    try:
        _read_header(path)
    except CheckpointError:
        return False
    return True


def _tokenizer_file(folder: Path) -> Path:
    found = sorted(folder.glob("tok*.bin"))
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        msg = (
            f"{folder} holds {len(found)} tokenizers tok*.bin ({names}), but must hold one: put that of the model there"
        )
        raise CheckpointError(msg)
    return found[0]


def _read_header(path: Path) -> tuple[Header, bool]:
    """The header of the model file at `path`, and whether RoPE tables follow the weights.

    Raises:
        CheckpointError: the file cannot be read, or its header or its size is wrong.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(_HEADER.size)
        size = path.stat().st_size
    except OSError as error:
        raise _unreadable(path, error) from error
    if len(start) < _HEADER.size:
        msg = f"{path} is {size} bytes long, but the header of a llama2.c model is {_HEADER.size}; fetch it again"
        raise CheckpointError(msg)
    header = Header(*_HEADER.unpack(start))
    if not header.plausible:
        msg = (
            f"{path} begins with {header}, but a llama2.c model begins with sizes above zero (vocab also below), dim a "
            "multiple of 2 x heads, heads of kv_heads; export it as version 0, which is float32 without a magic number"
        )
        raise CheckpointError(msg)
    with_tables, without = (header.file_size(rope_tables=rope_tables) for rope_tables in (True, False))
    if size not in (with_tables, without):
        msg = (
            f"{path} is {size:,} bytes long, but by its {header} it must be {with_tables:,}, or {without:,} without "
            "RoPE tables; fetch it again, or export it as version 0"
        )
        raise CheckpointError(msg)
    return header, size == with_tables


def _read_weights(path: Path, header: Header, *, rope_tables: bool) -> "dict[str, Tensor]":
    """The float32 weights under their names in transformers, query and key rows reordered."""
    import torch

    weights = {}
    try:
        with path.open("rb") as stream:
            stream.seek(_HEADER.size)
            for name, count, shape in header.tensors(rope_tables=rope_tables):
                for layer in range(count):
                    values = np.fromfile(stream, "<f4", math.prod(shape)).reshape(shape)
                    if name.endswith(_ROTATED):
                        values = _half_split(values, header.head)
                    weights[name.format(layer)] = torch.from_numpy(values)
    except OSError as error:
        raise _unreadable(path, error) from error
    weights.pop(_ROPE_TABLES, None)
    return weights


def _half_split(rows: "np.ndarray[Any, Any]", head: int) -> "np.ndarray[Any, Any]":
    """`rows` (heads x head, dim) with those of each head in the order 0, 2, 4, ..., 1, 3, 5, ..."""
    pairs = rows.reshape(-1, head // 2, 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)


def _read_pieces(path: Path, vocab_size: int) -> dict[str, float]:
    """The pieces after the special and the byte ones, with their scores, in the order of their ids.

    Raises:
        CheckpointError: the file cannot be read or is not of this format.
    """
    entries = _read_entries(path, vocab_size)
    fixed = [name.strip() for name, _ in entries[: len(_FIXED)]]  # llama2.c writes <s> and </s> between line breaks
    for token, expected in enumerate(_FIXED):
        if fixed[token : token + 1] != [expected]:
            found = repr(fixed[token]) if token < len(fixed) else "nothing"
            msg = f"{path} has {found} as piece {token}, but must have {expected!r}; export it as llama2.c does"
            raise CheckpointError(msg)
    pieces: dict[str, float] = {}
    for token, (name, score) in enumerate(entries[len(_FIXED) :], len(_FIXED)):
        if name in pieces or name in _FIXED or not math.isfinite(score):
            msg = (
                f"{path} has piece {token} {name!r} twice or with no finite score ({score}); export it as llama2.c does"
            )
            raise CheckpointError(msg)
        pieces[name] = score
    return pieces


def _read_entries(path: Path, vocab_size: int) -> list[tuple[str, float]]:
    """All pieces and scores, `vocab_size` of them."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    entries: list[tuple[str, float]] = []
    try:
        (longest,) = _LENGTH.unpack_from(data)
        at = _LENGTH.size
        for _ in range(vocab_size):
            score, length = _ENTRY.unpack_from(data, at)
            if not 0 < length <= longest:
                msg = f"{path} has {length} bytes in piece {len(entries)}, but must have 1 to {longest}; fetch it again"
                raise CheckpointError(msg)
            at += _ENTRY.size + length
            (name,) = struct.unpack_from(f"{length}s", data, at - length)
            entries.append((name.decode(), score))
    except struct.error as error:
        msg = (
            f"{path} ends after {len(entries)} pieces, but the model's vocabulary is {vocab_size}; fetch it again, or "
            "put the tokenizer of this model there"
        )
        raise CheckpointError(msg) from error
    except UnicodeDecodeError as error:
        msg = f"{path} has a piece {len(entries)} {error.object!r}, which is not UTF-8; fetch it again"
        raise CheckpointError(msg) from error
    if at != len(data):
        msg = (
            f"{path} has {len(data) - at:,} bytes after its first {vocab_size} pieces, but the model's vocabulary is "
            f"{vocab_size}; put the tokenizer of this model there"
        )
        raise CheckpointError(msg)
    return entries


def _merges(path: Path, pieces: dict[str, float]) -> list[tuple[str, str]]:
    """The merges of a BPE that does what llama2.c does, best first: for each piece, all pairs that spell it.

    llama2.c joins, of all neighbours that spell a piece, those with the best score, the leftmost of equals. The order
    of the pairs of one piece does not matter: inside a stretch of text, merges do not depend on what is outside as long
    as none crosses its border, so a piece always comes about from the same last pair, the others never stand side by
    side.

    Raises:
        CheckpointError: two pieces have the same score, so that their order would depend on the text.
    """
    merges: list[tuple[str, str]] = []
    by_score: dict[float, str] = {}
    for piece in sorted(pieces, key=pieces.__getitem__, reverse=True):
        halves = [(piece[:at], piece[at:]) for at in range(1, len(piece))]
        pairs = [(left, right) for left, right in halves if left in pieces and right in pieces]
        if pairs and (other := by_score.setdefault(pieces[piece], piece)) != piece:
            msg = (
                f"{path} gives {other!r} and {piece!r} the same score {pieces[piece]}, but each needs one of its own; "
                "use a vocabulary trained as BPE, as llama2.c's are"
            )
            raise CheckpointError(msg)
        merges += pairs
    return merges


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read: {error.strerror}; make it readable, or fetch it again")
