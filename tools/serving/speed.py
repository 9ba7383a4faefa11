"""Tokens per second of several models, in turns."""

import statistics
import time
from collections.abc import Mapping, Sequence

from tools.serving.answers import Served

PROMPT, STEPS, ROUNDS = 128, 24, 5


def speeds(models: Mapping[str, Served], ids: Sequence[int], rounds: int = ROUNDS) -> dict[str, tuple[float, float]]:
    """Name to tokens per second of a prompt of `ids`, logits of each included, and of steps after it; medians.

    Each model has a turn in each round, in an order that is reversed every other round, so that drift falls on all.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for turn in range(rounds):
        for name in sorted(models, reverse=bool(turn % 2)):
            found[name].append(_turn(models[name], ids))
    return {
        name: (statistics.median(prefill for prefill, _ in turns), statistics.median(decode for _, decode in turns))
        for name, turns in found.items()
    }


def _turn(model: Served, ids: Sequence[int]) -> tuple[float, float]:
    began = time.perf_counter()
    token = int(model.read(ids)[-1].argmax())
    between = time.perf_counter()
    for _ in range(STEPS):
        token = int(model.go_on(token).argmax())
    return len(ids) / (between - began), STEPS / (time.perf_counter() - between)
