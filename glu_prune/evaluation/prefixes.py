"""Plans forward passes so that every token that requests have in common is computed once.

The tokens that requests put into a model are paths from the root of a trie. In a causal model the state of a token
depends on nothing but the tokens before it, so a prefix of several paths need be computed only once. A plan cuts the
trie into steps: several paths are packed into one row, with a mask that shows each token its ancestors alone (tree
attention: Miao et al. 2024, SpecInfer, arXiv:2305.09781); what several rows have in common is computed before them,
into the cache. lm-eval's own model computes the context of a question again for each of its answers.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
EncodedRequest = tuple[Sequence[int], Sequence[int]]
"""The tokens of a context and of its continuation."""

WORTH_CACHING = 16
"""Fewer shared tokens than these are cheaper to compute again than in a pass of their own."""
TOKENS_KEPT = 1 << 24
"""Tokens of the plans that are kept in memory, at some 20 bytes each."""
_BYTES = 4  # of a token


@dataclass(frozen=True)
class Step:
    """One forward pass over tokens of the trie."""

    base: int
    """How many tokens of each path the cache holds."""
    tokens: Ints
    """Depth first: every token stands behind those that it attends to."""
    positions: Ints
    """The depth of each token."""
    runs: tuple[tuple[int, int], ...]
    """Unbranched runs: index of the first token, and of the one that it follows, -1 if that is not in this step."""
    cached: bool
    """Whether later steps build on the tokens, which are a single run then."""
    scored: Ints
    """Indices of the tokens whose logits are needed."""
    picks: Ints
    """One per log-probability: which of `scored` predicts the token."""
    targets: Ints
    """One per log-probability: the token."""

    def visible(self) -> NDArray[np.bool_]:
        """Which token (row) attends to which (column), those in the cache aside: to its ancestors and to itself."""
        # Depth first, a run sees what its parent sees, and itself: one copy of a row per run, not one walk per token.
        size = len(self.tokens)
        found = np.tri(size, dtype=bool)
        for (start, parent), (end, _) in pairwise((*self.runs, (size, -1))):
            found[start:end, :start] = found[parent, :start] if parent >= 0 else False
        return found


@dataclass(frozen=True)
class ScoringPlan:
    """Forward passes in the order in which they build on each other, and where the results belong."""

    steps: tuple[Step, ...]
    destinations: Ints
    """`(log-probabilities,)`, step by step: the place of each in a list of those of all requests."""
    starts: Ints
    """`(requests,)`: where the log-probabilities of each start in that list."""
    truncated: tuple[int, ...] = ()
    """Requests that are too long and lose their beginning."""

    @cached_property
    def tokens(self) -> int:
        """How many tokens are computed."""
        return sum(len(step.tokens) for step in self.steps)

    @cached_property
    def _ends(self) -> Ints:
        """`(requests,)`, sorted: how many log-probabilities are known, step by step, once a request has all of its."""
        return np.sort(np.maximum.reduceat(np.argsort(self.destinations), self.starts)) + 1

    def answered(self, known: int) -> int:
        """How many requests have all of their log-probabilities once the first `known` are, step by step."""
        return int(np.searchsorted(self._ends, known, side="right"))


class PlanCache:
    """The plans used last: arms of one model have one tokenizer, so a plan made for the first serves all of them."""

    def __init__(self) -> None:
        """Empty."""
        self._plans: OrderedDict[Hashable, ScoringPlan] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], ScoringPlan]) -> ScoringPlan:
        """The plan for `key`, made if it is not there."""
        plan = self._plans.pop(key, None) or make()
        self._plans[key] = plan
        while len(self._plans) > 1 and sum(each.tokens for each in self._plans.values()) > TOKENS_KEPT:
            self._plans.popitem(last=False)
        return plan


def plan(requests: Sequence[EncodedRequest], max_length: int, row_tokens: int, path_tokens: int) -> ScoringPlan:
    """The plan for the log-likelihoods of continuations; the order of `requests` does not change its steps.

    A model is given `(context + continuation)[-(max_length + 1):][:-1]`, as by lm-eval. A step computes at most
    `row_tokens` tokens of several paths, or `path_tokens` of one, and builds on fewer than `max_length` tokens.

    Raises:
        ValueError: a context or continuation is empty, or a continuation is longer than `max_length`.
    """
    if not all(context and 0 < len(continuation) <= max_length for context, continuation in requests):
        msg = f"contexts and continuations must have tokens, and continuations at most {max_length}"
        raise ValueError(msg)
    # Big-endian, so that bytes are in the order of tokens and an extension comes right after its prefix.
    wholes = [np.array([*context, *rest][-(max_length + 1) :], dtype=">u4").tobytes() for context, rest in requests]
    trie = _Trie([whole[:-_BYTES] for whole in wholes])
    counts = np.array([len(continuation) for _, continuation in requests], dtype=np.int64)
    starts = np.cumsum(counts) - counts
    # The last token of a request is only predicted, never put in, so requests may differ in it and still be one path.
    requests_of: dict[bytes, list[int]] = {path: [] for path in trie.keys}
    for index, whole in enumerate(wholes):
        requests_of[whole[:-_BYTES]].append(index)

    steps: list[_StepBuilder] = []
    above: list[_StepBuilder] = []
    for subtrie in _merged(_subtries(trie, row_tokens, path_tokens), trie, row_tokens):
        while above and above[-1].end > subtrie.base:
            above.pop()
        step = _StepBuilder(subtrie.base, subtrie.cached)
        steps.append(step)
        if step.cached:
            step.add(trie.paths[subtrie.first][: subtrie.end], subtrie.base)
            above.append(step)
            continue
        for number in range(subtrie.first, subtrie.last):
            path, shared = trie.paths[number], int(trie.shared[number])
            step.add(path, subtrie.base if number == subtrie.first else shared)
            for index in requests_of[trie.keys[number]]:
                targets = _tokens(wholes[index])[-counts[index] :]
                # The first target is predicted by the last token of the context, which may lie in a step above.
                for each in (*above, step):
                    each.score(len(path) - len(targets), targets, starts[index])
    steps = [step for step in steps if step.size]
    destinations = [each for step in steps for each in step.destinations]
    truncated = tuple(index for index, pair in enumerate(requests) if sum(map(len, pair)) > max_length + 1)
    return ScoringPlan(tuple(step.build() for step in steps), _concatenated(destinations), starts, truncated)


def _tokens(path: bytes) -> Ints:
    return np.frombuffer(path, dtype=">u4").astype(np.int64)


def _concatenated(parts: Sequence[Ints]) -> Ints:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


class _Trie:
    """Distinct paths in sorted order, and how many tokens each shares with the one before it."""

    # Sorted neighbours share the most, so these lengths alone describe the trie; it needs no nodes.

    def __init__(self, paths: Iterable[bytes]) -> None:
        self.keys = sorted(set(paths))
        self.paths = [_tokens(key) for key in self.keys]
        self.shared = np.array([0, *map(_common, self.paths, self.paths[1:])][: len(self.keys)], dtype=np.int64)
        self.lengths = np.array([len(path) for path in self.paths], dtype=np.int64)
        self._new = np.concatenate([[0], np.cumsum(self.lengths - self.shared)])

    def size(self, first: int, last: int, base: int) -> int:
        """Tokens of the paths from `first` to before `last`, all of which have the first `base` in common."""
        return int(self.shared[first] - base + self._new[last] - self._new[first])


def _common(one: Ints, other: Ints) -> int:
    """How many tokens two paths begin with alike."""
    size = min(len(one), len(other))
    differ = one[:size] != other[:size]
    first = int(differ.argmax()) if size else 0
    return first if size and differ[first] else size


class _Subtrie(NamedTuple):
    """Tokens for one step: those from depth `base` on of the paths from `first` to before `last`."""

    first: int
    last: int
    base: int
    end: int = 0
    """The depth up to which all have the same tokens, to be cached for what follows; 0 for all tokens, not cached."""

    @property
    def cached(self) -> bool:
        return self.end > 0


def _subtries(trie: _Trie, row_tokens: int, path_tokens: int) -> Iterator[_Subtrie]:
    """Cuts the trie, depth first, into what fits into one step, and what several of those have in common."""
    # Why not one row of all tokens: attention takes the product of the row with itself, and all that tokens of
    # different branches have with each other is computed only to be masked. Beyond `row_tokens` that costs more than
    # is saved, while shorter rows leave the processor waiting for weights.
    todo = [_Subtrie(0, len(trie.keys), 0)] if trie.keys else []
    while todo:
        subtrie = todo.pop()
        first, last, base, _ = subtrie
        if trie.size(first, last, base) <= row_tokens:
            yield subtrie
            continue
        if last - first == 1:
            *cached, (start, _) = _even_parts(base, int(trie.lengths[first]), path_tokens)
            yield from (_Subtrie(first, last, *part) for part in cached)
            yield _Subtrie(first, last, start)
            continue
        # The branches part where neighbours share least. What all share is cached, if it is long enough to pay for a
        # pass of its own; the branches then build on it.
        shared = trie.shared[first + 1 : last]
        common = int(shared.min())
        cuts = [first, *(np.flatnonzero(shared == common) + first + 1).tolist(), last]
        if common - base >= WORTH_CACHING:
            yield from (_Subtrie(first, last, *part) for part in _even_parts(base, common, path_tokens))
            base = common
        todo += [_Subtrie(start, end, base) for start, end in reversed(list(pairwise(cuts)))]


def _even_parts(base: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """The depths from `base` to before `end`, in as few and as equal parts of at most `most` as can be."""
    count = -(-(end - base) // most)
    return pairwise(base + (end - base) * number // count for number in range(count + 1))


def _merged(subtries: Iterable[_Subtrie], trie: _Trie, row_tokens: int) -> Iterator[_Subtrie]:
    """Joins neighbours that build on the same cache and fit into one step: few large steps are faster than many."""
    held: _Subtrie | None = None
    for subtrie in subtries:
        if held is None:
            held = subtrie
        elif (
            not (held.cached or subtrie.cached)
            and (held.last, held.base) == (subtrie.first, subtrie.base)
            and trie.size(held.first, subtrie.last, held.base) <= row_tokens
        ):
            held = held._replace(last=subtrie.last)
        else:
            yield held
            held = subtrie
    if held is not None:
        yield held


@dataclass
class _StepBuilder:
    """A step in the making."""

    base: int
    cached: bool
    tokens: list[Ints] = field(default_factory=list)
    positions: list[Ints] = field(default_factory=list)
    runs: list[tuple[int, int]] = field(default_factory=list)
    size: int = 0
    where: Ints = field(default_factory=lambda: _concatenated(()))
    """The index of each token of the path that was added last, from depth `base` on."""
    scored: list[Ints] = field(default_factory=list)
    targets: list[Ints] = field(default_factory=list)
    destinations: list[Ints] = field(default_factory=list)

    @property
    def end(self) -> int:
        """The depth of the path that was added last."""
        return self.base + len(self.where)

    def add(self, path: Ints, shared: int) -> None:
        """Adds the tokens of `path` from depth `shared` on; those above it are in the path before it, or cached."""
        known = self.where[: shared - self.base]
        new = len(path) - shared
        if new:
            self.runs.append((self.size, int(known[-1]) if len(known) else -1))
            self.tokens.append(path[shared:])
            self.positions.append(np.arange(shared, len(path)))
        self.where = np.concatenate([known, np.arange(self.size, self.size + new)])
        self.size += new

    def score(self, begin: int, targets: Ints, destination: int) -> None:
        """Scores those `targets` whose predicting tokens are in this step; the first is predicted at depth `begin`."""
        low, high = max(begin, self.base), min(begin + len(targets), self.end)
        if low < high:
            self.scored.append(self.where[low - self.base : high - self.base])
            self.targets.append(targets[low - begin : high - begin])
            self.destinations.append(np.arange(destination + low - begin, destination + high - begin))

    def build(self) -> Step:
        scored, picks = np.unique(_concatenated(self.scored), return_inverse=True)
        return Step(
            base=self.base,
            tokens=_concatenated(self.tokens),
            positions=_concatenated(self.positions),
            runs=tuple(self.runs),
            cached=self.cached,
            scored=scored,
            picks=picks,
            targets=_concatenated(self.targets),
        )
