"""Null models, which answer without knowing anything: ordinary lm-eval models, so ordinary tasks can score them.

Writers reply with text that ignores the question, or, as echoes, with the question itself; choosers prefer answers for
reasons other than their content; `Unigram` knows how often words occur.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, ClassVar

from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.chat import ChatTemplate

ReplyRule = Callable[[str, int], str]
"""(prompt, number of words) -> reply of at most so many words."""
Preference = Callable[[int, Sequence[tuple[str, str]]], Sequence[int]]
"""(number of the item, its choices as (context, continuation)) -> the choices' indices, the most preferred first."""

_WORD = re.compile(r"\s*\S+|\s+$")
"""A word with the white space before it; the words of a text, joined, are the text."""
_UNLIKELIER = -1e6
"""Nats from one preference to the next: so many that probability 0 is left, even for a mean over a long answer."""


class NullModel(LM):  # type: ignore[misc]
    """A model that computes nothing; each kind refuses the requests that it cannot answer."""

    content_free = True
    items = 0
    positions = 0
    scored_positions = 0
    scoring_facts: ClassVar[Mapping[str, str | int]] = {}
    truncated = ()
    near_ties = ()
    max_gen_toks = 256
    chat: ChatTemplate | None = None
    """The chat template of the model that it stands in for."""

    @property
    def tokenizer_name(self) -> str:
        """That of the model that it stands in for."""
        return self.chat.name if self.chat else ""

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """As the model that it stands in for does."""
        if self.chat is None:
            msg = "a null model was to put prompts into a chat template, but stands in for no model that has one"
            raise EvaluationError(msg)
        return self.chat.apply(chat_history, add_generation_prompt)

    def reset_counters(self) -> None:
        """Does nothing: there are no counters."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Words, because there is no tokenizer."""
        return [len(text.split()) for text in texts]

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Refuses."""
        raise self._unfit(requests)

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Refuses."""
        raise self._unfit(requests)

    def generate_until(self, requests: list[Any]) -> list[str]:
        """Refuses."""
        raise self._unfit(requests)

    def _unfit(self, requests: list[Any]) -> EvaluationError:
        wanted = requests[0].request_type
        return EvaluationError(
            f"{requests[0].task_name} asks for {wanted}, which {type(self).__name__} cannot give; use a null that can"
        )


class Writer(NullModel):
    """Replies by a rule; the task's stop strings and number of tokens (here: words) end a reply, as with any model."""

    def __init__(self, write: ReplyRule) -> None:
        super().__init__()
        self._write = write

    def generate_until(self, requests: list[Any]) -> list[str]:
        """One reply per (prompt, settings)."""
        return [self._reply(*request.args) for request in requests]

    def _reply(self, prompt: str, settings: dict[str, Any]) -> str:
        limits = normalize_gen_kwargs(settings)
        words: int = limits["max_gen_toks"]
        reply = "".join(_WORD.findall(self._write(prompt, words))[:words])
        for stop in filter(None, limits["until"]):
            reply = reply.split(stop)[0]
        return reply


def repeat_text(text: str, words: int) -> str:
    """Whole repetitions of `text`, as many as fit into a number of words."""
    return text * max(1, words // max(1, len(text.split())))


class Chooser(NullModel):
    """Ranks choices by a rule: the first has log-likelihood 0, every further one a lower one than the last."""

    def __init__(self, prefer: Preference) -> None:
        super().__init__()
        self._prefer = prefer

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """One answer per (context, continuation), in the order of the requests."""
        answers: list[tuple[float, bool]] = []
        for number, choices in enumerate(choices_by_item(requests)):
            order = self._prefer(number, choices)
            answers += [(_UNLIKELIER * order.index(index), False) for index in range(len(choices))]
        return answers


def choices_by_item(requests: Iterable[Any]) -> Iterator[list[tuple[str, str]]]:
    """The (context, continuation) pairs of each item; lm-eval keeps them together."""
    for _, group in groupby(requests, key=lambda request: (request.task_name, request.doc_id)):
        yield [request.args for request in group]


def rotate_choices(turn: int) -> Preference:
    """Prefers choice number `turn` of each item: averaged over as many turns as there are choices, uniform guessing."""
    # A metric may look at some of the choices only (MC1 of a list made for MC2), and the preferred one may not be among
    # them. So the order of the others matters as well: it runs through all permutations from item to item, the second
    # preference changing fastest, so that every subset of the choices is guessed uniformly, too.

    def prefer(number: int, choices: Sequence[tuple[str, str]]) -> list[int]:
        others = [(turn + step) % len(choices) for step in range(len(choices))]
        order = [others.pop(0)]
        while others:
            number, pick = divmod(number, len(others))
            order.append(others.pop(pick))
        return order

    return prefer


def length_preference(sign: int, turn: int) -> Preference:
    """Prefers the shortest text (`sign` 1) or the longest (-1), context included: WinoGrande's choices lie in it."""
    # Ties are rotated: the first of them would be a fixed position, which no model can see, and in TruthfulQA the first
    # choice is always the right one.
    guessed = rotate_choices(turn)

    def prefer(number: int, choices: Sequence[tuple[str, str]]) -> list[int]:
        return sorted(guessed(number, choices), key=lambda index: sign * sum(map(len, choices[index])))

    return prefer


def constant_preference(answer: str) -> Preference:
    """Prefers the choice that reads `answer`."""

    def prefer(_: int, choices: Sequence[tuple[str, str]]) -> list[int]:
        return sorted(range(len(choices)), key=lambda index: choices[index][1] != answer)

    return prefer


class Unigram(NullModel):
    """Knows how often each word occurs in the very texts that it scores: the best that frequency alone can do."""

    # Fitted to the test texts on purpose: maximum likelihood makes it an upper bound of all models that ignore context.

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """Of the continuations; greedy, one repeats the most frequent word."""
        texts = [_WORD.findall(continuation) for _, continuation in (request.args for request in requests)]
        ((top, _),) = Counter(word for text in texts for word in text).most_common(1)
        return [(likelihood, set(text) <= {top}) for likelihood, text in zip(_unigram(texts), texts, strict=True)]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """Of the whole texts."""
        return _unigram([_WORD.findall(text) for (text,) in (request.args for request in requests)])


def _unigram(texts: Sequence[Sequence[str]]) -> list[float]:
    counts = Counter(word for text in texts for word in text)
    total = counts.total()
    return [math.fsum(math.log(counts[word] / total) for word in text) for text in texts]
