"""What some families need beyond the rules of `tools.survey.tiny`, and which cannot be built."""

from collections.abc import Mapping

VOCABULARY = 96
"""Tokens of every tiny model."""

_FIRST_DENSE = {"mlp_only_layers": [0]}
_DENSE_AND_SPARSE = {"mlp_layer_types": ["dense", "sparse"]}
_MAMBA = {"mamba_n_heads": 4, "mamba_d_head": 16}

# by the model type of a configuration, the nested ones too
OVERRIDES: Mapping[str, Mapping[str, object]] = {
    "bamba": {**_MAMBA, "attn_layer_indices": [1]},
    "blt": {"use_cache": False, "encoder_hash_byte_group_vocab": 50},
    "blt_global_transformer": {"hidden_size": 64, "intermediate_size": 76},
    "blt_local_decoder": {"hidden_size_global": 64},
    "blt_local_encoder": {"hidden_size_global": 64},
    "cohere2_moe": {**_DENSE_AND_SPARSE, "prefix_dense_intermediate_size": 52},
    "cohere_compass_text": {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e4}}},
    "dbrx": {"attn_config.rope_theta": 10000.0, "attn_config.clip_qkv": 8},
    "deepseek_v2": {"num_experts_per_tok": 2},
    "deepseek_v4": {"o_groups": 2},
    "dots1": {"n_routed_experts": 4, "n_shared_experts": 2, "first_k_dense_replace": 1, "num_experts_per_tok": 2},
    "dots3_note_text": {
        "num_key_value_heads": 4,
        "swa_num_attention_heads": 2,
        "swa_num_key_value_heads": 2,
        "swa_q_lora_rank": 12,
        "swa_kv_lora_rank": 10,
        "swa_head_dim": 10,
        "swa_qk_nope_head_dim": 6,
        "swa_v_head_dim": 8,
    },
    "falcon_h1": {**_MAMBA, "mamba_d_ssm": 64},
    "flint": _FIRST_DENSE,
    "gemma3": {
        "mm_tokens_per_image": 4,
        "vision_config.image_size": 16,
        "vision_config.patch_size": 4,
        "vision_config.intermediate_size": 52,
    },
    "gemma3n_text": {
        "intermediate_size": 44,
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "activation_sparsity_pattern": [0.5, 0.0, 0.5, 0.0],
    },
    "gemma4": {
        "text_config.enable_moe_block": False,
        "text_config.use_double_wide_mlp": True,
        "text_config.num_hidden_layers": 4,
        "text_config.num_kv_shared_layers": 2,
        "text_config.layer_types": ["sliding_attention", "full_attention"] * 2,
    },
    "gemma4_text": {
        "global_head_dim": 16,
        "enable_moe_block": True,
        "num_experts": 4,
        "top_k_experts": 2,
        "moe_intermediate_size": 28,
    },
    "gemma4_unified_assistant": {"backbone_hidden_size": 24},
    "gemma4_unified_text": {
        "global_head_dim": 16,
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "use_double_wide_mlp": True,
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "got_ocr2_vision": {
        "mlp_dim": 52,
        "image_size": 16,
        "patch_size": 4,
        "output_channels": 16,
        "global_attn_indexes": [1],
    },
    "granitemoehybrid": {**_MAMBA, "layer_types": ["linear_attention", "full_attention"]},
    "hunyuan_v1_dense": {"head_dim": 8},
    "hunyuan_v1_moe": {"head_dim": 8},
    "inkling_text": _DENSE_AND_SPARSE,
    "internlm3": {"mlp_bias": False},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2": {"block_multiple_of": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
    "llama4_text": {"interleave_moe_layer_step": 2, "moe_layers": [1]},
    "longcat_flash": {"head_dim": 4, "zero_expert_num": 2},
    "longt5": {"feed_forward_proj": "gated-gelu"},
    "mamba2": {"num_heads": 8},
    "mellum": _DENSE_AND_SPARSE,
    "minimax_m3_vl_text": _DENSE_AND_SPARSE,
    "ministral": {"head_dim": 8},
    "mllama_text_model": {"cross_attention_layers": [1]},
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {"mamba_num_heads": 4, "mamba_head_dim": 16},
    "phi4_multimodal_audio": {
        "ext_pw_out_channel": 32,
        "depthwise_separable_out_channel": 32,
        "nemo_conv_channels": 16,
        "chunk_size": -1,
    },
    "qwen2_moe": _FIRST_DENSE,
    "qwen3_moe": _FIRST_DENSE,
    "qwen3_next": _FIRST_DENSE,
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 4,
        "indexer_compress_ratio": 2,
    },
    "recurrent_gemma": {"block_types": ["recurrent", "attention"]},
    "reformer": {
        "is_decoder": True,
        "num_buckets": 2,
        "axial_pos_embds": False,
        "local_attn_chunk_length": 4,
        "lsh_attn_chunk_length": 4,
        "hash_seed": 0,
    },
    "rembert": {"input_embedding_size": 24, "output_embedding_size": 40},
    "roc_bert": {
        "pronunciation_embed_dim": 24,
        "pronunciation_vocab_size": VOCABULARY,
        "shape_embed_dim": 20,
        "shape_vocab_size": VOCABULARY,
    },
    "switch_transformers": {"num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1},
    "t5": {"feed_forward_proj": "gated-gelu"},
    "xlstm": {"hidden_size": 64, "qk_dim_factor": 1.0, "ffn_proj_factor": 0.7, "ffn_round_up_to_multiple_of": 2},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zamba2": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zaya": {"num_experts_per_tok": 1, "num_experts": 3},
}
UNBUILDABLE: Mapping[str, str] = {
    "gemma3n": "its vision tower is a model of timm, which (with Pillow) is not installed; gemma3n_text is buildable",
    "gemma4_assistant": "transformers 5.23 asks that all its layers share keys and values (validate_architecture), and "
    "refuses a text model in which no layer makes them (kv_sharing_modes)",
}
