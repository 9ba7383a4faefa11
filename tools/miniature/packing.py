"""Documents into training rows of equal length, best fit: no document is cut, few positions are left empty."""

import random
from collections import defaultdict
from collections.abc import Iterator

POOL = 4096


def pack(documents: Iterator[list[int]], length: int, padding: int, seed: str) -> Iterator[list[int]]:
    """Rows of exactly `length` token ids, each beginning with the first token of a document.

    A row starts with a random document of a pool and takes further random ones, of lengths that leave either nothing or
    room for another; when none does, the longest that fits. What is left is filled with `padding`. Documents longer
    than `length` are cut to it.
    """
    rng = random.Random(seed)
    by_length: dict[int, list[list[int]]] = defaultdict(list)
    lengths: list[int] = []

    def refill() -> None:
        for _ in range(POOL - sum(map(len, by_length.values()))):
            document = next(documents)[:length]
            by_length[len(document)].append(document)
        for group in by_length.values():
            rng.shuffle(group)
        lengths[:] = sorted(size for size, group in by_length.items() if group)

    def take(size: int) -> list[int]:
        document = by_length[size].pop()
        if not by_length[size]:
            lengths.remove(size)
        return document

    while True:
        if sum(map(len, by_length.values())) < POOL // 2:
            refill()
        first = rng.choices(lengths, [len(by_length[size]) for size in lengths])[0]
        row = take(first)
        while fitting := [size for size in lengths if size <= length - len(row)]:
            room = length - len(row)
            closing = [size for size in fitting if size == room or room - size >= lengths[0]] or fitting[-1:]
            row = row + take(rng.choices(closing, [len(by_length[size]) for size in closing])[0])
        yield row + [padding] * (length - len(row))
