"""Checkpoints of llama2.c (`model.bin` beside `tokenizer.bin`): a format of `glu_prune.models.formats`.

Source: https://github.com/karpathy/llama2.c, `export.py` (`legacy_export`, version 0).
"""

import hashlib
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.errors import CheckpointError
from glu_prune.files import content_digest, regular
from glu_prune.models import llama2c_tokenizer
from glu_prune.models.llama2c_tokenizer import FIXED, tokenizer_file, unreadable

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

NAME = "llama2.c checkpoint"
_HEADER = struct.Struct("<7i")
_FLOAT = 4
"""Bytes of one weight."""
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


def refuse(folder: Path) -> None:
    """Raises `CheckpointError` unless `folder` holds one whole model, one tokenizer `tok*.bin`, and no config.json."""
    if not folder.is_dir() or (folder / "config.json").exists():
        msg = f"{folder} is no folder of a {NAME}, or has a config.json, which belongs to another format"
        raise CheckpointError(msg)
    _read_header(_model_file(folder))
    tokenizer_file(folder)


def digest(folder: Path) -> str:
    """SHA-256 over the SHA-256 of the model file and that of the tokenizer file, whatever their names.

    Raises:
        CheckpointError: a file is missing or cannot be read.
    """
    whole = hashlib.sha256()
    for path in (_model_file(folder), tokenizer_file(folder)):
        try:
            whole.update(content_digest(path))
        except OSError as error:
            raise unreadable(path, error) from error
    return whole.hexdigest()


def read_config(folder: Path) -> "LlamaConfig":
    """The configuration that transformers would have for the model in `folder`.

    Raises:
        CheckpointError: the file is not whole, or not of this format.
    """
    from transformers import LlamaConfig

    header, _ = _read_header(_model_file(folder))
    return LlamaConfig(
        vocab_size=abs(header.vocab),
        hidden_size=header.dim,
        intermediate_size=header.hidden,
        num_hidden_layers=header.layers,
        num_attention_heads=header.heads,
        num_key_value_heads=header.kv_heads,
        max_position_embeddings=header.seq,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        bos_token_id=FIXED.index("<s>"),
        eos_token_id=FIXED.index("</s>"),
        tie_word_embeddings=header.tied,
    )


def weight_bytes(folder: Path) -> int:
    """Bytes of the model file.

    Raises:
        CheckpointError: the file is not whole, or not of this format.
    """
    path = _model_file(folder)
    _read_header(path)
    return path.stat().st_size


def refuse_contradiction(folder: Path) -> None:
    """Raises `CheckpointError` unless the model file has the size that its header says."""
    _read_header(_model_file(folder))


def read_model(folder: Path, dtype: str = "float32", **options: str) -> "LlamaForCausalLM":
    """The model in `folder`, in `dtype` (`auto`: float32, as it is saved), ready for evaluation.

    llama2.c rotates neighbouring pairs of query and key dimensions, transformers the first half against the second;
    the rows of both projections are reordered, head by head, so that the logits are the same.

    Raises:
        CheckpointError: the file is not whole, not of this format, or `options` are given, of which it takes none.
    """
    import torch
    from transformers import LlamaForCausalLM

    if options:
        msg = f"{folder} is a {NAME}, which takes no {', '.join(options)}; convert it first"
        raise CheckpointError(msg)
    path = _model_file(folder)
    header, rope_tables = _read_header(path)
    weights = _read_weights(path, header, rope_tables=rope_tables)
    # No weights are drawn first, and RoPE frequencies stay float32 in every dtype: `.to` would round them.
    exact = torch.float32 if dtype == "auto" else getattr(torch, dtype)
    return LlamaForCausalLM.from_pretrained(None, config=read_config(folder), state_dict=weights, dtype=exact).eval()


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer lies beside the model: without one, `folder` is not of this format."""
    return tokenizer_file(folder).is_file()


def read_tokenizer(folder: Path) -> "PreTrainedTokenizerFast":
    """The tokenizer in `folder`, which gives the ids that llama2.c gives.

    Raises:
        CheckpointError: a file is not whole, not of this format, or they are not of the same model.
    """
    header, _ = _read_header(_model_file(folder))
    return llama2c_tokenizer.read_tokenizer(folder, abs(header.vocab))


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


def _read_header(path: Path) -> tuple[Header, bool]:
    """The header of the model file at `path`, and whether RoPE tables follow the weights.

    Raises:
        CheckpointError: the file cannot be read, or its header or its size is wrong.
    """
    try:
        with regular(path).open("rb") as stream:
            start = stream.read(_HEADER.size)
        size = path.stat().st_size
    except OSError as error:
        raise unreadable(path, error) from error
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
    import numpy as np
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
        raise unreadable(path, error) from error
    weights.pop(_ROPE_TABLES, None)
    return weights


def _half_split(rows: "np.ndarray[Any, Any]", head: int) -> "np.ndarray[Any, Any]":
    """`rows` (heads x head, dim) with those of each head in the order 0, 2, 4, ..., 1, 3, 5, ..."""
    import numpy as np

    pairs = rows.reshape(-1, head // 2, 2, rows.shape[1])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(rows.shape)
