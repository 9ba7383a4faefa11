"""How far long work is: what of it is done, how fast that goes, and how long the rest will take."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol

Clock = Callable[[], float]
"""Seconds since some moment; never runs backwards."""


class Step(Protocol):
    """Is told how far something is."""

    def __call__(self, doing: str, done: int, total: int, tokens: int = 0, /) -> None:
        """Of what `doing` names, so much is done of `total`, for which so many tokens were computed."""


@dataclass(frozen=True)
class Running:
    """What is being computed, and how far that is."""

    what: str
    keys: tuple[str, ...] = ()
    """Of the records that it gives."""
    doing: str = ""
    """What `done` and `total` count, such as `items`; empty before the first of them."""
    done: int = 0
    total: int = 0
    tokens_per_second: float = 0.0
    """0 where no tokens are computed, or it is not known yet."""
    spent: float = 0.0
    """Seconds since it began."""
    left: float | None = None
    """Seconds that the rest will take; None where that cannot be told yet."""

    def __str__(self) -> str:
        """As the line shows it."""
        of = f"{self.what}: {self.doing} {self.done:,}/{self.total:,}" if self.doing else self.what
        pace = f"{self.tokens_per_second:,.0f} tokens/s" if self.tokens_per_second else ""
        return ", ".join(filter(None, (of, _left(self.left), pace)))


@dataclass(frozen=True)
class Snapshot:
    """The state of a session, or of one of its processes."""

    needed: int = 0
    """Records that the session needs; 0 where nobody has counted them."""
    missing: Mapping[str, str] = field(default_factory=dict)
    """Key to kind of work, of the records that were not in the store when the session began."""
    found: tuple[str, ...] = ()
    """Keys of the records that are there now."""
    seconds: Mapping[str, tuple[int, float]] = field(default_factory=dict)
    """Kind of work to how many records of it were computed, and how long all of them took."""
    running: tuple[Running, ...] = ()

    @property
    def stored(self) -> int:
        """Of the records that are needed, those that are in the store."""
        return self.needed - len(self.missing.keys() - set(self.found))

    @property
    def left(self) -> float | None:
        """Seconds that the session will take from now on; None where that cannot be told yet.

        A record takes as long as those of its kind did on average, or else as those of all kinds did.
        """
        begun = {key for each in self.running for key in each.keys}
        waiting = Counter(self.missing[key] for key in self.missing.keys() - begun - set(self.found))
        known = {kind: spent / records for kind, (records, spent) in self.seconds.items() if records}
        known = {**_foreseen(self.running, self.missing), **known}
        if not known or not (waiting or self.running):
            return None
        usual = sum(known.values()) / len(known)
        rest = sum(usual if each.left is None else each.left for each in self.running)
        return (rest + sum(count * known.get(kind, usual) for kind, count in waiting.items())) / max(
            1, len(self.running)
        )

    def __str__(self) -> str:
        """In one line: the session, then whatever runs."""
        records = f"{self.stored:,}/{self.needed:,} records" if self.needed else ""
        session = ", ".join(filter(None, (records, _left(self.left) if records else "")))
        return " | ".join(filter(None, (session, *map(str, self.running))))

    def kept(self, store: Path) -> str:
        """What an interruption leaves, in a line; empty where nobody has counted what is needed."""
        if not self.needed:
            return ""
        return (
            f"{self.stored:,} of {self.needed:,} records are in the store {store}; the same command goes on from there"
        )


def together(parts: Iterable[Snapshot]) -> Snapshot:
    """The state of a session of several processes, of which those that counted what is needed found the same."""
    every = list(parts)
    first = max(every, key=lambda each: each.needed, default=Snapshot())
    seconds: dict[str, tuple[int, float]] = {}
    for kind, (records, spent) in (each for part in every for each in part.seconds.items()):
        before = seconds.get(kind, (0, 0.0))
        seconds[kind] = before[0] + records, before[1] + spent
    return Snapshot(
        needed=first.needed,
        missing=first.missing,
        found=tuple(sorted({key for part in every for key in part.found})),
        seconds=seconds,
        running=tuple(each for part in every for each in part.running),
    )


class Show:
    """Shows the state of work, as often as it likes to; this one never does."""

    def __call__(self, state: Callable[[], Snapshot], *, now: bool = False) -> None:
        """Is called at every change; `state` gives what to show, `now` asks for it at once."""

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Inside, nothing is shown, so that others can write to the terminal."""
        yield


class Work:
    """What is to be computed, and how far it is."""

    def __init__(self, show: Show | None = None, clock: Clock = time.monotonic) -> None:
        """Nothing is known to be needed yet."""
        self._show = show or Show()
        self._clock = clock
        self._missing: dict[str, str] = {}
        self._needed: set[str] = set()
        self._found: set[str] = set()
        self._seconds: dict[str, tuple[int, float]] = {}
        self._running: Running | None = None
        self._elsewhere: dict[str, tuple[Running, float]] = {}
        """Where something else runs, to what that is and when it began."""
        self._began = 0.0
        self._first = (0.0, 0, 0)
        """Of what is running, when its first step was told, and how many items and tokens were done then."""

    def need(self, key: str, kind: str, *, missing: bool) -> None:
        """A record is needed, which is missing in the store, or not; those of one `kind` take about as long."""
        self._needed.add(key)
        if missing:
            self._missing[key] = kind
            self._found.discard(key)

    def found(self, key: str) -> None:
        """A record is in the store."""
        self._found.add(key)

    def show(self) -> None:
        """Has its state shown at once."""
        self._show(self.snapshot, now=True)

    @contextmanager
    def running(self, what: str, kinds: Mapping[str, str] | None = None) -> Iterator[None]:
        """Inside, `what` is computed, which gives the records of all keys in `kinds`, a key to its kind of work."""
        of = kinds or {}
        try:
            self._running, self._began = Running(what, tuple(of)), self._clock()
            self.show()
            yield
            share = (self._clock() - self._began) / max(1, len(of))
            for kind in of.values():
                self._took(kind, share)
        finally:
            self._running = None
            self.show()

    def begin(self, where: str, what: str, kinds: Mapping[str, str]) -> None:
        """Elsewhere, `what` is computed, which gives the records of all keys in `kinds`, a key to its kind of work."""
        self._elsewhere[where] = Running(f"{where}: {what}", tuple(kinds)), self._clock()
        self._show(self.snapshot)

    def end(self, where: str, *, done: bool = True) -> None:
        """What ran there runs no more; its records are there, if it is `done`."""
        what, began = self._elsewhere.pop(where)
        kinds = [self._missing[key] for key in what.keys if key in self._missing] if done else []
        for kind in kinds:
            self._took(kind, (self._clock() - began) / len(kinds))
        self._show(self.snapshot)

    def _took(self, kind: str, seconds: float) -> None:
        records, spent = self._seconds.get(kind, (0, 0.0))
        self._seconds[kind] = records + 1, spent + seconds

    def step(self, doing: str, done: int, total: int, tokens: int = 0) -> None:
        """Of what is running, so much is done of `total`, for which so many tokens were computed."""
        before, now = self._running, self._clock()
        if before is None:
            return
        if doing != before.doing or done < before.done:
            self._first = now, done, tokens
        since, items, computed = self._first
        spent = now - since
        left = spent * (total - done) / (done - items) if done > items else None
        pace = (tokens - computed) / spent if spent else 0.0
        self._running = Running(before.what, before.keys, doing, done, total, pace, now - self._began, left)
        self._show(self.snapshot)

    def snapshot(self) -> Snapshot:
        """How it stands."""
        return Snapshot(
            needed=len(self._needed),
            missing=dict(self._missing),
            found=tuple(sorted(self._found)),
            seconds=dict(self._seconds),
            running=(*filter(None, [self._running]), *(each for each, _ in self._elsewhere.copy().values())),
        )


def _foreseen(running: Iterable[Running], kinds: Mapping[str, str]) -> dict[str, float]:
    """Kind of work to seconds of a record, as far as what is running tells."""
    told = (each for each in running if each.left is not None)
    return {
        kinds[key]: (each.spent + (each.left or 0.0)) / len(each.keys)
        for each in told
        for key in each.keys
        if key in kinds
    }


def _left(seconds: float | None) -> str:
    """`00:18 left`, `2:05:00 left`; nothing where it is not known."""
    return "" if seconds is None else f"{timedelta(seconds=round(seconds))} left".removeprefix("0:")
