"""What a log of another harness says of one task: its items, known by their content, and outcomes of their scores."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from glu_prune.baseline.outcome import About, Fact, Outcome
from glu_prune.errors import BaselineError, first_line
from glu_prune.experiment.cell import DENSE
from glu_prune.files import regular

Document = Mapping[str, Any]
_MIB = 2**20
MOST = 1024 * _MIB
"""Bytes of a file that is read at once."""
HARNESS = "harness"
"""The setting that says who wrote a log."""


@dataclass(frozen=True)
class LoggedTask:
    """One task of one model."""

    model: str
    task: str
    documents: Sequence[Document]
    """Of each item what it asks, and what is right."""
    comparable: Mapping[str, Fact]
    settings: Mapping[str, Fact] = field(default_factory=dict)

    @cached_property
    def items(self) -> tuple[str, ...]:
        """The identity of each item: the hash of its document, and of how often that came before.

        Neither its id nor its place is part of it: a harness numbers items anew when their order changes. Items of the
        same document are not told apart, but by their order.
        """
        seen = Counter[str]()
        found = []
        for document in self.documents:
            text = json.dumps(document, sort_keys=True)
            found.append(hashlib.sha256(f"{text}|{seen[text]}".encode()).hexdigest()[:16])
            seen[text] += 1
        return tuple(found)

    @cached_property
    def _sources(self) -> list[str]:
        """The source of each item, if any two share one."""
        from glu_prune.evaluation.shared_sources import shared_sources

        return list(shared_sources({self.task: self.documents}).values())

    def outcome(
        self,
        metric: str,
        score: float,
        values: Mapping[int, float],
        weights: Sequence[float] = (),
        *,
        higher_is_better: bool,
    ) -> Outcome:
        """What `metric` comes to, with its `values` by the places of items; an item that has none is not scored."""
        items = tuple(self.items[place] for place in values)
        about = About(
            model=self.model,
            arm=DENSE.label,
            capability=named(self.task, metric),
            task=self.task,
            metric=metric,
            higher_is_better=higher_is_better,
            score=score,
            n=len(items),
            comparable=self.comparable,
            settings=self.settings,
        )
        clusters = tuple(self._sources[place] for place in values) if self._sources else None
        return Outcome(about, items, tuple(values.values()), tuple(weights) or (1.0,) * len(items), clusters)


def named(task: str, metric: str) -> str:
    """What stands for a capability where none is known: a log may score a task in several ways."""
    return f"{task}/{metric}"


def facts(found: Mapping[str, Any]) -> dict[str, Fact]:
    """Those of `found` that can be told in a word."""
    return {name: value for name, value in found.items() if isinstance(value, str | int | bool | float)}


def read_bytes(path: Path) -> bytes:
    """A file that a harness wrote.

    Raises:
        OSError: it cannot be read.
        BaselineError: it is too large.
    """
    refuse_larger(path, regular(path).stat().st_size, MOST)
    return path.read_bytes()


def refuse_larger(what: object, size: int, most: int) -> None:
    """Raises `BaselineError` if `what` has more than so many bytes."""
    if size > most:
        there, read = f"{size / _MIB:,.0f} MiB", f"{most / _MIB:,.0f}"
        msg = f"{what} has {there}, of which at most {read} are read; log fewer items, or less of each"
        raise BaselineError(msg)


@contextmanager
def written_by(harness: str, what: object, mend: str) -> Iterator[None]:
    """Raises `BaselineError` where reading `what` fails, as no log of `harness` does."""
    try:
        yield
    except BaselineError:
        raise
    except Exception as error:  # anything may be in such files, anywhere
        if isinstance(error, OSError) and error.filename:
            msg = f"{error.filename} cannot be read: {error.strerror or error}"
            raise BaselineError(msg) from error
        msg = f"{what} is not what {harness} writes: {first_line(error)}; {mend}"
        raise BaselineError(msg) from error


def unsaid(abouts: Iterable[About]) -> list[str]:
    """What the logs, of which some outcomes are, leave open: a sentence for each harness."""
    every = dict.fromkeys(str(about.settings.get(HARNESS, "")).partition(" ")[0] for about in abouts)
    return [f"note: a log of {each} {_UNSAID[each]}" for each in every if each in _UNSAID]


_FLOORS = "what answers without content would score"
_UNSAID = {
    "inspect-ai": "says neither which way a score is better (higher is assumed), nor how prompts were put to the "
    f"model, nor {_FLOORS}",
    "lighteval": f"says neither how prompts were put to the model, but for a hash of their tokens, nor {_FLOORS}",
}
