"""Models of a known shape with random weights: speed, memory and energy do not depend on the values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.errors import CheckpointError
from glu_prune.models.source import ModelSource, has_tokenizer, load_tokenizer, locate
from glu_prune.pruning.checkpoint import new_folder, refuse_existing

if TYPE_CHECKING:
    from transformers import LlamaConfig

DTYPES = ("bfloat16", "float16", "float32")
_DEVIATION = 0.02
"""Of the weights; what Llama models are born with."""
_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@dataclass(frozen=True)
class LlamaShape:
    """The sizes of a Llama model; positions are encoded as in Llama 3.2."""

    hidden: int
    """Of the residual stream."""
    width: int
    """Neurons of each GLU block."""
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    """Whether the embedding serves as output matrix."""
    positions: int
    """Longest text, tokens."""

    @property
    def config(self) -> "LlamaConfig":
        """The configuration of a model of this shape."""
        from transformers import LlamaConfig

        return LlamaConfig(
            hidden_size=self.hidden,
            intermediate_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            head_dim=self.head_dim,
            vocab_size=self.vocabulary,
            tie_word_embeddings=self.tied,
            max_position_embeddings=self.positions,
            rope_parameters=dict(_ROPE),
            rms_norm_eps=1e-5,
            initializer_range=_DEVIATION,
        )


SHAPES: Mapping[str, LlamaShape] = {
    "llama-3.2-1b": LlamaShape(
        hidden=2048,
        width=8192,
        layers=16,
        heads=32,
        kv_heads=8,
        head_dim=64,
        vocabulary=128256,
        tied=True,
        positions=131072,
    ),
    "llama-3.2-3b": LlamaShape(
        hidden=3072,
        width=8192,
        layers=28,
        heads=24,
        kv_heads=8,
        head_dim=128,
        vocabulary=128256,
        tied=True,
        positions=131072,
    ),
    "mini": LlamaShape(
        hidden=1024,
        width=4096,
        layers=8,
        heads=16,
        kv_heads=4,
        head_dim=64,
        vocabulary=32000,
        tied=True,
        positions=131072,
    ),
}
"""Those of Llama 3.2 are from the config.json of meta-llama/Llama-3.2-1B and -3B; mini has the same expansion ratio."""


def known_shape(name: str) -> LlamaShape:
    """The shape that `glu-prune shape` knows as `name`.

    Raises:
        CheckpointError: there is none.
    """
    if name not in SHAPES:
        msg = f"shape {name!r} is not known; allowed: {', '.join(SHAPES)}"
        raise CheckpointError(msg)
    return SHAPES[name]


def write_random_model(
    shape: LlamaShape, folder: Path, dtype: str = "bfloat16", seed: int = 0, tokenizer: str | None = None
) -> None:
    """Writes a stock Llama checkpoint of this shape to the new folder `folder`: config.json and safetensors.

    Matrices are drawn from a normal distribution with standard deviation 0.02, gains are 1. The tokenizer is that of
    the model called `tokenizer`, or one that lies alone in the folder of that name; it may know fewer tokens than the
    shape. Without it there is none, and the model can be measured but not asked. Memory holds the model, once.

    Raises:
        ModelNotFoundError: no model is called `tokenizer`.
        CheckpointError: `folder` exists or cannot be written, the dtype is not allowed, or that model has no tokenizer
            that fits.
    """
    import torch
    from transformers import LlamaForCausalLM

    if dtype not in DTYPES:
        msg = f"dtype {dtype!r} is not allowed; choose one of {', '.join(DTYPES)}"
        raise CheckpointError(msg)
    refuse_existing(folder)
    words = None if tokenizer is None else _tokenizer(tokenizer, shape.vocabulary)
    with torch.device("meta"):
        model = LlamaForCausalLM(shape.config).to(getattr(torch, dtype))
    model.to_empty(device="cpu").tie_weights()
    generator = torch.Generator().manual_seed(seed)
    with new_folder(folder) as partial, torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.fill_(1)
            else:
                parameter.normal_(0, _DEVIATION, generator=generator)
        model.save_pretrained(partial)
        if words is not None:
            words.save_pretrained(partial)


def _tokenizer(model: str, vocabulary: int) -> Any:
    alone = ModelSource(model, Path(model))
    words = load_tokenizer(alone if has_tokenizer(alone) else locate(model))
    if len(words) > vocabulary:
        msg = f"{model}: its tokenizer knows {len(words)} tokens; a model of this shape has {vocabulary}"
        raise CheckpointError(msg)
    return words
