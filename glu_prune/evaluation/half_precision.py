"""Whether a processor computes a model faster in 16 bits, and whether the model then still says the same."""

import json
import timeit
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from glu_prune.evaluation.third_party import muted
from glu_prune.models.dtypes import EXACT, HALF
from glu_prune.models.source import ModelSource, has_tokenizer, load_model, load_tokenizer

WORTHWHILE = 0.8
"""Of float32's time: what takes longer is not worth its rounding."""
NATS_PER_TOKEN = 0.05
"""By how much the log-likelihood of a token may change on average."""
NATS_OF_CHOICE = 0.2
"""Another token may be the likeliest only if float32 holds it less likely than its own by at most so much."""

_PROMPTS = 8
_TOKENS = 64
"""Of each prompt, at the most."""
_TEXTS = Path(__file__).parent / "tasks" / "data" / "stories.jsonl"


@dataclass(frozen=True)
class Choice:
    """A data type, and why it was taken."""

    dtype: str
    why: str


@dataclass(frozen=True)
class _Said:
    """What a model predicts along a prompt, at each token but the last."""

    likeliest: torch.Tensor
    """`(tokens - 1,)`: ids."""
    next: torch.Tensor
    """`(tokens - 1,)`: log-likelihoods in nats of the tokens that follow."""


def seconds_of_product(dtype: str) -> float:
    """Seconds that `(128, 1024) x (1024, 1024)` takes on this processor, the shortest of several."""
    one, other = (torch.ones(rows, 1024, dtype=getattr(torch, dtype)) for rows in (128, 1024))
    return min(timeit.repeat(lambda: torch.nn.functional.linear(one, other), number=1, repeat=8))


def choose(source: ModelSource, attention: str = "") -> Choice:
    """The fastest data type on this processor in which the dense model says what it says in float32.

    Compared are the likeliest tokens and the log-likelihoods of the tokens that follow, on the beginnings of a few of
    the embedded texts, or on random tokens where there is no tokenizer. The model is loaded only if 16 bits are faster.

    Raises:
        CheckpointError: the model cannot be loaded.
    """
    exact = seconds_of_product(EXACT)
    shares = {dtype: seconds_of_product(dtype) / exact for dtype in HALF}
    against = []
    for dtype, share in sorted(shares.items(), key=lambda each: each[1]):
        took = f"{dtype} takes {share:.2g} times as long as {EXACT}"
        if share > WORTHWHILE:
            against.append(took)
        elif differs := difference(source, dtype, attention):
            against.append(f"{dtype} {differs}")
        else:
            return Choice(dtype, f"{took}, and says the same within {NATS_PER_TOKEN} nats per token")
    return Choice(EXACT, "; ".join(against))


def difference(source: ModelSource, dtype: str, attention: str = "") -> str:
    """How the model says something else in `dtype` than in float32; empty if it does not, within the bounds above.

    Raises:
        CheckpointError: the model cannot be loaded.
    """
    with muted():
        prompts = list(_prompts(source))
        rounded = list(_said(load_model(source, dtype, "cpu", attention=attention), prompts))
        model = load_model(source, EXACT, "cpu", attention=attention)
        found = [_compared(model, *each) for each in zip(prompts, rounded, strict=True)]
    off, lost = (torch.cat(each) for each in zip(*found, strict=True))
    mean, others = float(off.mean()), int((~(lost <= NATS_OF_CHOICE)).sum())
    if others:
        return f"changes the likeliest of {others} of {len(lost)} tokens, by more than {NATS_OF_CHOICE} nats"
    # Not `mean > ...`, which values that are not numbers would pass.
    return "" if mean <= NATS_PER_TOKEN else f"changes log-likelihoods by {mean:.2g} nats per token"


def _compared(model: Any, prompt: Sequence[int], rounded: _Said) -> tuple[torch.Tensor, torch.Tensor]:
    """(tokens - 1,) each, in nats: changes of log-likelihoods, and how much less likely other likeliest tokens are."""
    exact = _log_probabilities(model, prompt)
    lost = exact.amax(-1) - _at(exact, rounded.likeliest)
    return (_at(exact, torch.tensor(prompt[1:])) - rounded.next).abs(), lost


def _said(model: Any, prompts: Sequence[Sequence[int]]) -> Iterator[_Said]:
    for prompt in prompts:
        found = _log_probabilities(model, prompt)
        yield _Said(found.argmax(-1), _at(found, torch.tensor(prompt[1:])))


@torch.inference_mode()
def _log_probabilities(model: Any, prompt: Sequence[int]) -> torch.Tensor:
    """(tokens - 1, vocabulary), in float32."""
    logits = model(input_ids=torch.tensor([prompt]), use_cache=False).logits[0, :-1]
    return torch.log_softmax(logits, dim=-1, dtype=torch.float32)


def _at(found: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    return found.gather(-1, tokens[:, None])[:, 0]


def _prompts(source: ModelSource) -> Iterator[list[int]]:
    """Token ids of a few texts: the same at every call."""
    config = source.format.read_config(source.folder).get_text_config()
    longest = min(_TOKENS, getattr(config, "max_position_embeddings", None) or _TOKENS)
    if not has_tokenizer(source):
        drawn = torch.randint(config.vocab_size, (_PROMPTS, longest), generator=torch.Generator().manual_seed(0))
        yield from drawn.tolist()
        return
    tokenizer = load_tokenizer(source)
    with _TEXTS.open(encoding="utf-8") as lines:
        for line in islice(lines, _PROMPTS):
            yield tokenizer(json.loads(line)["text"])["input_ids"][:longest]
