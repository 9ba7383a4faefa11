"""The likeliest tokens of a loop from a part of the output layer, where a bound proves that the rest cannot win.

The output layer of a small model with a large vocabulary takes most of the time of a draft. The logit of a token is the
product of its weights w with the hidden state. In a loop, hidden states at the same place in the period hardly change,
or change steadily. So all logits are computed for some states only. Let h be a state between two of these, g the point
on the line between them that is nearest in time, and e = h - g. Logits are linear, so at g no token has a larger logit
than the same interpolation of its two; from g to h it changes by |w| |e| at most (Cauchy-Schwarz). Tokens that are far
behind at both ends are thereby excluded, and only a short list has to be computed for h.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

LENGTH = 1024
"""Tokens in the short list, at most."""
SHARE = 1 / 8
"""The part of the vocabulary that the short list is, at most."""
SPACING = 64
"""At least so many tokens lie between two states for which all logits are computed."""
_TRIAL = 4
"""Tokens of the input on which an output layer is tried."""


class OutputLayer:
    """The output layer of a causal language model, as a matrix with a row of weights per token."""

    def __init__(self, weights: Tensor) -> None:
        """Logits are products with `weights`, of shape (vocabulary, hidden size), in float32."""
        self._weights = weights = weights.detach()
        self._longest = float(weights.norm(dim=1).max())
        self._rounding = 4 * weights.shape[1] * torch.finfo(weights.dtype).eps * self._longest
        """A bound of the rounding error of the difference of two logits, per unit length of the hidden state."""

    @classmethod
    @torch.no_grad()
    def of(cls, model: Any) -> "OutputLayer | None":
        """That of `model`; None if its logits are not such products, or not in float32.

        Other dtypes round logits so much that several tokens are the likeliest. The product is tried on a few tokens,
        because some models scale, cap or shift their logits.
        """
        layer = model.get_output_embeddings()
        if not isinstance(layer, torch.nn.Linear) or layer.bias is not None or layer.weight.dtype != torch.float32:
            return None
        tokens = torch.arange(_TRIAL, device=model.device)[None]
        hidden = model.base_model(input_ids=tokens, use_cache=False).last_hidden_state
        same = torch.equal(linear(hidden, layer.weight), model(input_ids=tokens, use_cache=False).logits)
        return cls(layer.weight) if same else None

    def likeliest(self, hidden: Tensor, period: int) -> Tensor:
        """The likeliest token after each of the hidden states, of shape (tokens, hidden size), of a loop.

        Where the bound does not prove the winner, all logits are computed.

        Raises:
            FloatingPointError: some of these are NaN.
        """
        numbers = torch.arange(len(hidden), device=hidden.device)
        before, after, share = _neighbours(numbers, period)
        places, at = torch.unique(torch.cat([before, after]), return_inverse=True)
        count = int(min(LENGTH, SHARE * len(self._weights))) // len(places)
        if count < 2 or len(places) == len(hidden):
            return self._in_full(hidden)
        tops = linear(hidden[places], self._weights).topk(count + 1)
        listed = torch.unique(tops.indices[:, :count])
        (best, second), (chosen, _) = (each.T for each in linear(hidden, self._weights[listed]).topk(2))
        found: Tensor = listed[chosen]
        rest_before, rest_after = tops.values[:, count][at].chunk(2)
        off = (hidden - torch.lerp(hidden[before], hidden[after], share[:, None])).norm(dim=1)
        others = torch.lerp(rest_before, rest_after, share) + self._longest * off
        rounding = self._rounding * hidden.norm(dim=1).max()
        # The winner must beat the runner-up of the list as well: products of a part of the matrix may be rounded
        # differently than those of the whole, so a near tie is decided by all logits, as without the list.
        unproven = ~(best - torch.maximum(second, others) > rounding)
        found[unproven] = self._in_full(hidden[unproven])
        return found

    def _in_full(self, hidden: Tensor) -> Tensor:
        return first_of_largest(linear(hidden, self._weights))


def first_of_largest(logits: Tensor) -> Tensor:
    """What `argmax` over the last dimension gives, the first of equals, but faster on a CPU.

    Raises:
        FloatingPointError: some are NaN, so that none is the largest.
    """
    largest, first = logits.max(-1)
    if largest.isnan().any():
        msg = "logits are NaN; the model's weights or activations are not finite"
        raise FloatingPointError(msg)
    found: Tensor = first
    return found


def _neighbours(numbers: Tensor, period: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each number from 0 on: numbers before and after it, at the same place in the period, and how far between."""
    spacing = -(-SPACING // period) * period
    last = numbers[-1]
    phase = numbers % period
    before = numbers // spacing * spacing + phase
    after = torch.minimum(before + spacing, last - (last - phase) % period)
    return before, after, (numbers - before) / (after - before).clamp(min=1)
