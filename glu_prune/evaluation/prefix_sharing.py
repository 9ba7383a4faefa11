"""Which models can share prefixes: what is known of their types, the masks they need, and requests to try them on."""

import random
from collections.abc import Iterator, Mapping
from itertools import cycle
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from glu_prune.evaluation.prefixes import EncodedRequest, Step

_ONE_MASK = frozenset({"llama", "mistral", "olmo2", "phi3"})
"""Model types with one mask for all layers, with `sliding_window` if the configuration has one."""
_MASK_BY_LAYER_TYPE = frozenset({"gemma2", "gemma3_text", "gpt_oss", "qwen2", "qwen3", "smollm3"})
"""Model types that take a mask for each of `layer_types`."""
_LAYER_TYPES = frozenset({"full_attention", "sliding_attention"})
_ATTENTION = frozenset({"eager", "sdpa"})
"""Implementations of attention that take any mask."""
_ROPE_TYPES = frozenset({"default", "linear", "llama3", "yarn"})
"""Those that depend on a token's position alone; dynamic and longrope also depend on the length of the whole input, so
that the same prefix has other keys in a longer request."""

_TOLERANCE = 1e-3
"""By how many nats a log-likelihood may change in float32."""
_TOLERANCE_PER_TOKEN = 0.05
"""By how many nats per token log-likelihoods may change on average in half precision, which rounds far more."""
TRIAL_ROW = 24
"""Tokens of a step in the trial: few, so that a handful of requests needs several steps and the cache between them."""


TRIAL_ERRORS = (RuntimeError, TypeError, ValueError, LookupError, AttributeError)
"""What a model raises in a trial if it cannot be run in that way at all."""


def sharing_obstacle(config: Any) -> str | None:
    """Why prefixes cannot be shared in a model of this configuration; None if nothing is known that prevents it."""
    # A list of what is proven, not of what is forbidden: an unknown architecture may carry state from token to token
    # in ways that no mask controls (recurrence, convolutions), and would be scored wrongly without any error.
    if config.model_type not in _ONE_MASK | _MASK_BY_LAYER_TYPE:
        return f"sharing is not proven for models of type {config.model_type}"
    if others := set(getattr(config, "layer_types", None) or ()) - _LAYER_TYPES:
        return f"layers of type {', '.join(sorted(others))}"
    if others := set(_rope_types(config.rope_parameters)) - _ROPE_TYPES:
        return f"{', '.join(sorted(others))} RoPE"
    if config._attn_implementation not in _ATTENTION:
        return f"{config._attn_implementation} attention takes no mask"
    return None


def _rope_types(parameters: Mapping[str, Any]) -> Iterator[str]:
    """The types of rotary embedding in a configuration, which may have one for each type of layer."""
    if "rope_type" in parameters:
        yield parameters["rope_type"]
    for each in parameters.values():
        if isinstance(each, Mapping):
            yield from _rope_types(each)


def attention_masks(
    step: Step, config: Any, dtype: torch.dtype, device: torch.device
) -> torch.Tensor | dict[str, torch.Tensor]:
    """The additive mask `(1, 1, tokens, cached + tokens)` of a step; one per type of layer, if there are several."""
    before = np.ones((len(step.tokens), step.base), dtype=bool)
    visible = torch.from_numpy(np.hstack([before, step.visible()]))
    # A sliding window counts positions along a path, not places in the row, because siblings share positions.
    depths = torch.from_numpy(np.concatenate([np.arange(step.base), step.positions]))
    distance = depths[step.base :, None] - depths
    window = getattr(config, "sliding_window", None)
    near = visible & (distance < window) if window else visible

    def additive(seen: torch.Tensor) -> torch.Tensor:
        # The smallest number and not minus infinity, as in transformers' own masks, so that sums stay finite.
        mask = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)
        return mask[None, None].to(device)

    if config.model_type in _ONE_MASK:
        return additive(near)
    return {kind: additive(near if kind == "sliding_attention" else visible) for kind in set(config.layer_types)}


def trial_requests(vocabulary: int, max_length: int) -> list[EncodedRequest]:
    """Random requests: alike in part, in whole, and not at all; short, and longer than a step."""
    draw = random.Random(0)
    unit = max(1, min(TRIAL_ROW, max_length) // 4)

    def tokens(count: int) -> list[int]:
        return draw.choices(range(vocabulary), k=count)

    stem, answer = tokens(3 * unit), tokens(unit)
    contexts = [stem, stem, [*stem, *answer], [*stem, *tokens(unit)], [*stem, *tokens(unit)], tokens(1), tokens(unit)]
    pairs: list[EncodedRequest] = [
        (context, tokens(count)) for context, count in zip(contexts, cycle((1, unit)), strict=False)
    ]
    return [*pairs, (stem, answer), (stem[:unit], stem[unit:])]


def too_far(differences: NDArray[np.float64], tokens: int, dtype: torch.dtype) -> str | None:
    """How far log-likelihoods of `tokens` tokens in all are apart, in nats; None if that is rounding alone."""
    if dtype in (torch.float32, torch.float64):
        off, allowed = differences.max(), _TOLERANCE
    else:
        off, allowed = differences.sum() / tokens, _TOLERANCE_PER_TOKEN
    # Not `off > allowed`, which values that are not numbers would pass.
    return None if off <= allowed else f"log-likelihoods by {off:.2g} nats"
