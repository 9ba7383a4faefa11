"""A baseline on disk: a text that people review, and its items beside it, which belong to it by their checksum."""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from glu_prune.baseline.compare import closest
from glu_prune.baseline.names import Names
from glu_prune.baseline.outcome import CHAT, About, Key, Outcome, Strict
from glu_prune.errors import BaselineError, invalid
from glu_prune.evaluation.metrics import aggregate
from glu_prune.files import write_whole

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_AGREEMENT = 1e-6
AGAIN = "pin it again with --glu-save-baseline, or restore both files"


class Environment(Strict):
    """Where outcomes come from."""

    machine: str
    versions: Mapping[str, str]


class _Text(Strict):
    """All that the reviewable file holds."""

    schema_version: Literal[1] = 1
    environment: Environment
    items_sha256: str
    outcomes: tuple[About, ...]


@dataclass(frozen=True)
class Baseline:
    """Outcomes that others are compared with."""

    environment: Environment
    outcomes: tuple[Outcome, ...]

    def find(self, wanted: Outcome) -> Outcome | None:
        """The outcome of the same thing, asked in the same way if there is one; None if there is none."""
        return closest([each for each in self.outcomes if each.about.key == wanted.about.key], wanted)

    def places(self, keys: Iterable[Key]) -> frozenset[int]:
        """The places of all outcomes of these things."""
        wanted = frozenset(keys)
        return frozenset(place for place, each in enumerate(self.outcomes) if each.about.key in wanted)


def is_baseline(path: Path) -> bool:
    """Whether `path` is the text of a baseline, whatever else may be wrong with it."""
    try:
        content = json.loads(path.read_bytes()) if path.suffix == ".json" and path.is_file() else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and "items_sha256" in content


def refuse_name(name: str) -> None:
    """Raises `BaselineError` unless `name` can be that of a file, in any folder and on any system."""
    if not _NAME.fullmatch(name) or ".." in name:
        msg = (
            f"baseline name {name[:200]!r} is not allowed; it is at most 100 letters, digits, '.', '_' and '-', begins "
            "with a letter or digit, and has no '..'"
        )
        raise BaselineError(msg)


def path_of(folder: Path, name: str) -> Path:
    """Where the text of baseline `name` is, or would be.

    Raises:
        BaselineError: it is no name.
    """
    refuse_name(name)
    return folder / f"{name}.json"


def save(path: Path, environment: Environment, outcomes: Iterable[Outcome]) -> int:
    """Writes a baseline, each of its two files whole, the items first; gives how many outcomes it holds.

    Raises:
        BaselineError: it cannot be written, or there is nothing to write.
    """
    every = sorted(outcomes, key=lambda each: (each.about.key, sorted(each.about.comparable.items(), key=str)))
    if not every:
        msg = f"{path}: no case was measured, so there is nothing to pin"
        raise BaselineError(msg)
    items = _packed(every)
    text = _Text(
        environment=environment,
        items_sha256=hashlib.sha256(items).hexdigest(),
        outcomes=tuple(each.about for each in every),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(_beside(path), items, sync=True)
        shown = json.dumps(text.model_dump(exclude_none=True), indent=1, sort_keys=True, ensure_ascii=False)
        write_whole(path, f"{shown}\n", sync=True)
    except OSError as error:
        msg = f"{path} cannot be written: {error}; choose another folder with --glu-baselines DIR"
        raise BaselineError(msg) from error
    return len(every)


def load(path: Path) -> Baseline:
    """The baseline at `path`.

    Raises:
        BaselineError: there is none, one of its files is missing or was changed, or it says what is not allowed.
    """
    try:
        text = _Text.model_validate_json(path.read_bytes())
    except OSError as error:
        msg = f"{path} cannot be read: {error.strerror or error}"
        raise BaselineError(msg) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        msg = f"{path} is no baseline that this version reads: {where}: {invalid(first)}; {AGAIN}"
        raise BaselineError(msg) from error
    columns, names = _unpacked(path, text), Names.beside(path.parent)
    found = []
    for index, about in enumerate(text.outcomes):
        # Earlier versions wrote `NAME (chat)`.
        written = about.model.removesuffix(CHAT) if about.chat else about.model
        here = about.model_copy(update={"model": names.read(written)})
        each = Outcome(here, *columns.get(index, ((), (), (), None)))
        _refuse_edited(path, each)
        found.append(each)
    return Baseline(text.environment, tuple(found))


def _refuse_edited(path: Path, each: Outcome) -> None:
    """Raises `BaselineError` if the text says something else than the items do."""
    try:
        score = aggregate(each.about.metric, each.values, each.weights)
    except ArithmeticError:  # weights of 0, or logarithms of no perplexity
        score = math.nan
    if each.about.n != len(each.items) or not math.isclose(
        each.about.score, score, rel_tol=_AGREEMENT, abs_tol=_AGREEMENT
    ):
        says, has = f"{each.about.score:g} over {each.about.n} items", f"{score:g} over {len(each.items)}"
        msg = f"{path}: {each.about.name} is {says}, but {has} by its items; {AGAIN}"
        raise BaselineError(msg)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.items.parquet")


def _packed(outcomes: Sequence[Outcome]) -> bytes:
    """One row per item of each outcome; bytes that are the same for the same outcomes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [row for index, each in enumerate(outcomes) for row in _rows(index, each)]
    schema = _schema()
    arrays = [pa.array(each, field.type) for each, field in zip(zip(*rows, strict=True), schema, strict=True)]
    table = pa.table(arrays, schema=schema)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_statistics=False)
    packed: bytes = sink.getvalue().to_pybytes()
    return packed


def _schema() -> Any:
    import pyarrow as pa

    types = {"outcome": pa.int32(), "item": pa.string(), "value": pa.float64(), "weight": pa.float64()}
    always = [pa.field(name, each, nullable=False) for name, each in types.items()]
    return pa.schema([*always, pa.field("cluster", pa.string())])


def _rows(index: int, each: Outcome) -> Iterator[tuple[Any, ...]]:
    clusters = each.clusters or (None,) * len(each.items)
    columns = zip(each.items, each.values, each.weights, clusters, strict=True)
    yield from ((index, *row) for row in columns)


def _unpacked(path: Path, text: _Text) -> dict[int, tuple[Any, ...]]:
    """Outcome to its columns: items, values, weights, clusters.

    Raises:
        BaselineError: the items are not there, or not those that belong to the text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    beside = _beside(path)
    try:
        packed = beside.read_bytes()
    except OSError as error:
        msg = f"{beside}, the items of {path.name}, cannot be read: {error.strerror or error}; {AGAIN}"
        raise BaselineError(msg) from error
    if hashlib.sha256(packed).hexdigest() != text.items_sha256:
        msg = f"{beside} does not belong to {path.name}: its checksum is another; {AGAIN}"
        raise BaselineError(msg)
    try:
        table = pq.read_table(pa.BufferReader(packed)).cast(_schema()).to_pydict()
        rows = zip(*table.values(), strict=True)
        found: dict[int, list[tuple[Any, ...]]] = {}
        for index, *row in rows:
            found.setdefault(index, []).append(tuple(row))
    except (pa.ArrowException, ValueError) as error:
        msg = f"{beside} holds no items of a baseline: {str(error).splitlines()[0]}; {AGAIN}"
        raise BaselineError(msg) from error
    return {index: _columns(rows) for index, rows in found.items()}


def _columns(rows: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    items, values, weights, clusters = zip(*rows, strict=True)
    return items, values, weights, None if clusters[0] is None else clusters
