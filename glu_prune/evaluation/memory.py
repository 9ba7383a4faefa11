"""How much memory answering takes beside the weights: a bound that follows from the batch size, for any requests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
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
STEP_TOKENS = 512
"""Tokens that a step of writing texts computes, at most, beside one of each text."""
_SHARE = 0.8
"""Of the memory that is free, what keys and values of texts may take."""


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
        """For texts: keys and values of a batch, and activations, logits and masks of one step."""
        row = STEP_TOKENS + self.batch_size
        return self.batch_size * self.slot + row * (self._computed + self._logits + self.longest * _MASK)

    @property
    def slot(self) -> int:
        """Of the keys and values of one text."""
        return self.longest * self._cached

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


def texts_that_fit(model: Any, batch_size: int, longest: int) -> int:
    """How many texts of `longest` tokens can be written at once, at most `batch_size`, in the memory that is free."""
    memory = Memory(model.config, batch_size, longest, model.device.type, model.dtype.itemsize)
    return max(1, min(batch_size, int(_SHARE * free_memory(str(model.device)) // max(1, memory.slot))))


def free_memory(device: str) -> int:
    """Bytes that are free on `device`; of a processor, as far as this process may use them.

    Raises:
        RuntimeError, AssertionError: torch cannot use it.
    """
    import psutil
    import torch

    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    return min((free, *_container()))


def _container(group: Path = Path("/sys/fs/cgroup")) -> tuple[int, ...]:
    """What a container still has of its memory, which the system's own figures do not tell; nothing without a limit."""
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:
        return ()
    cached = int(counts.get("inactive_file", 0))  # given back as soon as it is wanted
    return (int(limit) - int(used) + cached,) if limit.isdecimal() else ()
