"""Records of items as tables in Parquet: one row per item, the rest in the metadata, with a checksum over all of it."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from glu_prune.experiment.distance_record import DistanceRecord
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord

if TYPE_CHECKING:
    import pyarrow as pa

Items = Record | DistanceRecord | FloorRecord
ByItem = TypeVar("ByItem", Record, DistanceRecord, FloorRecord)

HEAD = b"glu_prune"
"""Metadata: whatever is not per item, as JSON."""
HEAD_CHECKSUM = b"glu_prune.head_sha256"
"""Metadata: SHA-256 over `HEAD` as it stands there, so that its version can be believed before the rest can be read."""
CHECKSUM = b"glu_prune.sha256"
"""Metadata: SHA-256 over the whole record, as `checksum` has it."""

_PLAIN = {
    "items": ("item", "text"),
    "outputs": ("output", "text"),
    "margins": ("margin", "number"),
    "lengths": ("length", "count"),
    "flaws": ("flaws", "texts"),
    "near_ties": ("near_tie", "flag"),
    "answers": ("answer", "text"),
    "sources": ("source", "text"),
    "questions": ("question", "text"),
    "targets": ("target", "text"),
    "divergences": ("kl", "number"),
    "tokens": ("tokens", "count"),
}
"""Fields of records to their columns; a field that is empty, or that a record has not, has none."""
_SCORES = {
    "values": ("metric", "number"),
    "weights": ("weight", "number"),
    "parts": ("parts", "numbers"),
    "constant": ("constant", "number"),
}
"""The same for each metric, whose name follows."""


@dataclass(frozen=True)
class Parsed:
    """What a file says, before it is known to be true."""

    head: dict[str, Any]
    sealed: bool
    """Whether the head has a checksum, which was right; earlier versions wrote none."""
    checksum: str
    columns: Mapping[str, list[Any]]


def checksum(record: Items) -> str:
    """SHA-256 over all that `record` says, whatever file it comes from."""
    # Where nobody kept them, as in packs and by earlier versions, they are no part of it.
    unknown: dict[str, Any] = {name: True for name in ("questions", "targets") if not getattr(record, name, ())}
    if not getattr(getattr(record, "size", None), "plan", ""):
        unknown["size"] = {"plan"}
    said = record.model_dump(mode="json", exclude=unknown)
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def encoded(record: Items) -> bytes:
    """`record` as the content of a Parquet file."""
    import pyarrow.parquet as pq

    said = json.dumps(_head(record)).encode()
    facts = {HEAD: said, HEAD_CHECKSUM: _sha256(said), CHECKSUM: checksum(record)}
    table = _table(_columns(record)).replace_schema_metadata(facts)
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", write_statistics=False, write_page_checksum=True)
    return stream.getvalue()


def tables(record: Items) -> Iterator[tuple[dict[str, str], "pa.Table"]]:
    """Whose items, and a table of them: of a record one, of floors one per null model, which stands for an arm."""
    if not isinstance(record, FloorRecord):
        whose = {"model": record.model, "arm": record.arm, "part": str(record.settings.get("part", ""))}
        yield {"key": record.key, **whose, "task": record.task}, _table(_columns(record))
        return
    for null, metrics in record.nulls.items():
        columns = [each for name, scores in metrics.items() for each in _score_columns("", name, scores)]
        whose = {"model": "", "arm": f"floor: {null}", "part": ""}
        yield {"key": record.key, **whose, "task": record.task}, _table([("item", "text", record.items), *columns])


def parsed(content: bytes) -> Parsed:
    """What `content` says, if it is a Parquet file with a head.

    Raises:
        ValueError: it is not.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _readable():
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        table = file.read(use_threads=False)
        facts = table.schema.metadata or {}
        columns = {name: _listed(table.column(name)) for name in table.column_names}
        return Parsed(_said(facts), HEAD_CHECKSUM in facts, facts[CHECKSUM].decode(), columns)


def rebuilt(found: Parsed, kind: type[ByItem]) -> ByItem:
    """The record that a file says.

    Raises:
        ValueError: it is none of this kind, or not as it was when it was written.
    """
    if found.head.get("kind") != kind.__name__:
        msg = f"it holds a {found.head.get('kind')}, not a {kind.__name__}"
        raise ValueError(msg)
    with _readable():
        record = kind.model_validate(_fields(found.head, found.columns))
    if found.checksum != checksum(record) or set(found.columns) != {name for name, _, _ in _columns(record)}:
        msg = "its checksum does not match its content"
        raise ValueError(msg)
    return record


def head(path: Path) -> tuple[dict[str, Any], int]:
    """What a file says of its record beside the items, and how many these are; without reading, or checking, them.

    Raises:
        ValueError: it cannot be read.
    """
    import pyarrow.parquet as pq

    with _readable():
        found = pq.read_metadata(path)
        return _said(found.metadata), found.num_rows


def _said(facts: Mapping[bytes, bytes]) -> dict[str, Any]:
    """The head; raises `ValueError` if it is not as it was when it was written."""
    if facts.get(HEAD_CHECKSUM, expected := _sha256(facts[HEAD])) != expected:
        msg = "the checksum of its head does not match"
        raise ValueError(msg)
    return dict(json.loads(facts[HEAD]))


def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


@contextmanager
def _readable() -> Iterator[None]:
    """Turns whatever a broken file makes its readers raise into a `ValueError` of one line."""
    import pyarrow as pa
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        msg = f"{error.error_count()} fields are not as expected"
        raise ValueError(msg) from error
    except (pa.ArrowException, OSError, KeyError, TypeError, AttributeError, ValueError) as error:
        msg = f"it is no record in Parquet ({' '.join(str(error).split())[:80]})"
        raise ValueError(msg) from error


def _table(columns: Iterable[tuple[str, str, tuple[Any, ...]]]) -> "pa.Table":
    import pyarrow as pa

    types = {"text": pa.string(), "flag": pa.bool_(), "count": pa.int64(), "number": pa.float64()}
    types |= {f"{name}s": pa.list_(types[name]) for name in ("text", "number")}
    return pa.table({name: pa.array(values, types[kind]) for name, kind, values in columns})


def _listed(column: "pa.ChunkedArray") -> list[Any]:
    """Plain values; by way of numpy where that can hold them, as it makes them all in one call."""
    import pyarrow as pa

    if pa.types.is_nested(column.type) or column.null_count:
        return list(column.to_pylist())
    return list(column.to_numpy().tolist())


def _columns(record: Items) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    """Name, type and values of each column."""
    if isinstance(record, FloorRecord):
        for field in ("items", "questions", "targets"):
            if values := getattr(record, field):
                yield (*_PLAIN[field], values)
        for null, metrics in record.nulls.items():
            for name, scores in metrics.items():
                yield from _score_columns(f"{null}.", name, scores)
        return
    for field, (column, kind) in _PLAIN.items():
        if values := getattr(record, field, ()):
            yield column, kind, values
    for name, labels in record.fields.items():
        yield f"field.{name}", "texts", labels
    for name, scores in record.metrics.items() if isinstance(record, Record) else ():
        yield from _score_columns("", name, scores)


def _score_columns(before: str, metric: str, scores: ScoreRecord) -> Iterator[tuple[str, str, tuple[Any, ...]]]:
    for field, (column, kind) in _SCORES.items():
        if values := getattr(scores, field):
            yield f"{before}{column}.{metric}", kind, values


def _head(record: Items) -> dict[str, Any]:
    """All that is in no column; of fields and metrics, their names in their order, and the scores."""
    kept = record.model_dump(mode="json", exclude={*_PLAIN, "fields", "metrics", "nulls"})
    if isinstance(record, FloorRecord):
        scores = {null: _overall(metrics) for null, metrics in record.nulls.items()}
        return {"kind": "FloorRecord", **kept, "nulls": scores}
    metrics = {"metrics": _overall(record.metrics)} if isinstance(record, Record) else {}
    return {"kind": type(record).__name__, **kept, "fields": list(record.fields), **metrics}


def _overall(metrics: Mapping[str, ScoreRecord]) -> dict[str, float]:
    return {name: scores.score for name, scores in metrics.items()}


def _fields(facts: Mapping[str, Any], columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    """The fields of a record: the inverse of `_head` and `_columns`."""
    found = {name: value for name, value in facts.items() if name != "kind"}
    plain = {field: columns[column] for field, (column, _) in _PLAIN.items() if column in columns}
    if "nulls" in facts:
        nulls = {null: _metrics(f"{null}.", metrics, columns) for null, metrics in facts["nulls"].items()}
        return {**found, **plain, "nulls": nulls}
    labels = {name: columns[f"field.{name}"] for name in facts["fields"]}
    metrics = {"metrics": _metrics("", facts["metrics"], columns)} if "metrics" in facts else {}
    return {**found, **plain, "fields": labels, **metrics}


def _metrics(
    before: str, scores: Mapping[str, float], columns: Mapping[str, list[Any]]
) -> dict[str, dict[str, float | list[Any]]]:
    found: dict[str, dict[str, float | list[Any]]] = {}
    for name, score in scores.items():
        given = {field: f"{before}{column}.{name}" for field, (column, _) in _SCORES.items()}
        found[name] = {"score": score, **{field: columns[key] for field, key in given.items() if key in columns}}
    return found
