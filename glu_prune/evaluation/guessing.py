"""Guesses how a text goes on, from what stands in it already.

Greedy text repeats itself: names and phrases of the prompt, lists, and loops in which it often ends. So the next tokens
are guessed to be those that followed the last occurrence of the same few tokens (Saxena 2023, prompt lookup decoding).
The longer the text has agreed with what it repeats, the likelier it goes on to; how likely is learnt from all guesses
that were verified before.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

SHORTEST = 2
"""Tokens that must have come before, one after another, for a guess."""
_LONGEST = 64
"""Longer agreements count as this one."""
_PRIOR = 2.0
"""Guesses of each length of agreement that `Odds` begins with; half of them, or more after a longer one, were right."""


@dataclass
class Odds:
    """How often a guess was right, by the tokens that had agreed before it."""

    right: list[float] = field(
        default_factory=lambda: [_PRIOR * length / (length + 2) for length in range(_LONGEST + 1)]
    )
    tried: list[float] = field(default_factory=lambda: [_PRIOR] * (_LONGEST + 1))

    def further(self, agreed: int, most: int) -> Iterator[float]:
        """With which odds a guess of one token, of two, and so on up to `most` would be right as a whole."""
        odds = 1.0
        for length in range(agreed, agreed + most):
            odds *= self.right[min(length, _LONGEST)] / self.tried[min(length, _LONGEST)]
            yield odds

    def learn(self, agreed: int, right: int, guessed: int) -> None:
        """Of `guessed` tokens, made when `agreed` tokens had agreed, the first `right` were right."""
        for number in range(min(right + 1, guessed)):
            length = min(agreed + number, _LONGEST)
            self.tried[length] += 1
            self.right[length] += number < right


class Echo:
    """A text, and the place in it from which its end repeats what stands there."""

    def __init__(self, tokens: Sequence[int]) -> None:
        """A text that begins with `tokens`."""
        self.tokens: list[int] = []
        self.agreed = 0
        """Tokens at the end that stand before `_source`, too; 0 without one."""
        self._source = 0
        self._after: dict[tuple[int, ...], int] = {}
        for token in tokens:
            self.append(token)

    def append(self, token: int) -> None:
        """Adds a token to the text."""
        follows = self.agreed > 0 and self.tokens[self._source] == token
        self.tokens.append(token)
        end = len(self.tokens)
        last = tuple(self.tokens[-SHORTEST:])
        if follows:
            self._source += 1
            self.agreed += 1
        else:
            self._source = self._after.get(last, 0)
            self.agreed = self._agreement() if self._source else 0
        if end >= SHORTEST:
            self._after[last] = end

    def _agreement(self) -> int:
        """How many tokens before `_source` are those at the end."""
        most = min(self._source, _LONGEST)
        pairs = zip(reversed(self.tokens[self._source - most : self._source]), reversed(self.tokens), strict=False)
        count = 0
        for one, other in pairs:
            if one != other:
                break
            count += 1
        return count

    def guess(self, count: int) -> list[int]:
        """The next `count` tokens, if the text goes on as it did before; a loop goes on as a loop."""
        if not self.agreed:
            return []
        period = len(self.tokens) - self._source
        known = self.tokens[self._source : self._source + count]
        return (known * (count // period + 1))[:count] if len(known) == period else known
