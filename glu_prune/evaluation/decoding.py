"""Greedy decoding of many prompts: finished rows leave the batch, and loops are followed many tokens at a time.

Greedy text often ends in a loop. Repeating the loop is a draft that costs nothing; one forward pass over the draft
verifies all of its tokens at once (speculative decoding: Leviathan et al. 2023, arXiv:2211.17192; drafts taken from the
text itself: Saxena 2023, prompt lookup decoding). Only tokens that the model itself would have chosen are accepted, so
the text is the same as from decoding token by token.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import accumulate, takewhile
from operator import eq
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

from glu_prune.evaluation.shortlist import OutputLayer, first_of_largest

LOOP_CHECK_INTERVAL = 2
"""Tokens of a row between two searches for a loop."""
LOOP_TOKENS = 4
"""Tokens that must have come again before a row counts as looping; twice as many after a loop that soon ended."""
LOOP_WINDOW = 512
"""Last tokens that are searched for a loop; its period is at most half of that."""
WORTHWHILE_TOKENS = 32
"""A loop that ends before this many tokens was not worth the extra passes."""
DRAFT_SIZES = (64, 256)
"""Tokens of the first draft of a loop, and of the largest; an accepted draft is followed by one twice as long."""
SPARE_POSITIONS = 64
"""Free positions behind the keys and values of a batch whenever these are copied."""
REBATCH_SHARE = 0.25
"""Share of a batch that must be finished before rows are dropped, and free before waiting rows are admitted."""

_IRRELEVANT_SETTINGS = frozenset(
    "max_length min_p top_h top_k top_p temperature typical_p epsilon_cutoff eta_cutoff do_sample use_cache"
    " cache_implementation bos_token_id eos_token_id pad_token_id transformers_version _from_model_config".split()
)
"""Settings that lm-eval overrides, that matter to sampling only, or that do not change the text."""
_GREEDY_DEFAULTS: Mapping[str, Any] = {"num_beams": 1, "repetition_penalty": 1.0, "num_return_sequences": 1}


def greedy_obstacle(config: Any) -> str | None:
    """Why this generation configuration asks for something else than greedy decoding; None if it does not."""
    changed = [
        name
        for name, value in config.to_diff_dict().items()
        if value and name not in _IRRELEVANT_SETTINGS and _GREEDY_DEFAULTS.get(name) != value
    ]
    return f"the generation configuration sets {', '.join(sorted(changed))}" if changed else None


@dataclass(frozen=True)
class StopCriteria:
    """What ends a generated text: strings that may span tokens, and end-of-sequence tokens."""

    tokenizer: Any
    stops: tuple[tuple[str, int], ...]
    """Strings, each with the number of last tokens in which it is searched."""
    last_tokens: frozenset[int]
    """Tokens that may hold the last character of a string; without one of them, no string can have been completed."""
    eos: frozenset[int]
    """Token ids that end the text by themselves."""

    def reached(self, generated: Sequence[int]) -> bool:
        """Whether the last of the tokens `generated` ends the text, if none before it did."""
        # Decoding at every token would take longer than a small model's forward pass, hence the cheap test first.
        return generated[-1] in self.eos or any(
            not self.last_tokens.isdisjoint(generated[-look:]) and string in self.tokenizer.decode(generated[-look:])
            for string, look in self.stops
        )


@lru_cache(maxsize=16)
def stop_criteria(tokenizer: Any, stops: tuple[str, ...], eos: frozenset[int]) -> StopCriteria:
    """The criteria by which lm-eval's `MultiTokenEOSCriteria` and the tokens `eos` end a text."""
    # lm-eval searches the decoded last tokens, as many as the string has of its own and two more.
    looks = tuple((string, len(tokenizer.encode(string, add_special_tokens=False)) + 2) for string in stops)
    ids = sorted(tokenizer.get_vocab().values())
    ends = {string[-1:] for string in stops} | {"\N{REPLACEMENT CHARACTER}"}
    # Where decoding rewrites spaces, or a string is empty, any token may complete a string.
    if "" in ends or tokenizer.clean_up_tokenization_spaces:
        return StopCriteria(tokenizer, looks, frozenset(ids), eos)
    # Each token twice, because SentencePiece decoders drop the space with which a text begins. A token that is not
    # whole UTF-8 decodes to a replacement character and may hold any character, hence that one among `ends`.
    texts = tokenizer.batch_decode([[token, token] for token in ids])
    last_tokens = frozenset(token for token, text in zip(ids, texts, strict=True) if any(end in text for end in ends))
    return StopCriteria(tokenizer, looks, last_tokens, eos)


@dataclass
class Generation:
    """A prompt and the tokens generated after it: one row of a batch."""

    prompt: Sequence[int]
    limit: int
    """The most tokens to generate."""
    ending: StopCriteria
    generated: list[int] = field(default_factory=list)
    loop_threshold: int = field(default_factory=lambda: LOOP_TOKENS)
    """Tokens that must have been repeated before the row counts as looping."""
    finished: bool = False

    def append_token(self, token: int) -> None:
        """Adds the next token to a row that is not finished."""
        self.generated.append(token)
        self.finished = len(self.generated) == self.limit or self.ending.reached(self.generated)

    def period(self) -> int:
        """The period of the loop that the row is in; 0 if it is in none.

        In a loop, the last `loop_threshold` tokens occurred before, and the last two periods are the same.
        """
        # As text of one character per token, the search for a repetition is a single call of C code.
        tail = "".join(map(chr, self.generated[-LOOP_WINDOW:]))
        before = tail.rfind(tail[-self.loop_threshold :], 0, -1)
        period = len(tail) - self.loop_threshold - before
        return period if before >= 0 and tail[-period:] == tail[-2 * period : -period] else 0

    def loops(self) -> bool:
        """Whether the row is found to be in a loop; searched only at every `LOOP_CHECK_INTERVAL`th token."""
        return len(self.generated) % LOOP_CHECK_INTERVAL == 0 and self.period() > 0

    def draft(self, period: int, size: int) -> list[int]:
        """How the loop goes on, in at most `size` tokens; the model adds one of its own, so room is left for it."""
        size = min(size, self.limit - len(self.generated) - 1)
        return (self.generated[-period:] * (size // period + 1))[:size]


class _Layer(DynamicLayer):  # type: ignore[misc]
    """Keys and values of a layer with free positions behind them, so that appending a token does not copy them all."""

    keys: torch.Tensor
    values: torch.Tensor
    _stores: Sequence[torch.Tensor] = ()

    @classmethod
    def of(cls, stores: Sequence[torch.Tensor], length: int) -> "_Layer":
        """A layer whose keys and values are the first `length` positions of `stores`, the others being free."""
        layer = cls()
        layer.lazy_initialization(*stores)
        layer._stores = stores
        layer.keys, layer.values = (store[:, :, :length] for store in stores)
        return layer

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_settings: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Appends keys and values; returns those of all positions."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, added = self.get_seq_length(), (key_states, value_states)
        end = start + key_states.shape[2]
        if not self._stores or self._stores[0].shape[2] < end:
            held = (self.keys, self.values) if start else (each[:, :, :0] for each in added)
            self._stores = [_stored([each], start, end - start + SPARE_POSITIONS) for each in held]
        for store, new in zip(self._stores, added, strict=True):
            store[:, :, start:end] = new
        self.keys, self.values = (store[:, :, :end] for store in self._stores)
        return self.keys, self.values


def _stored(parts: Sequence[torch.Tensor], length: int, free: int) -> torch.Tensor:
    """Keys or values of the rows of all `parts` in one tensor: those of shorter ones end at `length`, too."""
    # Zeros, as what is masked is multiplied by 0, and memory that is not set can hold NaN.
    _, heads, _, size = parts[0].shape
    store = parts[0].new_zeros((sum(map(len, parts)), heads, length + free, size))
    for part, end in zip(parts, accumulate(map(len, parts)), strict=True):
        store[end - len(part) : end, :, length - part.shape[2] : length] = part
    return store


@dataclass
class _Batch:
    """Rows, and the keys and values of all their tokens but the last, which the model has not seen yet."""

    rows: list[Generation]
    cache: Any
    padding: torch.Tensor
    """`(rows,)`: positions at the left of each row that are not its own."""

    def part(self, kept: Sequence[int]) -> "_Batch":
        """Some of the rows, without the padding that they all share."""
        index = torch.tensor(kept, device=self.padding.device)
        padding = self.padding[index]
        unused = int(padding.min())
        length = self.cache.get_seq_length() - unused
        layers = [
            _Layer.of([each[:, :, unused:].index_select(0, index) for each in (layer.keys, layer.values)], length)
            for layer in self.cache.layers
        ]
        return _Batch([self.rows[number] for number in kept], Cache(layers=layers), padding - unused)


def _concatenated(batches: Sequence[_Batch]) -> _Batch | None:
    """The rows of several batches as one, padded at the left to the longest; None without any."""
    if len(batches) < 2:
        return batches[0] if batches else None
    lengths = [batch.cache.get_seq_length() for batch in batches]
    longest = max(lengths)
    layers = [
        _Layer.of(
            [
                _stored([getattr(layer, name) for layer in same], longest, SPARE_POSITIONS)
                for name in ("keys", "values")
            ],
            longest,
        )
        for same in zip(*(batch.cache.layers for batch in batches), strict=True)
    ]
    padding = torch.cat([batch.padding + longest - length for batch, length in zip(batches, lengths, strict=True)])
    return _Batch([row for batch in batches for row in batch.rows], Cache(layers=layers), padding)


class Decoder:
    """Generates greedily after prompts, in batches of at most `batch_size` rows.

    Beside the weights, memory is needed for keys and values of at most `batch_size` rows, each as long as the longest
    prompt, the limit and `2 * SPARE_POSITIONS`; for a copy of them while rows come and go; and for one draft's logits.
    """

    def __init__(self, model: Any, batch_size: int, finished: Callable[[int], None] = lambda _: None) -> None:
        """Decodes with `model` on the device where it is; `finished` is told how many rows are, time and again."""
        self._model = model
        self._batch_size = batch_size
        self._finished = finished
        self.positions = 0
        """Token positions computed, padding and rejected drafts included."""

    @cached_property
    def _output(self) -> OutputLayer | None:
        return OutputLayer.of(self._model)

    @torch.inference_mode()
    def run(self, rows: Iterable[Generation]) -> None:
        """Generates the text of all `rows`, in place."""
        # Longest prompts first: those of one batch are of similar length then, and the largest batch runs first.
        waiting = sorted(rows, key=lambda row: len(row.prompt))
        batch: _Batch | None = None
        every = len(waiting)
        while waiting or batch:
            parts = self._step(batch, [row.generated[-1:] for row in batch.rows]) if batch else []
            free = self._batch_size - sum(len(part.rows) for part in parts)
            if waiting and free >= REBATCH_SHARE * self._batch_size:
                parts += self._start([waiting.pop() for _ in range(min(free, len(waiting)))])
            batch = None  # frees its cache, which would be in memory a third time while parts are concatenated
            batch = _concatenated(parts)
            self._finished(every - len(waiting) - (len(batch.rows) if batch else 0))

    def _start(self, rows: list[Generation]) -> list[_Batch]:
        """Prefills new rows; what `_step` returns of them."""
        longest = max(len(row.prompt) for row in rows)
        padding = [longest - len(row.prompt) for row in rows]
        tokens = [[0] * more + list(row.prompt) for row, more in zip(rows, padding, strict=True)]
        return self._step(
            _Batch(rows, Cache(layer_class_to_replicate=_Layer), torch.tensor(padding, device=self._model.device)),
            tokens,
        )

    def _step(self, batch: _Batch, tokens: list[list[int]]) -> list[_Batch]:
        """Feeds `tokens`, appends the next one to each row, and returns the rows that go on, by batch."""
        for row, (token,) in zip(batch.rows, self._next_tokens(batch, tokens, 1), strict=True):
            if not row.finished:
                row.append_token(token)
        # Dropping finished rows copies the caches of all others. So it waits until several are finished, or until the
        # caches have no free position left and are copied anyway. Meanwhile finished rows cost as much as the others.
        going = [number for number, row in enumerate(batch.rows) if not row.finished]
        looping = [number for number in going if batch.rows[number].loops()]
        over = len(batch.rows) - len(going)
        few = over < REBATCH_SHARE * len(batch.rows) and batch.cache.get_seq_length() % SPARE_POSITIONS > 0
        if going and not looping and (few or not over):
            return [batch]
        parts = [batch.part([number]) for number in looping]
        for part in parts:
            self._follow_loop(part)
        parts = [part for part in parts if not part.rows[0].finished]
        steady = [number for number in going if number not in looping]
        return [batch.part(steady), *parts] if steady else parts

    def _follow_loop(self, batch: _Batch) -> None:
        """Follows the loop of the single row of a batch until the row is finished or the model leaves the loop."""
        (row,) = batch.rows
        period, before, (size, largest) = row.period(), len(row.generated), DRAFT_SIZES
        while True:
            draft = row.draft(period, size)
            # The pass gives the model's choice after the last token and after each token of the draft. As long as draft
            # and choice agree, what stands before the next choice is what greedy decoding would have put there, so
            # that choice is exact as well: one more token than agreed can be taken.
            chosen = self._next_tokens_in_loop(batch, [*row.generated[-1:], *draft], period)
            agreed = sum(takewhile(bool, map(eq, draft, chosen)))
            for token in chosen[: agreed + 1]:
                row.append_token(token)
                if row.finished:
                    return
            if agreed < len(draft):
                batch.cache.crop(agreed - len(draft))
                # A text that keeps leaving its loops early would cost a pass over one row each time it looks like one.
                row.loop_threshold = (
                    LOOP_TOKENS if len(row.generated) - before >= WORTHWHILE_TOKENS else 2 * row.loop_threshold
                )
                return
            size = min(2 * size, largest)

    def _next_tokens(self, batch: _Batch, tokens: list[list[int]], count: int) -> list[list[int]]:
        """Feeds the next tokens of each row; returns the likeliest token after each of the last `count` of them."""
        logits = self._model(**self._model_inputs(batch, tokens), logits_to_keep=count).logits
        likeliest: list[list[int]] = first_of_largest(logits).tolist()
        return likeliest

    def _next_tokens_in_loop(self, batch: _Batch, tokens: list[int], period: int) -> list[int]:
        """Feeds the next tokens, a loop, of the single row of a batch; returns the likeliest token after each."""
        if self._output is None:
            (chosen,) = self._next_tokens(batch, [tokens], len(tokens))
            return chosen
        hidden = self._model.base_model(**self._model_inputs(batch, [tokens])).last_hidden_state[0]
        likeliest: list[int] = self._output.likeliest(hidden, period).tolist()
        return likeliest

    def _model_inputs(self, batch: _Batch, tokens: list[list[int]]) -> dict[str, Any]:
        """Arguments of the model's forward pass over the next tokens of each row."""
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
