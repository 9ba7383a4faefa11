"""Records as bytes, as files hold them and executors give them: Parquet if they have items, else a line of JSON."""

import hashlib
import json
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from glu_prune.errors import CorruptError, StoreError
from glu_prune.experiment import parquet
from glu_prune.experiment.cost_record import CostRecord, SeriesRecord
from glu_prune.experiment.distance_record import DistanceRecord
from glu_prune.experiment.record import FloorRecord, Record

AnyRecord = Record | DistanceRecord | FloorRecord | CostRecord | SeriesRecord
RecordT = TypeVar("RecordT", Record, DistanceRecord, FloorRecord, CostRecord, SeriesRecord)

KINDS: dict[str, type[AnyRecord]] = {
    each.__name__: each for each in (Record, DistanceRecord, FloorRecord, CostRecord, SeriesRecord)
}
_IN_JSON = (CostRecord, SeriesRecord)


def suffix(kind: type[AnyRecord]) -> str:
    """How names of files that hold a `kind` end."""
    return ".json" if kind in _IN_JSON else ".parquet"


def version_of(kind: type[AnyRecord]) -> int:
    """The version of the layout of a `kind` that is written and read."""
    (known,) = get_args(kind.model_fields["schema_version"].annotation)
    return int(known)


def encoded(record: AnyRecord) -> bytes:
    """`record` with a checksum over it."""
    if isinstance(record, Record | DistanceRecord | FloorRecord):
        return parquet.encoded(record)
    body = f"{record.model_dump_json()}\n".encode()
    return _checksum(body) + b"\n" + body


def decoded(content: bytes, kind: type[RecordT], where: str) -> RecordT:
    """The record that `content` holds; `where` it is from begins messages.

    Raises:
        CorruptError: it is not as it was when it was written, or no `kind`.
        StoreError: a newer version wrote it.
    """
    try:
        record: RecordT = (_json if kind in _IN_JSON else _table)(content, kind, where)
    except ValueError as error:
        msg = f"{where}: {error}"
        raise CorruptError(msg) from error
    return record


def recognised(content: bytes, where: str) -> AnyRecord:
    """The record, of whatever kind, that `content` says that it holds; `where` it is from begins messages.

    Raises:
        CorruptError: it is not as it was when it was written, or no record.
        StoreError: a newer version wrote it.
    """
    try:
        said = json.loads(content.partition(b"\n")[2]) if content.startswith(b"{") else parquet.parsed(content).head
    except ValueError as error:
        msg = f"{where}: {error}"
        raise CorruptError(msg) from error
    kind: Any = KINDS.get(said.get("kind", ""))
    if kind is None:
        msg = f"{where}: it holds a {said.get('kind')}, which is no record"
        raise CorruptError(msg)
    record: AnyRecord = decoded(content, kind, where)
    return record


def _table(content: bytes, kind: type[Any], where: str) -> Any:
    found = parquet.parsed(content)
    if found.sealed:  # every version that is newer than one without a seal writes it: without, the number is not one
        _refuse_newer(found.head, kind, where)
    return parquet.rebuilt(found, kind)


def _json(content: bytes, kind: type[Any], where: str) -> Any:
    first, _, body = content.partition(b"\n")
    if first != _checksum(body):
        msg = "its checksum does not match its content"
        raise ValueError(msg)
    _refuse_newer(json.loads(body), kind, where)
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        msg = f"{error.error_count()} fields are not as expected"
        raise ValueError(msg) from error


def _refuse_newer(facts: dict[str, Any], kind: type[AnyRecord], where: str) -> None:
    """Raises `StoreError` if the facts of a record say that a newer version of this package wrote it."""
    found, known = facts.get("schema_version"), version_of(kind)
    if facts.get("kind", kind.__name__) == kind.__name__ and isinstance(found, int) and found > known:
        msg = (
            f"{where}: a {kind.__name__} of version {found}, from a newer glu-prune; this one reads version {known}; "
            "update glu-prune, or choose another store with --glu-store DIR"
        )
        raise StoreError(msg)


def _checksum(body: bytes) -> bytes:
    return json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode()
