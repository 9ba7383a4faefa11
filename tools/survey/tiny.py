"""A tiny random model of every family: the default configuration, shrunk by rules over the names of its attributes.

The rules are names; what a family needs beyond them is in `tools.survey.overrides`, and so is what cannot be built.
Feed-forward blocks of different kinds have different widths, and never the hidden size, so that a tensor cut along a
wrong axis does not fit; where a family can have biases in them it has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, PretrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tools.survey.overrides import OVERRIDES, VOCABULARY

BATCH, LENGTH = 2, 12
FIRST_PLAIN_TOKEN, LAST_PLAIN_TOKEN = 16, VOCABULARY - 1  # the special tokens are below

EXTRA: Mapping[str, str] = {
    "gemma3": "Gemma3ForConditionalGeneration",
    "modernbert": "ModernBertForMaskedLM",
    "t5": "T5ForConditionalGeneration",
    "umt5": "UMT5ForConditionalGeneration",
    "mt5": "MT5ForConditionalGeneration",
    "longt5": "LongT5ForConditionalGeneration",
    "switch_transformers": "SwitchTransformersForConditionalGeneration",
}


def _classes() -> dict[str, str]:
    causal = {
        family: names if isinstance(names, str) else names[0]
        for family, names in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items()
    }
    return {**causal, **EXTRA}


CLASSES: Mapping[str, str] = _classes()
FAMILIES: tuple[str, ...] = tuple(CLASSES)

SIZES: Mapping[int, str] = {
    1: "num_nextn_predict_layers first_k_dense_replace topk_group moe_layer_start_index num_dense_layers",
    2: "num_layers decoder_layers encoder_layers n_layer n_layers num_encoder_layers num_decoder_layers depth"
    " num_blocks num_key_value_heads num_kv_heads kv_n_heads swa_num_key_value_heads linear_num_key_heads"
    " n_group n_groups num_expert_group altup_num_inputs index_topk"
    " num_experts_per_tok num_experts_per_token moe_topk moe_k moe_top_k top_k_experts"
    " n_shared_experts num_shared_experts moe_num_shared_experts",
    4: "num_attention_heads n_head n_heads num_heads attention_heads decoder_attention_heads encoder_attention_heads"
    " num_encoder_attention_heads num_decoder_attention_heads swa_num_attention_heads linear_num_value_heads"
    " linear_num_heads index_n_heads mamba_n_heads num_experts n_routed_experts num_local_experts moe_num_experts"
    " qk_rope_head_dim rotary_dim sliding_window sliding_window_size window_size local_attention attention_chunk_size"
    " attention_window_size local_attention_window_len mamba_chunk_size chunk_size block_size",
    6: "qk_nope_head_dim laurel_rank hidden_size_per_layer_input adapter_rank",
    8: "head_dim v_head_dim d_kv d_head dim_head swa_head_dim attention_head_size kv_channels index_head_dim"
    " linear_key_head_dim linear_value_head_dim linear_head_dim mamba_d_state state_size ssm_state_size",
    12: "kv_lora_rank q_lora_rank o_lora_rank hc_lowrank",
    16: "mamba_d_head router_hidden_size",
    28: "moe_intermediate_size expert_ffn_hidden_size",
    32: "hidden_size d_model n_embd emb_dim embedding_size lru_width",
    36: "shared_expert_intermediate_size shared_experts_intermediate_size moe_shared_expert_intermediate_size"
    " shared_intermediate_size",
    44: "intermediate_size d_ff dff dim_ff ffn_dim decoder_ffn_dim ffn_hidden_size feed_forward_size d_inner n_inner",
    52: "encoder_ffn_dim intermediate_size_mlp dense_intermediate_size",
    64: "max_position_embeddings n_positions n_ctx max_seq_len model_max_length context_length",
    VOCABULARY: "vocab_size vocab_size_per_layer_input",
}
SIZE_OF: Mapping[str, int] = {name: size for size, names in SIZES.items() for name in names.split()}

BIASES = ("mlp_bias", "add_bias_linear")  # of feed-forward blocks, asked for wherever there is the choice
DEPTHS = "num_hidden_layers num_layers n_layer n_layers num_blocks".split()
PER_LAYER = "layer_types mlp_layer_types layers_block_type no_rope_layers indexer_types attn_layers".split()


def tiny_config(family: str) -> PretrainedConfig:
    """The smallest configuration of a family that has every kind of its layers, as the family's class takes it."""
    return _shrunk(_taken_by(_class(family), CONFIG_MAPPING[family]()))


def build(family: str, seed: int = 0) -> PreTrainedModel:
    """A model of the family with seeded random weights: every parameter, biases and norms too."""
    config = tiny_config(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _class(family)(config)
        model = model.to(torch.float32).eval()
        _randomise(model)
    return model


def inputs(model: PreTrainedModel) -> dict[str, Any]:
    """A seeded batch for the model's forward, with the images, sounds or states its feed-forward blocks wait for."""
    config = model.config
    generator = torch.Generator().manual_seed(0)
    rows = BATCH * (config.num_codebooks if config.model_type in PER_CODEBOOK else 1)
    tokens = torch.randint(FIRST_PLAIN_TOKEN, LAST_PLAIN_TOKEN + 1, (rows, LENGTH), generator=generator)
    batch: dict[str, Any] = {"input_ids": tokens}
    if config.is_encoder_decoder:
        batch["decoder_input_ids"] = tokens.flip(1)
    if config.model_type in COMPANIONS:
        batch |= COMPANIONS[config.model_type](config, tokens, generator)
    return batch


def _image(config: Any, tokens: torch.Tensor, generator: torch.Generator) -> dict[str, Any]:
    tokens[:, 1 : 1 + config.mm_tokens_per_image] = config.image_token_id
    side = config.vision_config.image_size
    return {"pixel_values": torch.randn(BATCH, config.vision_config.num_channels, side, side, generator=generator)}


def _sound(config: Any, tokens: torch.Tensor, generator: torch.Generator) -> dict[str, Any]:
    heard = 3
    tokens[:, 1 : 1 + heard] = config.audio_config.audio_token_id
    frames = heard * config.audio_config.time_reduction
    return {
        "audio_input_features": torch.randn(BATCH, frames, config.audio_config.input_size, generator=generator),
        "audio_embed_sizes": torch.tensor([heard] * BATCH),
    }


def _cross_attention(config: Any, _tokens: torch.Tensor, generator: torch.Generator) -> dict[str, Any]:
    return {"cross_attention_states": torch.randn(BATCH, 5, config.hidden_size, generator=generator)}


def _draft(config: Any, _tokens: torch.Tensor, generator: torch.Generator) -> dict[str, Any]:
    """What the model that is assisted hands over: its embeddings, and its keys and values by type of layer."""
    text = config.get_text_config()
    states = {}
    for index, kind in enumerate(text.layer_types):
        heads, width = text.num_key_value_heads, text.per_layer_config[index].head_dim
        keys, values = torch.randn(2, BATCH, heads, LENGTH, width, generator=generator)
        states[kind] = (keys, values)
    embeddings = torch.randn(BATCH, LENGTH, 2 * config.backbone_hidden_size, generator=generator)
    return {"inputs_embeds": embeddings, "shared_kv_states": states}


COMPANIONS: Mapping[str, Callable[[Any, torch.Tensor, torch.Generator], dict[str, Any]]] = {
    "gemma3": _image,
    "gemma4_unified_assistant": _draft,
    "mllama_text_model": _cross_attention,
    "phi4_multimodal": _sound,
}
PER_CODEBOOK = ("musicgen_decoder", "musicgen_melody_decoder")  # a row of tokens for each codebook


def _randomise(model: PreTrainedModel) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim < 2:  # around what it starts at: norms near one, biases near zero
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
            else:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
        for name, buffer in model.named_buffers():
            if name.endswith("tid2eid"):  # a table of experts by token
                buffer.copy_(torch.rand(len(buffer), SIZE_OF["num_experts"]).argsort()[:, : buffer.shape[1]])
            elif name.endswith(("e_score_correction_bias", "expert_bias")):
                buffer.add_(torch.randn_like(buffer), alpha=0.1)


def _class(family: str) -> Any:
    return getattr(transformers, CLASSES[family])


def _taken_by(cls: Any, config: PretrainedConfig) -> PretrainedConfig:
    """The configuration itself, or the one nested in it that the class is built from."""
    if isinstance(config, cls.config_class):
        return config
    nested = (value for value in vars(config).values() if isinstance(value, cls.config_class))
    return next(nested, config)


def _shrunk(config: PretrainedConfig, more: Mapping[str, object] | None = None) -> PretrainedConfig:
    overrides = {**OVERRIDES.get(config.model_type, {}), **(more or {})}
    stored, alias = vars(config), config.attribute_map
    names = (field.name for field in dataclasses.fields(type(config)))
    attributes = {name: stored[alias.get(name, name)] for name in names if alias.get(name, name) in stored}
    changed: dict[str, Any] = {name: True for name in BIASES if name in attributes}
    changed |= {**_sizes(attributes), **_cut_layers(attributes), **_special_tokens(attributes)}
    for name, value in attributes.items():
        if isinstance(value, PretrainedConfig):
            prefix = f"{name}."
            nested = {key.removeprefix(prefix): what for key, what in overrides.items() if key.startswith(prefix)}
            changed[name] = _shrunk(value, nested)
    changed.update({key: what for key, what in overrides.items() if "." not in key})
    return type(config)(**changed)


def _sizes(attributes: Mapping[str, Any]) -> dict[str, int]:
    sizes = {
        name: SIZE_OF[name]
        for name, value in attributes.items()
        if name in SIZE_OF and isinstance(value, int) and not isinstance(value, bool) and value >= 0
    }
    if "kv_lora_rank" in sizes and "num_key_value_heads" in sizes:  # latent attention has a key for every head
        sizes["num_key_value_heads"] = SIZE_OF["num_attention_heads"]
    return sizes


def _cut_layers(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The number of layers and the per-layer lists: the first layer of every kind, and two at least."""
    depth_name = next((name for name in DEPTHS if isinstance(attributes.get(name), int)), None)
    if depth_name is None:
        return {}
    depth = attributes[depth_name]
    lists = {
        name: attributes[name]
        for name in PER_LAYER
        if isinstance(attributes.get(name), Sequence) and len(attributes[name]) == depth
    }
    kinds = list(zip(*lists.values(), strict=True)) or [()] * depth
    kept = sorted({kinds.index(kind) for kind in kinds})
    kept = (kept + [index for index in range(depth) if index not in kept])[: max(2, len(kept))]
    cut = {name: [values[index] for index in sorted(kept)] for name, values in lists.items()}
    return {depth_name: len(kept), **cut}


def _special_tokens(attributes: Mapping[str, Any]) -> dict[str, int]:
    names = (name for name in attributes if name.endswith(("_token_id", "_token_index")))
    return {name: index for index, name in enumerate(_given(names, attributes))}


def _given(names: Iterable[str], attributes: Mapping[str, Any]) -> list[str]:
    return sorted(name for name in names if attributes[name] is not None)
