"""Attention over a store of keys and values in which every text that is being written has a slot.

The store is made once. A step's tokens, some of each text, lie one after another in a single row, so that nothing is
padded in products with weights; what a layer adds goes to its places in the store, and each text's tokens see those of
their own slot. A text that ends leaves its slot to the next: nothing is joined, split or padded anew. It is how serving
engines batch (Yu et al. 2022, Orca, OSDI), with slots of fixed size in place of pages.
"""

import math
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from glu_prune.evaluation import few_tokens
from glu_prune.evaluation.prefix_sharing import TRIAL_ERRORS, too_far
from glu_prune.evaluation.products import weights_on_the_left

NAME = "glu_prune_slots"
"""What transformers calls this attention."""
GROUP_ROWS = {"cpu": 8}
"""By type of device: neighbouring slots that are attended to in one call, at most; on an accelerator all of them."""
GROUP_WASTE = 1.5
"""Keys that a call may read for each that its texts have: shorter ones are read to the end of the longest."""
GROUP_SPREAD = 4
"""By how many new tokens texts that are attended to in one call may differ: those with fewer are filled up."""
_TRIAL = (29, 20, 5)
"""Tokens of the texts on which a model is tried."""
_TRIAL_PIECE = 8
"""Tokens of each that the first step computes."""


class Slots:
    """Keys and values of `count` texts of at most `capacity` tokens each."""

    def __init__(self, count: int, capacity: int) -> None:
        """Memory is taken as it is written to."""
        self.count = count
        self.capacity = capacity
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def layer(self, number: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The stores `(count, heads, capacity, size)` of a layer's keys and values, such as `key` and `value`."""
        if number not in self._layers:
            self._layers[number] = self._store(key), self._store(value)
        return self._layers[number]

    def _store(self, like: Tensor) -> Tensor:
        shape = (self.count, like.shape[1], self.capacity, like.shape[3])
        if like.device.type != "cpu":
            return like.new_zeros(shape)
        # Zeros, as what is masked is multiplied by 0, and memory that is not set can hold NaN; from numpy, as there
        # pages that nobody writes to take no memory.
        size = math.prod(shape) * like.element_size()
        return torch.from_numpy(np.zeros(size, dtype=np.uint8)).view(like.dtype).view(shape)

    def copy(self, source: int, target: int, tokens: int) -> None:
        """Copies the keys and values of the first `tokens` tokens of a slot to another."""
        for stores in self._layers.values():
            for store in stores:
                store[target, :, :tokens] = store[source, :, :tokens]


@dataclass(frozen=True)
class Piece:
    """Tokens of one text that a step computes."""

    slot: int
    start: int
    """Position of the first of them."""
    count: int

    @property
    def end(self) -> int:
        """Position after the last of them."""
        return self.start + self.count


@dataclass(frozen=True)
class How:
    """How a layer attends, as transformers tells its attention functions."""

    scaling: float | None
    window: int | None
    """Tokens that a token sees, itself included; None: all before it."""
    cap: float | None
    """Scores are softly capped at this."""
    sinks: Tensor | None
    """`(heads,)`: scores of nothing, which take their share of the attention."""

    @property
    def is_plain(self) -> bool:
        """Whether what is seen is a softmax of scores times values, and nothing else."""
        return self.cap is None and self.sinks is None

    def scale(self, size: int) -> float:
        """What scores are multiplied by, where heads have `size` numbers."""
        return size**-0.5 if self.scaling is None else self.scaling


class Step:
    """Where a step's tokens are: pieces by ascending slot, one after another in one row."""

    def __init__(self, slots: Slots, pieces: Sequence[Piece], device: torch.device) -> None:
        """The tokens of `pieces`, in this order."""
        self._slots = slots
        firsts = accumulate((piece.count for piece in pieces), initial=0)
        self._placed = list(zip(pieces, firsts, strict=False))
        self._table = torch.tensor([(piece.slot, piece.start, piece.count, first) for piece, first in self._placed])
        self.rows = torch.tensor([piece.slot for piece in pieces for _ in range(piece.count)], device=device)
        self.positions = torch.cat([torch.arange(piece.start, piece.end, device=device) for piece in pieces])
        self._divided: dict[int, _Groups | None] = {}

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, how: How) -> Tensor:
        """`(1, tokens, heads, size)`: what the step's tokens see of their texts, once `key` and `value` are stored."""
        keys, values = self._slots.layer(layer, key, value)
        queries = query[0].view(keys.shape[1], -1, *query.shape[2:]).permute(2, 0, 1, 3)
        parts = (queries, key[0].transpose(0, 1), value[0].transpose(0, 1))
        new = few_tokens.New(*(part.contiguous() for part in parts))
        seen = new.queries.new_empty(*queries.shape[:3], values.shape[3])
        if how.is_plain and few_tokens.is_possible(new):
            scaling = how.scale(queries.shape[3])
            few_tokens.attend(new, keys, values, self._table, seen, window=how.window, scaling=scaling)
            groups = self._groups(few_tokens.MOST_TOKENS)
        else:
            rows, positions = self.rows.to(keys.device), self.positions.to(keys.device)
            keys[rows, :, positions] = new.keys
            values[rows, :, positions] = new.values
            groups = self._groups(0)
        if groups is not None:
            groups.attend(new.queries, keys, values, how, seen)
        return seen.flatten(1, 2)[None]

    def _groups(self, most: int) -> "_Groups | None":
        """The pieces of more than `most` tokens; made once for all layers."""
        if most not in self._divided:
            placed = [(piece, first) for piece, first in self._placed if piece.count > most]
            self._divided[most] = _Groups(placed, self.positions) if placed else None
        return self._divided[most]


class _Groups:
    """Pieces of a step, in groups of which each is attended to in one call."""

    def __init__(self, placed: Sequence[tuple[Piece, int]], positions: Tensor) -> None:
        """Pieces, each with the place of its first token in the step; `positions` are those of all its tokens."""
        device = positions.device
        self._groups: list[_Group] = []
        firsts = {piece.slot: first for piece, first in placed}
        filled: list[int] = []
        own: list[int] = []
        for group in _grouped([piece for piece, _ in placed], device.type):
            longest = max(piece.count for piece in group)
            begin = len(filled)
            for piece in group:
                own += range(len(filled), len(filled) + piece.count)
                filled += [firsts[piece.slot] + min(number, piece.count - 1) for number in range(longest)]
            self._groups.append(_Group(group, slice(begin, len(filled)), positions[filled[begin:]]))
        self._filled = torch.tensor(filled, device=device)
        """Which token stands at each place of the groups: the shorter pieces are filled up with their last one."""
        self._own = torch.tensor(own, device=device)
        """Which of these places are not filled up."""
        self._tokens = self._filled[self._own]

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, how: How, seen: Tensor) -> None:
        """Writes to `seen` what the pieces' tokens see; `queries` and `seen` are `(tokens, key heads, share, size)`."""
        filled, own, tokens = (each.to(keys.device) for each in (self._filled, self._own, self._tokens))
        queries = queries[filled]
        found = queries.new_empty(*queries.shape[:3], values.shape[3])
        for group in self._groups:
            group.attend(queries, keys, values, how, found)
        seen[tokens] = found[own]


def _grouped(pieces: Sequence[Piece], device: str) -> Iterator[list[Piece]]:
    """Pieces of neighbouring slots that are attended to together."""
    most = GROUP_ROWS.get(device)
    held: list[Piece] = []
    for piece in pieces:
        wider = [*held, piece]
        counts, ends = [each.count for each in wider], [each.end for each in wider]
        fits = not held or (
            piece.slot == held[-1].slot + 1
            and len(held) != most
            and max(counts) - min(counts) <= GROUP_SPREAD
            and max(ends) * len(ends) <= GROUP_WASTE * sum(ends)
        )
        if not fits:
            yield held
        held = wider if fits else [piece]
    if held:
        yield held


class _Group:
    """Pieces of neighbouring slots, filled up to the same number of tokens."""

    def __init__(self, pieces: Sequence[Piece], places: slice, positions: Tensor) -> None:
        """Their tokens stand at `places`; `positions` are those in their texts."""
        self._slots = slice(pieces[0].slot, pieces[-1].slot + 1)
        self._places = places
        self._positions = positions.view(len(pieces), -1)
        self._least = min(piece.start for piece in pieces)
        self._end = max(piece.end for piece in pieces)
        self._masks: dict[tuple[int | None, int, torch.device], Tensor | None] = {}

    def attend(self, queries: Tensor, keys: Tensor, values: Tensor, how: How, seen: Tensor) -> None:
        """Writes to `seen` what the group's tokens see; `queries` and `seen` are `(places, key heads, share, size)`."""
        begin = 0 if how.window is None else max(0, self._least - how.window + 1)
        keys, values = (store[self._slots, :, begin : self._end] for store in (keys, values))
        count, longest = self._positions.shape
        share = queries.shape[2]
        # Query heads that share a key head stand beside each other, as if they were further tokens: so the keys are
        # read once for all of them.
        query = queries[self._places].view(count, longest, *queries.shape[1:]).transpose(1, 2).flatten(2, 3)
        found = _attention(query, keys, values, self._mask(how.window, begin, share, query), how)
        found = found.view(count, -1, longest, share, found.shape[3]).transpose(1, 2)
        seen[self._places].view(found.shape).copy_(found)

    def _mask(self, window: int | None, begin: int, share: int, like: Tensor) -> Tensor | None:
        """What is added to the scores `(slots, 1, queries, keys)`; made once for all layers of a kind."""
        key = window, share, like.device
        if key not in self._masks:
            places = torch.arange(begin, self._end, device=like.device)
            ahead = places - self._positions.to(like.device)[:, None, :, None]
            hidden = ahead > 0 if window is None else (ahead > 0) | (ahead <= -window)
            mask: Tensor | None = None
            if hidden.any():
                # The smallest number and not minus infinity, as in transformers' own masks, so that sums stay finite.
                mask = torch.zeros(hidden.shape, dtype=like.dtype, device=like.device)
                mask = mask.masked_fill_(hidden, torch.finfo(like.dtype).min)
                mask = mask.repeat_interleave(share, 2) if hidden.shape[2] > 1 else mask
            self._masks[key] = mask
        return self._masks[key]


def _attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, how: How) -> Tensor:
    """Softmax of scores over `keys`, times `values`: `(slots, key heads, queries, size)`."""
    if how.is_plain:
        return scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=how.scaling)
    scores = query @ keys.transpose(2, 3) * how.scale(query.shape[3])
    if how.cap is not None:
        scores = torch.tanh(scores / how.cap) * how.cap
    if mask is not None:
        scores = scores + mask
    if how.sinks is None:
        return scores.softmax(-1, dtype=torch.float32).to(query.dtype) @ values
    sinks = how.sinks.to(scores.dtype).view(query.shape[1], -1)
    sinks = sinks.repeat(1, scores.shape[2] // sinks.shape[1]).expand(*scores.shape[:3])
    scores = torch.cat([scores, sinks[..., None]], dim=-1)
    return scores.softmax(-1, dtype=torch.float32)[..., :-1].to(query.dtype) @ values


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: Tensor | None,
    *,
    step: Step,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_others: Any,
) -> tuple[Tensor, None]:
    how = How(scaling, sliding_window, softcap, s_aux)
    return step.attend(module.layer_idx, query, key, value, how), None


AttentionInterface.register(NAME, _attend)


@contextmanager
def attention_over_slots(model: Any) -> Iterator[None]:
    """Within it, `model` is called with a `Step` as `step`, and attends by it."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


@torch.inference_mode()
def slots_obstacle(model: Any, longest: int) -> str | None:
    """Why `model` cannot be run over slots: random texts, of at most `longest` tokens, are not predicted as they were.

    Known types are tried all the same: a new version of transformers may change what an attention function is told.
    """
    draw = random.Random(0)
    words = range(model.get_input_embeddings().num_embeddings)
    texts = [draw.choices(words, k=min(count, longest)) for count in _TRIAL]
    slots = Slots(len(texts), max(map(len, texts)))
    differences: list[Tensor] = []
    try:
        plain = [model(torch.tensor([text], device=model.device), use_cache=False).logits[0] for text in texts]
        with attention_over_slots(model), weights_on_the_left(model):
            for begin, end in pairwise((0, _TRIAL_PIECE, longest)):
                parts = {number: text[begin:end] for number, text in enumerate(texts) if text[begin:end]}
                pieces = [Piece(number, begin, len(part)) for number, part in parts.items()]
                step = Step(slots, pieces, model.device)
                tokens = torch.tensor([[token for part in parts.values() for token in part]], device=model.device)
                found = model(tokens, position_ids=step.positions[None], use_cache=False, step=step).logits[0]
                expected = torch.cat([plain[piece.slot][piece.start : piece.end] for piece in pieces])
                likeliest = expected.argmax(-1, keepdim=True)
                one, other = (each.log_softmax(-1, torch.float32).gather(1, likeliest) for each in (expected, found))
                differences.append((one - other).abs().flatten())
    except TRIAL_ERRORS as error:
        return f"writing texts together fails: {(str(error) or repr(error)).splitlines()[0]}"
    said = too_far(torch.cat(differences).cpu().numpy(), sum(map(len, texts)), model.dtype)
    return f"on random texts, writing them together changes {said}" if said else None
