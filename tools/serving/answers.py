"""What a model, judged or served, says of prompts, and how far two models are apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float32]
TEXTS, NEW = 16, 16
"""How many of the prompts, the first, are continued, and with how many tokens."""


class Served(Protocol):
    """A model as an engine runs it."""

    def encode(self, text: str) -> list[int] | None:
        """Token ids of a text, where the engine has a tokenizer of its own."""

    def read(self, ids: Sequence[int]) -> Floats:
        """Logits `(tokens, vocabulary)` after each token of a prompt, the first of a new text."""

    def go_on(self, token: int) -> Floats:
        """Logits `(vocabulary,)` after one more token of the same text."""


@dataclass(frozen=True)
class Answers:
    """Of some prompts."""

    logprobs: Floats
    """`(positions,)`, nats: of each token of each prompt but its first, given those before."""
    first: npt.NDArray[np.int64]
    """`(positions,)`: the most probable token at the same places."""
    texts: npt.NDArray[np.int64]
    """`(TEXTS, NEW)`: tokens of greedy continuations."""


@dataclass(frozen=True)
class Distance:
    """How far a served model is from the judged one."""

    positions: int
    mean: float
    """Of the absolute differences of log-probabilities, nats."""
    largest: float
    same_first: float
    """Share of places with the same most probable token."""
    same_texts: float
    """Share of continuations of which all tokens are the same."""


def answers(model: Served, prompts: Sequence[Sequence[int]]) -> Answers:
    """What `model` says of `prompts`."""
    logprobs, first, texts = [], [], []
    for number, ids in enumerate(prompts):
        logits = model.read(ids)
        before = logits[:-1]
        top = before.max(axis=1)
        # The sum over a vocabulary is taken in float64, so that it adds no error of its own.
        total = top + np.log(np.exp(before - top[:, None]).sum(axis=1, dtype=np.float64))
        logprobs.append(before[np.arange(len(ids) - 1), list(ids[1:])] - total)
        first.append(before.argmax(axis=1))
        if number < TEXTS:
            texts.append(_greedy(model, logits[-1]))
    return Answers(np.concatenate(logprobs).astype(np.float32), np.concatenate(first), np.array(texts))


def _greedy(model: Served, logits: Floats) -> list[int]:
    said = [int(logits.argmax())]
    while len(said) < NEW:
        said.append(int(model.go_on(said[-1]).argmax()))
    return said


def distance(judged: Answers, served: Answers) -> Distance:
    """How far `served` is from `judged`; both are of the same prompts."""
    apart = np.abs(judged.logprobs - served.logprobs)
    return Distance(
        len(apart),
        float(apart.mean()),
        float(apart.max()),
        float((judged.first == served.first).mean()),
        float((judged.texts == served.texts).all(axis=1).mean()),
    )
