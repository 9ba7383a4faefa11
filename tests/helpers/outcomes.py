"""Outcomes of made values."""

import hashlib
from collections.abc import Sequence

from glu_prune.baseline.outcome import About, Outcome
from glu_prune.evaluation.metrics import aggregate


def made(
    values: Sequence[float],
    items: Sequence[str] | None = None,
    weights: Sequence[float] | None = None,
    clusters: Sequence[str] | None = None,
    **about: object,
) -> Outcome:
    """An outcome whose score is that of its items."""
    weights = tuple(weights or (1.0,) * len(values))
    said = {"model": "./m", "arm": "dense", "capability": "facts", "task": "t", "metric": "acc", "higher_is_better": True, **about}  # fmt: skip
    score = aggregate(said["metric"], values, weights)
    items = tuple(items or names(len(values)))
    return Outcome(About(score=score, n=len(items), **said), items, tuple(values), weights, clusters and tuple(clusters))  # fmt: skip


def names(count: int) -> list[str]:
    return [hashlib.sha256(str(index).encode()).hexdigest()[:16] for index in range(count)]
