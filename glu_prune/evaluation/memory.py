"""How much memory answering takes beside the weights: a bound that follows from the batch size, for any requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TOKENS_PER_SEQUENCE: Mapping[str, int] = {"cpu": 8}
"""By type of device: tokens of a step of scoring, per sequence of the batch size."""
TOKENS_PER_SEQUENCE_ELSEWHERE = 32
_PATH = 1024
"""Tokens of a single request that a step may always compute: a long prompt in many small steps would be slow."""
_STATES = 8
"""Copies of the residual stream, and with `_NEURONS` those of a GLU block's neurons, that a layer holds at once."""
_NEURONS = 4
_MASK = 32
"""Bytes per pair of tokens while a mask is made: distances, positions, booleans and what is added to scores."""
_SPARE = 128
"""Positions of the cache that are kept free; see `decoding`."""
_DRAFT = 257
"""Tokens of the largest draft, with the one before it; see `decoding`."""


def step_tokens(batch_size: int, device: str) -> int:
    """The most tokens of several requests that a step of scoring computes."""
    return batch_size * TOKENS_PER_SEQUENCE.get(device, TOKENS_PER_SEQUENCE_ELSEWHERE)


def path_tokens(batch_size: int, device: str) -> int:
    """The most tokens of a single request that a step of scoring computes."""
    return max(step_tokens(batch_size, device), _PATH)


@dataclass(frozen=True)
class Memory:
    """Upper bounds of the bytes that answering takes beside the weights, for any number of requests.

    Of a Llama-like model with attention that holds no matrix of scores (`sdpa`).
    """

    config: Any
    """Of the model."""
    batch_size: int
    """As given to `SharedPrefixLM`."""
    longest: int
    """Tokens of the longest request, with its continuation or with all that may be generated."""
    device: str = "cpu"
    """Its type."""
    itemsize: int = 4
    """Bytes of a weight."""

    @property
    def scoring(self) -> int:
        """For log-likelihoods: the cache of one path, and activations, logits and mask of one step."""
        row = max(
            step_tokens(self.batch_size, self.device), min(self.longest, path_tokens(self.batch_size, self.device))
        )
        # The cache twice: transformers appends to it by concatenation, and the old one is freed only afterwards.
        return 2 * self.longest * self._cached + row * (self._computed + self._logits + (row + self.longest) * _MASK)

    @property
    def generating(self) -> int:
        """For texts: caches of a batch, twice while rows come and go, activations of its prompts, logits of a draft."""
        tokens = self.batch_size * (self.longest + _SPARE)
        return tokens * (2 * self._cached + self._computed) + max(self.batch_size, _DRAFT) * self._logits

    @property
    def _cached(self) -> int:
        """Of one token, in all layers."""
        size = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
        return int(2 * self.config.num_hidden_layers * self.config.num_key_value_heads * size * self.itemsize)

    @property
    def _computed(self) -> int:
        """Of one token, in one layer."""
        return int((_STATES * self.config.hidden_size + _NEURONS * self.config.intermediate_size) * self.itemsize)

    @property
    def _logits(self) -> int:
        """Of one token: as they are, in float32, and as log-probabilities."""
        return int(self.config.vocab_size * (self.itemsize + 8))
