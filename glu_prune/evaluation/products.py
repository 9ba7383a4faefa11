"""Products with weights for few tokens at a time, and the likeliest of what they give."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad

MOST_TOKENS = 128
"""Up to here the weights stand on the left."""
_EVEN = 16
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 2e-3}
"""By weights' dtype, which share of a logit another order of additions is taken to move it by.

In float32 five times what was seen where a text of `HFLM`'s became another (0.000058 of 27.5); the others, a few units
in the last place, are assumed.
"""


def even(tokens: int) -> int:
    """The number of tokens, at least `tokens`, with which products take least time.

    A BLAS computes blocks of columns, and is slow with what is left over: with 31 tokens MKL takes 1.7 times as long as
    with 32, and with 63 half as long again as with 64.
    """
    return max(2, 1 << (tokens - 1).bit_length()) if tokens < _EVEN else -(-tokens // _EVEN) * _EVEN


def _from_the_left(layer: nn.Linear, states: Tensor) -> Tensor:
    """`linear`, as weights times states: `(W x^T)^T` and not `x W^T`.

    It is the same sum of products. A BLAS copies one factor, transposed, before it multiplies; so it is the few states
    that are copied, and not the weights: with 4 to 96 tokens on an AVX2 processor that takes a third to two thirds of
    the time. They are filled up to an even number.
    """
    flat = states.reshape(-1, states.shape[-1])
    count = len(flat)
    if not 0 < count <= MOST_TOKENS:
        return linear(states, layer.weight, layer.bias)
    spare = even(count) - count
    filled = pad(flat, (0, 0, 0, spare)) if spare else flat
    found = torch.mm(layer.weight, filled.t()).t()[:count]
    if layer.bias is not None:
        found = found + layer.bias
    return found.view(*states.shape[:-1], layer.out_features)


@contextmanager
def weights_on_the_left(model: Any) -> Iterator[None]:
    """Within it, the linear layers of `model` that are on a CPU, in float32, are fast for few tokens."""
    layers = [
        module
        for module in model.modules()
        if type(module) is nn.Linear
        and "forward" not in vars(module)  # accelerate's hooks, which move weights, stand there
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.float32
    ]
    for layer in layers:
        layer.forward = partial(_from_the_left, layer)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def refuse_nan(logits: Tensor) -> Tensor:
    """`logits`.

    Raises:
        FloatingPointError: some are NaN, so that none is the largest.
    """
    if logits.isnan().any():
        msg = "logits are NaN; the model's weights or activations are not finite"
        raise FloatingPointError(msg)
    return logits


def likeliest(logits: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Per row of (rows, vocabulary), the first of the largest logits, and whether rounding may have made it that.

    So it may if another is as large but for `ROUNDING` in weights of `dtype`. The largest are -inf afterwards.

    Raises:
        FloatingPointError: some are NaN.
    """
    largest, first = logits.max(-1)
    refuse_nan(largest)
    second = logits.scatter_(-1, first[:, None], -torch.inf).amax(-1)
    return first, largest - second <= ROUNDING[dtype] * largest.abs()
