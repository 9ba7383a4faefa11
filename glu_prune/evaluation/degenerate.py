"""Degenerate text: empty, repeating itself, echoing the prompt, or cut off by the length limit.

Such text can satisfy a checker (a loop of words is long, free of commas, in lower case), so scores are also shown
without it.
"""

from collections.abc import Sequence

NGRAM = 4
"""Words per n-gram, as in Welleck et al. (2019), arXiv:1908.04319, section 6."""
_SHARE = 0.5
"""Share of repeated, or of copied, n-grams from which a text is a loop, or an echo."""
_WORDS = 8
"""Shorter texts are neither loops nor echoes: too few n-grams to tell."""
_LIMIT = 0.95
"""A text of this share of the limit was cut: tokens counted anew in a text can be fewer than were generated."""


def flaws(prompt: str, output: str, tokens: int, limit: int) -> tuple[str, ...]:
    """What is wrong with `output`, the answer to `prompt`, of `tokens` tokens where `limit` were allowed.

    `empty`: nothing but whitespace. `loop`: at least half of its word 4-grams occur in it before. `echo`: at least
    half of its word 4-grams stand in the prompt. `cut`: it reached the length limit.
    """
    # The share of tokens that repeat would call ordinary function words a loop; 4-grams seldom recur in honest text.
    words = output.split()
    if not words:
        return ("empty",)
    found = []
    if len(words) >= _WORDS:
        grams = _ngrams(words)
        if 1 - len(set(grams)) / len(grams) >= _SHARE:
            found.append("loop")
        given = set(_ngrams(prompt.split()))
        if sum(gram in given for gram in grams) / len(grams) >= _SHARE:
            found.append("echo")
    if tokens >= _LIMIT * limit:
        found.append("cut")
    return tuple(found)


def _ngrams(words: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(words[start : start + NGRAM]) for start in range(len(words) - NGRAM + 1)]
