"""GGUF files of tiny models, written by gguf's own writer as llama.cpp's converter does."""

from collections.abc import Callable, Mapping
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
)
from transformers import Qwen2ForCausalLM as Qwen2

WIDTH, HIDDEN, LAYERS, HEADS = 64, 32, 2, 4
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
_LETTERS = [chr(code) for code in range(ord("!"), ord("~") + 1)]
TOKENS = ["<|endoftext|>", "<s>", "</s>", "<mask>", "Ġ", *_LETTERS, "Ġa", "Ġt"]
_MERGES = ["Ġ a", "Ġ t"]
_SIZES = {
    "vocab_size": len(TOKENS),
    "hidden_size": HIDDEN,
    "intermediate_size": WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
}
KINDS = {"F32": Kind.F32, "F16": Kind.F16, "Q8_0": Kind.Q8_0, "Q4_1": Kind.Q4_1}


def model_of(architecture: str) -> PreTrainedModel:
    """A tiny model with random weights, gains included."""
    torch.manual_seed(0)
    made: Mapping[str, Callable[[], PreTrainedModel]] = {
        "llama": lambda: LlamaForCausalLM(LlamaConfig(**_SIZES, num_key_value_heads=2, rms_norm_eps=1e-5)),
        "qwen2": lambda: Qwen2(Qwen2Config(**_SIZES, num_key_value_heads=2, tie_word_embeddings=True)),
        "gemma3": lambda: Gemma3ForCausalLM(
            Gemma3TextConfig(**_SIZES, num_key_value_heads=1, head_dim=8, sliding_window=8)
        ),
    }
    model = made[architecture]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.1)
            if parameter.ndim == 1:  # so that adding one, and taking it away, changes no bit
                parameter.copy_((parameter * 1024).round() / 1024)
    return model


def write(
    file: Path,
    kind: str = "Q4_1",
    architecture: str = "llama",
    *,
    edit: Callable[[gguf.GGUFWriter], None] | None = None,
) -> PreTrainedModel:
    """Writes a tiny model to `file`, and gives it as it must be read: its matrices through `kind` and back."""
    model = model_of(architecture)
    names = gguf.get_tensor_name_map(
        next(each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture), LAYERS
    )
    writer = gguf.GGUFWriter(file, architecture)
    _write_header(writer, model, kind)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            stored = _stored(name, parameter.numpy(), architecture)
            of = KINDS[kind] if stored.ndim == 2 else Kind.F32
            blocks = gguf.quants.quantize(stored, of)
            writer.add_tensor(names.get_name(name, (".weight", ".bias")), blocks, raw_dtype=of)
            if stored.ndim == 2:
                read = gguf.quants.dequantize(blocks, of)
                parameter.copy_(torch.from_numpy(_unpermuted(name, read, architecture)))
    if edit is not None:
        edit(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return model


def _write_header(writer: gguf.GGUFWriter, model: PreTrainedModel, kind: str) -> None:
    config = model.config
    writer.add_name("tiny")
    writer.add_file_type(getattr(gguf.LlamaFileType, "ALL_F32" if kind == "F32" else f"MOSTLY_{kind}"))
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    if config.model_type == "gemma3_text":
        writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
        writer.add_key_length(config.head_dim)
        writer.add_value_length(config.head_dim)
        writer.add_sliding_window(config.sliding_window)
    else:
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([3, 3, 3, 3, *[1] * (len(TOKENS) - 4)])
    writer.add_token_merges(_MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template(TEMPLATE)


def _stored(name: str, values: np.ndarray, architecture: str) -> np.ndarray:
    """As llama.cpp keeps it: rows of query and key in pairs (llama), gains with the one that is added (gemma3)."""
    if architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = HEADS if "q_proj" in name else 2
        return values.reshape(heads, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
    return values + 1 if architecture == "gemma3" and values.ndim == 1 else values


def _unpermuted(name: str, stored: np.ndarray, architecture: str) -> np.ndarray:
    if architecture == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
        heads = HEADS if "q_proj" in name else 2
        return stored.reshape(heads, -1, 2, stored.shape[1]).swapaxes(1, 2).reshape(stored.shape)
    return stored
