"""What is kept out of the training text: decided by hashing the prompt, so that no list has to be carried around."""

import hashlib
from typing import TypeVar

T = TypeVar("T")

HELD_OUT_ONE_IN = 16
"""One prompt in this many belongs to the examination and never to training."""


def digest(text: str) -> int:
    """A 64-bit hash of `text` that is the same on every machine and in every process."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def held_out(prompt: str) -> bool:
    """Whether `prompt` is reserved for the examination."""
    return digest(prompt) % HELD_OUT_ONE_IN == 0


def split_forms(key: str, forms: tuple[T, ...]) -> tuple[T, tuple[T, ...]]:
    """Divides the ways to ask one thing into (the one reserved for the examination, those for training).

    `key` names the thing asked, so each thing has its own reserved form and every form is trained on for other things.
    """
    reserved = digest(key) % len(forms)
    return forms[reserved], forms[:reserved] + forms[reserved + 1 :]
