"""Hypothesis strategies for small real models, ratios and paired items."""

from decimal import Decimal

import torch
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

ratios = st.decimals(min_value=0, max_value=Decimal("0.999"), places=3)


def llama(
    *,
    width: int = 12,
    layers: int = 2,
    bias: bool = False,
    tied: bool = True,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> LlamaForCausalLM:
    """A real Llama with random weights: hidden size 8, two heads of 4, 32 tokens."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=8,
        intermediate_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16,
        mlp_bias=bias,
        tie_word_embeddings=tied,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    model.config.dtype = dtype
    for parameter in model.parameters():  # not the rotary buffers, which loading keeps in float32
        parameter.data = parameter.data.to(dtype)
    if bias:
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                torch.nn.init.normal_(parameter)
    return model


@st.composite
def llamas(draw: st.DrawFn) -> LlamaForCausalLM:
    """Small Llamas of any width from 1, with and without biases, tied and untied, in three dtypes."""
    return llama(
        width=draw(st.integers(1, 40)),
        layers=draw(st.integers(1, 3)),
        bias=draw(st.booleans()),
        tied=draw(st.booleans()),
        dtype=draw(st.sampled_from([torch.float32, torch.bfloat16, torch.float64])),
        seed=draw(st.integers(0, 1000)),
    )


TOKENS = torch.arange(14).reshape(2, 7)
