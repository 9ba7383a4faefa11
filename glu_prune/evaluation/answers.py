"""What was answered, in a form that answers to different items can share, and what always answering one would score.

A model that gives one answer whatever it is asked can score well where the key is unbalanced. Which answer that is, is
taken from what the model really said, so it is no choice made with the key in view.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Choices = Sequence[tuple[str, str]]
"""The (context, continuation) of each choice of an item."""
Scored = Sequence[tuple[str, Mapping[str, Any]]]
"""lm-eval's samples, each with the task (of a group) that it belongs to."""

UNSEEN = "#"
"""Begins an answer that is the place of a choice, where a model cannot see that place: no policy can aim at it."""
_LABEL = re.compile(r"\W*(\w|\d\d)\s*(?:[.):\]]|$)")
"""A letter or number that labels a choice: "B", "(B)", "B. 34"."""
_BETWEEN = r"\W*(?:\w{1,3}\W+)?"
"""What stands between the choices of a list: punctuation, perhaps with a label."""
_LONGEST, _BEGINNING = 60, 40
"""Characters of an answer that is kept as it is, and of the beginning of a longer one."""
_FEW = 20
"""So many answers of the whole task are added to those of each subtask, of which a few items tell little."""
_CHOSEN, _PASSED_OVER = 0.0, -1e6
"""Log-likelihoods of a choice that has all probability, and of the others."""


def labels(choices: Choices) -> tuple[str, ...]:
    """What each choice is called: its label, its place in a list that the context shows, or its text.

    The place alone where choices differ by their contexts, which is marked as unseen.
    """
    contexts = {context for context, _ in choices}
    texts = [text.strip() for _, text in choices]
    if len(contexts) > 1:
        return tuple(f"{UNSEEN}{place}" for place in range(len(choices)))
    named = tuple(found[1].casefold() for text in texts if (found := _LABEL.match(text)))
    if len(set(named)) == len(choices):
        return named
    if len(choices) > 1 and all(texts) and _lists(contexts.pop(), texts):
        return tuple(f"choice {place + 1}" for place in range(len(choices)))
    return tuple(map(_short, texts))


def _lists(context: str, texts: Sequence[str]) -> bool:
    """Whether `texts` stand in the context one after the other."""
    # Most contexts hold no choice at all, and to compile a pattern for each takes longer than to score it.
    return all(text in context for text in texts) and bool(re.search(_BETWEEN.join(map(re.escape, texts)), context))


def _short(text: str) -> str:
    """A text without case and outer punctuation; of a long one the beginning, and a digest of all."""
    plain = re.sub(r"^\W+|\W+$", "", text).casefold() or text.strip()
    if len(plain) <= _LONGEST:
        return plain
    return f"{plain[:_BEGINNING]}... {hashlib.sha256(plain.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Answered:
    """One item: what was answered, and what else could have been."""

    answer: str
    written: str = ""
    """How it was written; empty for a choice."""
    offered: Mapping[str, int] = field(default_factory=dict)
    """Answer to its place among the choices; empty where any text can be said."""
    responses: int = 1
    """How many the task's scoring is given."""

    def otherwise(self, answer: str, written: str) -> list[Any] | None:
        """What the task's scoring is given had the item been answered so; None if it does not offer that."""
        if not self.offered:
            return [written]
        place = self.offered.get(answer)
        return None if place is None else [_likelihood(each == place) for each in range(self.responses)]

    @classmethod
    def of(cls, sample: Mapping[str, Any]) -> "Answered | None":
        """As the task's filter left it; None where nothing is answered, as a text is only scored."""
        responses = sample["filtered_resps"]
        if isinstance(responses[0], str):
            return cls(_short(responses[0]), responses[0])
        asked = [tuple(each[:2]) for each in sample["arguments"]]
        choices = [each for each in asked if each[0]] or asked  # those without context tell how likely a text is alone
        if len(choices) < 2 or not isinstance(responses[0], list | tuple):
            return None
        likelihoods = [each[0] for each in responses[: len(choices)]]
        named = labels(choices)
        offered = {name: named.index(name) for name in named}
        return cls(named[likelihoods.index(max(likelihoods))], offered=offered, responses=len(responses))


def _likelihood(chosen: bool) -> tuple[float, bool]:
    """What a model answers that is sure of one choice."""
    return (_CHOSEN if chosen else _PASSED_OVER), chosen


def constant_scores(tasks: Mapping[str, Any], scored: Scored, items: Sequence[Answered]) -> Iterator[Mapping[str, Any]]:
    """What the task makes of each item, were the commonest answer of its subtask given to all that offer it.

    An item that does not offer it keeps its own answer. Nothing comes where no answer was given twice, or none is
    offered by most items: then there is no such thing as one answer to all.
    """
    constants = _commonest([leaf for leaf, _ in scored], items)
    if not constants:
        return
    for (leaf, sample), item in zip(scored, items, strict=True):
        said = item.otherwise(*constants[leaf])
        yield sample if said is None else tasks[leaf].process_results(sample["doc"], said)


def _commonest(leaves: Sequence[str], items: Sequence[Answered]) -> dict[str, tuple[str, str]]:
    """Subtask to its commonest answer, and how that was written; nothing if no answer could be given to most items."""
    offers = Counter(answer for item in items for answer in item.offered)
    given = Counter(
        item.answer
        for item in items
        if not item.answer.startswith(UNSEEN) and (not offers or 2 * offers[item.answer] > len(items))
    )
    if max(given.values(), default=0) < 2:
        return {}
    expected = {answer: _FEW * count / len(items) for answer, count in given.items()}
    written = {item.answer: item.written for item in reversed(items)}
    found = {}
    for leaf in set(leaves):
        here = Counter(item.answer for place, item in zip(leaves, items, strict=True) if place == leaf)
        best = max(sorted(expected), key=lambda answer: here[answer] + expected[answer])
        found[leaf] = best, written[best]
    return found
