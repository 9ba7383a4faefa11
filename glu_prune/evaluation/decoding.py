"""Greedy decoding of many prompts: rows leave a batch when they are done, and loops are followed many tokens at a time.

What a language model says when it takes the likeliest token again and again often ends in a loop. Going on with the
loop is a guess at the tokens to come that costs nothing; one forward pass over the guess says how much of it is what
the model would have said (speculative decoding: Leviathan et al. 2023, arXiv:2211.17192; guessing from the text itself:
Saxena 2023, prompt lookup decoding). What is accepted is what token by token decoding gives.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import takewhile
from operator import eq
from typing import Any

import torch
from torch.nn.functional import pad
from transformers.cache_utils import Cache, DynamicLayer

from glu_prune.evaluation.shortlist import OutputLayer, first_of_largest

CHECKED_EVERY = 2
"""Tokens of a row between two looks for a loop."""
LOOP = 4
"""Tokens that must have come again before a row counts as looping; twice as many after a loop that soon ended."""
LONGEST_LOOK = 512
"""Tokens in which a loop is looked for, so that its period is at most half of that."""
WORTH = 32
"""Tokens that a loop must have gone on for to have been worth following."""
DRAFTS = (64, 256)
"""Tokens of the first guess in a loop, and of the largest: a guess that holds is followed by one twice as long."""
SPARE = 64
"""Positions for which there is room behind the keys and values of a batch when they are copied."""
ROOM = 0.25
"""The part of a batch that must be over before its rows are dropped, and free before rows that wait are admitted."""

_HARMLESS = frozenset(
    "max_length min_p top_h top_k top_p temperature typical_p epsilon_cutoff eta_cutoff do_sample use_cache"
    " cache_implementation bos_token_id eos_token_id pad_token_id transformers_version _from_model_config".split()
)
"""Settings of generation that lm-eval overrides, that matter to sampling only, or that do not change what is said."""
_NEUTRAL: Mapping[str, Any] = {"num_beams": 1, "repetition_penalty": 1.0, "num_return_sequences": 1}


def obstacle(config: Any) -> str | None:
    """Why the likeliest tokens are not what a model with this generation configuration says; None if they are."""
    changed = [
        name
        for name, value in config.to_diff_dict().items()
        if value and name not in _HARMLESS and _NEUTRAL.get(name) != value
    ]
    return f"the generation configuration sets {', '.join(sorted(changed))}" if changed else None


@dataclass(frozen=True)
class Ending:
    """What ends the text of a row."""

    tokenizer: Any
    stops: tuple[tuple[str, int], ...]
    """Strings, and among how many of the last tokens each is looked for."""
    closing: frozenset[int]
    """Tokens without one of which a text holds none of the strings."""
    eos: frozenset[int]
    """Tokens that end the text by themselves."""

    def reached(self, said: Sequence[int]) -> bool:
        """Whether the last of the tokens `said` ends the text, if none before it did."""
        return said[-1] in self.eos or any(
            not self.closing.isdisjoint(said[-look:]) and string in self.tokenizer.decode(said[-look:])
            for string, look in self.stops
        )


@lru_cache(maxsize=16)
def ending(tokenizer: Any, stops: tuple[str, ...], eos: frozenset[int]) -> Ending:
    """The ending that lm-eval's `MultiTokenEOSCriteria` and the tokens `eos` give to one row.

    A text is decoded only if one of its tokens may hold the last character of a string. What a token holds is taken
    from the token said twice, as decoders drop what a text begins with: the space of SentencePiece. A token that is not
    whole UTF-8 may hold any character, and where decoding rewrites spaces, or a string is empty, any token may.
    """
    looks = tuple((string, len(tokenizer.encode(string, add_special_tokens=False)) + 2) for string in stops)
    ids = sorted(tokenizer.get_vocab().values())
    ends = {string[-1:] for string in stops} | {"\N{REPLACEMENT CHARACTER}"}
    if "" in ends or tokenizer.clean_up_tokenization_spaces:
        return Ending(tokenizer, looks, frozenset(ids), eos)
    texts = tokenizer.batch_decode([[token, token] for token in ids])
    closing = frozenset(token for token, text in zip(ids, texts, strict=True) if any(end in text for end in ends))
    return Ending(tokenizer, looks, closing, eos)


@dataclass
class Row:
    """A prompt and what the model says after it."""

    prompt: Sequence[int]
    limit: int
    """The most tokens to say."""
    ending: Ending
    said: list[int] = field(default_factory=list)
    bar: int = field(default_factory=lambda: LOOP)
    """Tokens that must have come again before the row counts as looping."""
    over: bool = False

    def say(self, token: int) -> None:
        """Adds the next token, of a row that is not over."""
        self.said.append(token)
        self.over = len(self.said) == self.limit or self.ending.reached(self.said)

    def period(self) -> int:
        """The period of the loop that the row is in; 0 if it is in none.

        In a loop, the last `bar` tokens came before, and the last two periods are the same.
        """
        tail = "".join(map(chr, self.said[-LONGEST_LOOK:]))
        before = tail.rfind(tail[-self.bar :], 0, -1)
        period = len(tail) - self.bar - before
        return period if before >= 0 and tail[-period:] == tail[-2 * period : -period] else 0

    def loops(self) -> bool:
        """Whether the row is found to be in a loop, which is looked for now and then."""
        return len(self.said) % CHECKED_EVERY == 0 and self.period() > 0

    def draft(self, period: int, size: int) -> list[int]:
        """How the loop goes on: at most `size` tokens, and one less than may still be said."""
        size = min(size, self.limit - len(self.said) - 1)
        return (self.said[-period:] * (size // period + 1))[:size]


class _Layer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of a layer, with room for more behind them, so that one more token does not copy them all."""

    keys: torch.Tensor
    values: torch.Tensor
    _stores: Sequence[torch.Tensor] = ()

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_settings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds keys and values; those of all positions."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, added = self.get_seq_length(), (key_states, value_states)
        end = start + key_states.shape[2]
        if self._stores and self._stores[0].shape[2] >= end:
            for store, new in zip(self._stores, added, strict=True):
                store[:, :, start:end] = new
        else:
            pairs = zip((self.keys, self.values), added, strict=True)
            self._stores = [pad(torch.cat(pair, 2) if start else pair[1], (0, 0, 0, SPARE)) for pair in pairs]
        self.keys, self.values = (store[:, :, :end] for store in self._stores)
        return self.keys, self.values


def _cache(kept: Iterable[Sequence[torch.Tensor]]) -> Any:
    """A cache of keys and values per layer, all of which can be cropped: sliding windows are up to the mask."""
    layers = []
    for keys, values in kept:
        layers.append(_Layer())
        layers[-1].update(keys, values)
    return Cache(layers=layers) if layers else Cache(layer_class_to_replicate=_Layer)


@dataclass
class _Batch:
    """Rows and the keys and values of all their tokens but the last, which is not computed yet."""

    rows: list[Row]
    cache: Any
    padding: torch.Tensor
    """One per row: how many positions at its left are none of its own."""

    def part(self, kept: Sequence[int]) -> "_Batch":
        """Some of the rows, without the padding that all of them have."""
        index = torch.tensor(kept, device=self.padding.device)
        padding = self.padding[index]
        unused = int(padding.min())
        layers = [(layer.keys[index, :, unused:], layer.values[index, :, unused:]) for layer in self.cache.layers]
        return _Batch([self.rows[number] for number in kept], _cache(layers), padding - unused)


def _joined(batches: Sequence[_Batch]) -> _Batch | None:
    """The rows of several batches, padded at the left to the longest; None without any."""
    if len(batches) < 2:
        return batches[0] if batches else None
    lengths = [batch.cache.get_seq_length() for batch in batches]
    missing = [max(lengths) - length for length in lengths]
    layers = [
        tuple(
            torch.cat([pad(getattr(layer, name), (0, 0, more, 0)) for layer, more in zip(same, missing, strict=True)])
            for name in ("keys", "values")
        )
        for same in zip(*(batch.cache.layers for batch in batches), strict=True)
    ]
    padding = torch.cat([batch.padding + more for batch, more in zip(batches, missing, strict=True)])
    return _Batch([row for batch in batches for row in batch.rows], _cache(layers), padding)


class Decoder:
    """Says what a causal language model says after prompts, in batches of at most `batch_size` rows.

    Beside the weights, memory is needed for keys and values of at most `batch_size` rows, each as long as the longest
    prompt, the limit and `2 * SPARE`; for a copy of them while rows come and go; and for the logits of one draft.
    """

    def __init__(self, model: Any, batch_size: int) -> None:
        """Decodes with `model` on the device where it is."""
        self._model = model
        self._batch_size = batch_size
        self.positions = 0
        """Token positions computed, with padding and with drafts that were not accepted."""

    @cached_property
    def _output(self) -> OutputLayer | None:
        return OutputLayer.of(self._model)

    @torch.no_grad()
    def run(self, rows: Iterable[Row]) -> None:
        """Says all there is to say in `rows`, after the longest prompts first."""
        waiting = sorted(rows, key=lambda row: len(row.prompt))
        batch: _Batch | None = None
        while waiting or batch:
            parts = self._step(batch, [row.said[-1:] for row in batch.rows]) if batch else []
            free = self._batch_size - sum(len(part.rows) for part in parts)
            if waiting and free >= ROOM * self._batch_size:
                parts += self._start([waiting.pop() for _ in range(min(free, len(waiting)))])
            batch = None  # so that it is not in memory a third time while parts are joined
            batch = _joined(parts)

    def _start(self, rows: list[Row]) -> list[_Batch]:
        """What `_step` leaves of new rows."""
        longest = max(len(row.prompt) for row in rows)
        padding = [longest - len(row.prompt) for row in rows]
        tokens = [[0] * more + list(row.prompt) for row, more in zip(rows, padding, strict=True)]
        return self._step(_Batch(rows, _cache([]), torch.tensor(padding, device=self._model.device)), tokens)

    def _step(self, batch: _Batch, tokens: list[list[int]]) -> list[_Batch]:
        """Puts in `tokens` and says the next one of each row; the rows that go on, and a few that are over.

        Those are dropped together, as that copies the others, but soon, as their padding is kept with them.
        """
        for row, (token,) in zip(batch.rows, self._likeliest(batch, tokens, 1), strict=True):
            if not row.over:
                row.say(token)
        going = [number for number, row in enumerate(batch.rows) if not row.over]
        looping = [number for number in going if batch.rows[number].loops()]
        over = len(batch.rows) - len(going)
        few = over < ROOM * len(batch.rows) and batch.cache.get_seq_length() % SPARE > 0
        if going and not looping and (few or not over):
            return [batch]
        parts = [batch.part([number]) for number in looping]
        for part in parts:
            self._follow(part)
        parts = [part for part in parts if not part.rows[0].over]
        steady = [number for number in going if number not in looping]
        return [batch.part(steady), *parts] if steady else parts

    def _follow(self, batch: _Batch) -> None:
        """Goes on with the loop of the one row of a batch, until the row is over or the model leaves the loop.

        Either that saves passes, or the row is not taken for looping again so soon.
        """
        (row,) = batch.rows
        period, before, (size, largest) = row.period(), len(row.said), DRAFTS
        while True:
            draft = row.draft(period, size)
            said = self._likeliest_in_loop(batch, [*row.said[-1:], *draft], period)
            agreed = sum(takewhile(bool, map(eq, draft, said)))
            for token in said[: agreed + 1]:
                row.say(token)
                if row.over:
                    return
            if agreed < len(draft):
                batch.cache.crop(agreed - len(draft))
                row.bar = LOOP if len(row.said) - before >= WORTH else 2 * row.bar
                return
            size = min(2 * size, largest)

    def _likeliest(self, batch: _Batch, tokens: list[list[int]], count: int) -> list[list[int]]:
        """Puts in the next tokens of each row; the likeliest token after each of the last `count` of them."""
        logits = self._model(**self._entered(batch, tokens), logits_to_keep=count).logits
        likeliest: list[list[int]] = first_of_largest(logits).tolist()
        return likeliest

    def _likeliest_in_loop(self, batch: _Batch, tokens: list[int], period: int) -> list[int]:
        """Puts in the next tokens of the one row of a batch, which are a loop; the likeliest token after each."""
        if self._output is None:
            (said,) = self._likeliest(batch, [tokens], len(tokens))
            return said
        hidden = self._model.base_model(**self._entered(batch, [tokens])).last_hidden_state[0]
        likeliest: list[int] = self._output.likeliest(hidden, period).tolist()
        return likeliest

    def _entered(self, batch: _Batch, tokens: list[list[int]]) -> dict[str, Any]:
        """What the model is given so that it computes the next tokens of each row."""
        entered = torch.tensor(tokens, device=self._model.device)
        self.positions += entered.numel()
        columns = torch.arange(batch.cache.get_seq_length() + entered.shape[1], device=entered.device)
        depths = columns - batch.padding[:, None]
        return {
            "input_ids": entered,
            "attention_mask": (depths >= 0).long(),
            "position_ids": depths[:, -entered.shape[1] :].clamp(min=0),
            "past_key_values": batch.cache,
            "use_cache": True,
        }
