"""Greedy decoding of many prompts at once, as fast as the products with the weights allow.

Each step computes some tokens of every text: the next one, and guesses of those after it, which the same pass verifies
(speculative decoding: Leviathan et al. 2023, arXiv:2211.17192). Only tokens that the model itself would have chosen are
accepted, so the text is the same as from decoding token by token.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice, takewhile
from operator import eq
from typing import Any

import torch

from glu_prune.evaluation.guessing import Echo, Odds
from glu_prune.evaluation.memory import STEP_TOKENS, texts_that_fit
from glu_prune.evaluation.products import even, likeliest, weights_on_the_left
from glu_prune.evaluation.slots import Piece, Slots, Step, attention_over_slots
from glu_prune.evaluation.stopping import StopCriteria

GUESS_COST = 0.7
"""What a guess adds to a step, as a share of what each of very many texts takes of it."""
STEP_COST: Mapping[str, float] = {"cpu": 8.0}
"""By type of device: what a step takes however little it computes, as so many texts' shares of a large one."""
STEP_COST_ELSEWHERE = 256.0
_FREE = 0.25
"""Of that cost, what a guess takes that fills a step up to an even number of tokens: attention."""
SHARED_TOKENS = 16
"""A prompt that begins with as many tokens of another waits until these are computed, and copies what came of them."""


@dataclass
class Generation:
    """A prompt and the tokens generated after it."""

    prompt: Sequence[int]
    limit: int
    """The most tokens to generate."""
    ending: StopCriteria
    generated: list[int] = field(default_factory=list)
    finished: bool = False
    near_tie: bool = False
    """Whether some of its tokens could be another one where arithmetic rounds otherwise."""

    def append_token(self, token: int, *, near_tie: bool = False) -> None:
        """Adds the next token to a text that is not finished."""
        self.generated.append(token)
        self.near_tie |= near_tie
        self.finished = len(self.generated) == self.limit or self.ending.reached(self.generated)


class _Row:
    """A text that is being written, in the slot of its number."""

    def __init__(self, generation: Generation) -> None:
        self.generation = generation
        self.text = Echo(generation.prompt)
        self.stored = 0
        """Tokens of which the slot has keys and values."""
        self.leader: _Row | None = None
        """The text with the same beginning, while that is not copied yet."""
        self.shared = 0
        """Tokens of that beginning."""
        self.entered: list[int] = []
        """Tokens that the next step computes: missing ones of the text, then guesses."""
        self.guesses: list[int] = []

    @property
    def missing(self) -> int:
        """Tokens of the text without keys and values; 1 once the prompt is read."""
        return len(self.text.tokens) - self.stored

    @property
    def is_read(self) -> bool:
        """Whether the next step computes all that is missing, so that it tells the next token."""
        return len(self.entered) - len(self.guesses) == self.missing

    def follow(self, others: Iterable["_Row"]) -> None:
        """Waits for the one of `others` that begins with most of this prompt's tokens, if these are enough."""
        for other in others:
            shared = _common(self.generation.prompt[:-1], other.generation.prompt)
            if shared >= max(SHARED_TOKENS, self.shared + 1):
                self.leader, self.shared = other, shared

    def enter(self, most: int) -> None:
        """The next step computes the next `most` of the missing tokens."""
        self.guesses = []
        self.entered = [] if self.leader else self.text.tokens[self.stored : self.stored + most]

    def accept(self, choices: Sequence[tuple[int, bool]], odds: Odds) -> None:
        """Takes what is right of the guesses; `choices` are the model's before, between and after them.

        Each is a token, and whether it is a near tie.
        """
        # As long as guess and choice agree, what stands before the next choice is what greedy decoding would have put
        # there, so that choice is exact as well: one more token than agreed can be taken.
        agreed = sum(takewhile(bool, map(eq, self.guesses, (token for token, _ in choices))))
        odds.learn(self.text.agreed, agreed, len(self.guesses))
        self.stored = len(self.text.tokens) + agreed
        for token, near_tie in choices[: agreed + 1]:
            self.generation.append_token(token, near_tie=near_tie)
            self.text.append(token)
            if self.generation.finished:
                return


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Decoder:
    """Generates greedily after prompts, at most `batch_size` texts at a time; see `memory.Memory.generating`."""

    def __init__(
        self,
        model: Any,
        batch_size: int,
        finished: Callable[[int], None] = lambda _: None,
        keep: Callable[[Generation], None] = lambda _: None,
    ) -> None:
        """Decodes with `model` on the device where it is.

        `finished` is told how many texts are, after every step; `keep` is given each as soon as it is.
        """
        self._model = model
        self._batch_size = batch_size
        self._finished = finished
        self._keep = keep
        self._odds = Odds()
        self.positions = 0
        """Token positions computed, rejected guesses included."""

    @torch.inference_mode()
    def run(self, generations: Iterable[Generation]) -> None:
        """Generates the text of all `generations`, in place."""
        # Longest prompts first: those that are read together are of similar length then.
        waiting = sorted(generations, key=lambda each: len(each.prompt))
        capacity = max((len(each.prompt) + each.limit for each in waiting), default=0)
        slots = Slots(min(texts_that_fit(self._model, self._batch_size, capacity), len(waiting)), capacity)
        rows: list[_Row] = []
        every = len(waiting)
        with attention_over_slots(self._model), weights_on_the_left(self._model):
            while waiting or rows:
                for _ in range(min(slots.count - len(rows), len(waiting))):
                    row = _Row(waiting.pop())
                    row.follow(rows)
                    rows.append(row)
                self._choose(rows)
                self._compute(slots, rows)
                self._tidy(slots, rows)
                self._finished(every - len(waiting) - len(rows))

    def _choose(self, rows: Sequence[_Row]) -> None:
        """Chooses the tokens of a step: of each text the next, then more of prompts, then guesses."""
        room = STEP_TOKENS
        for row in rows:
            row.enter(1 if row.missing == 1 else room)
            room -= len(row.entered) if row.missing > 1 else 0
        read = [row for row in rows if row.is_read]
        for row, count in zip(read, self._worthwhile(read, sum(len(row.entered) for row in rows), room), strict=True):
            row.guesses = row.text.guess(count)
            row.entered += row.guesses

    def _worthwhile(self, rows: Sequence[_Row], computed: int, room: int) -> list[int]:
        """How many tokens to guess after each of `rows`, at most `room`, where `computed` are computed anyway.

        The likeliest come first. A product takes as long for a few tokens as for the even number that they are filled
        up to; so what fills a step is almost free, and beyond it, the next that fill it anew have to pay together.
        """
        counts = [0] * len(rows)
        fixed = STEP_COST.get(self._model.device.type, STEP_COST_ELSEWHERE)
        cost = GUESS_COST / (1 + fixed / max(1, len(rows)))
        every = merge(
            *(self._odds_after(number, row, room, cost * _FREE) for number, row in enumerate(rows)), reverse=True
        )
        while room:
            free = even(computed) - computed
            more = free or even(computed + 1) - computed
            wanted = list(islice(every, min(room, more)))
            if not wanted or (not free and sum(odds for odds, _ in wanted) < cost * more):
                break
            for _, number in wanted:
                counts[number] += 1
            computed += len(wanted)
            room -= len(wanted)
        return counts

    def _odds_after(self, number: int, row: _Row, most: int, least: float) -> Iterator[tuple[float, int]]:
        """Odds of guesses after a row, each with the row's number, as long as they are at least `least`."""
        left = row.generation.limit - len(row.generation.generated) - 1
        every = ((odds, number) for odds in self._odds.further(row.text.agreed, min(left, most)))
        return takewhile(lambda each: each[0] >= least, every)

    def _compute(self, slots: Slots, rows: Sequence[_Row]) -> None:
        """Computes the tokens of a step, and appends what the model says next to those texts that are read."""
        entering = {number: row for number, row in enumerate(rows) if row.entered}
        pieces = [Piece(number, row.stored, len(row.entered)) for number, row in entering.items()]
        step = Step(slots, pieces, self._model.device)
        kept: list[int] = []
        end = 0
        for row in entering.values():
            end += len(row.entered)
            if row.is_read:
                kept += range(end - len(row.guesses) - 1, end)
        choices = self._choices([token for row in entering.values() for token in row.entered], step, kept)
        for row in entering.values():
            if row.is_read:
                row.accept(list(islice(choices, len(row.guesses) + 1)), self._odds)
            else:
                row.stored += len(row.entered)

    def _choices(self, tokens: list[int], step: Step, kept: list[int]) -> Iterator[tuple[int, bool]]:
        """The likeliest token after each of the `kept` ones of a step's tokens, and whether it is a near tie."""
        self.positions += len(tokens)
        device = self._model.device
        logits = self._model(
            input_ids=torch.tensor([tokens], device=device),
            position_ids=step.positions[None],
            use_cache=False,
            logits_to_keep=torch.tensor(kept, dtype=torch.long, device=device),
            step=step,
        ).logits[0]
        chosen, near_ties = likeliest(logits, self._model.dtype)
        return zip(chosen.tolist(), near_ties.tolist(), strict=True)

    def _tidy(self, slots: Slots, rows: list[_Row]) -> None:
        """Copies beginnings that are computed, and gives the slots of finished texts to the last ones."""
        for number, row in enumerate(rows):
            if row.leader and row.leader.stored >= row.shared:
                slots.copy(rows.index(row.leader), number, row.shared)
                row.leader, row.stored = None, row.shared
        for number in reversed(range(len(rows))):  # so that slots in use stay side by side
            if rows[number].generation.finished:
                self._keep(rows[number].generation)
                last = rows.pop()
                if number < len(rows):
                    slots.copy(len(rows), number, last.stored)
                    rows[number] = last
