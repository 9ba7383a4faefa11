"""Names of the null models and what each answers; `floors` runs them."""

from collections.abc import Mapping

UNIFORM = "uniform"
UNIGRAM = "unigram"

NULLS: Mapping[str, str] = {
    "empty": "nothing",
    "constant word": 'the word "the"',
    "word loop": 'the word "the", again and again',
    "sentence loop": "one fixed sentence, again and again",
    "lowercase loop": "a phrase in lower case, again and again",
    "majority answer": "the answer that is right most often in this task",
    "echo": "the prompt",
    "echo loop": "the prompt, again and again",
    UNIFORM: "each choice as often as any other",
    "longest answer": "the longest choice",
    "shortest answer": "the shortest choice",
    "majority choice": "the one choice that is right most often, where all items offer the same",
    UNIGRAM: "words by their frequency in these very texts, whatever comes before them",
}
"""Name to answer."""

ECHOES = frozenset({"echo", "echo loop"})
"""Null models that repeat the prompt: not content-free, so no floors, but shown beside them."""


def is_floor(name: str) -> bool:
    """Whether the null model `name` knows nothing of the prompt."""
    return name not in ECHOES


def best_floor(scores: Mapping[str, float], *, higher_is_better: bool) -> tuple[str, float] | None:
    """The content-free null model that does best, and its score; None if there is none."""
    candidates = [(null, score) for null, score in scores.items() if is_floor(null)]
    return (max if higher_is_better else min)(candidates, key=lambda pair: pair[1], default=None)
