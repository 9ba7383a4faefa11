"""What a store holds, whether it can be trusted, and what of it is of no use any more."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from glu_prune.errors import CorruptError, StoreError
from glu_prune.experiment import locks, parquet
from glu_prune.experiment.code import (
    DISTANCES,
    MEASURING,
    METERING,
    SCORING,
    Roots,
    code_fingerprint,
    library_versions,
)
from glu_prune.experiment.codec import KINDS, AnyRecord, version_of
from glu_prune.experiment.cost_record import CostRecord, SeriesRecord
from glu_prune.experiment.distance_record import DistanceRecord
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.experiment.store import CELLS, CORRUPT, LOCKS, Store
from glu_prune.files import PARTIAL

_CODE: Mapping[type[AnyRecord], Roots] = {
    Record: SCORING,
    DistanceRecord: DISTANCES,
    FloorRecord: SCORING,
    CostRecord: METERING,
    SeriesRecord: MEASURING,
}
"""What computes each kind."""
_EARLIER = "records of earlier versions of the layout"


@dataclass(frozen=True)
class Entry:
    """A file of a store that holds a record, by what it says of itself."""

    path: Path
    kind: type[AnyRecord] | None
    """None if this version has no such kind."""
    head: Mapping[str, Any]
    """What is not per item."""
    items: int | None
    bytes: int
    problem: str = ""
    """Why it cannot be read."""

    @property
    def key(self) -> str:
        """That of its cell."""
        return self.path.stem

    @property
    def useless(self) -> str:
        """Why nothing will ever ask for it again; empty if something may."""
        if self.problem:
            return "records that cannot be read"
        if self.kind is None:
            return _EARLIER if "kind" not in self.head else ""
        if (version := self.head["schema_version"]) != (known := version_of(self.kind)):
            return _EARLIER if version < known else ""
        if self.head["code"] != code_fingerprint(_CODE[self.kind]):
            return "records made by other code"
        return "" if _same_libraries(self.head["versions"]) else "records made with other versions of libraries"


@dataclass(frozen=True)
class Removal:
    """A file that is of no use."""

    path: Path
    why: str
    bytes: int


def entries(folder: Path) -> list[Entry]:
    """All records in the store `folder`, by key; none of them is checked.

    Raises:
        StoreError: there is no store.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder of records; name one with --store DIR"
        raise StoreError(msg)
    files = sorted((folder / CELLS).glob("*"))
    return [_entry(path) for path in files if path.suffix in (".parquet", ".json")]


def find(folder: Path, prefix: str) -> Entry:
    """The record whose key begins with `prefix`.

    Raises:
        StoreError: there is none, or several, or `prefix` is no beginning of a key.
    """
    if not prefix or set(prefix) - set("0123456789abcdef"):
        msg = f"{prefix!r} begins no key; keys are of 0-9 and a-f, as `glu-prune store ls` shows them"
        raise StoreError(msg)
    found = [entry for entry in entries(folder) if entry.key.startswith(prefix)]
    if len(found) != 1:
        some = ": " + ", ".join(entry.key[:12] for entry in found[:8]) if found else ""
        msg = f"{len(found)} keys in {folder} begin with {prefix}{some}; `glu-prune store ls` shows all"
        raise StoreError(msg)
    return found[0]


def check(folder: Path, entry: Entry) -> str:
    """What is wrong with a record, read as a whole; empty if nothing is, or another version has to read it."""
    if entry.problem:
        return entry.problem
    if entry.kind is None or entry.head["schema_version"] != version_of(entry.kind):
        return ""
    try:
        kind: Any = entry.kind
        Store(folder).get(entry.key, kind)
    except CorruptError as error:
        return str(error).removeprefix(f"{entry.path}: ")
    return ""


def removals(folder: Path) -> Iterator[Removal]:
    """Files of no use: records, what was left behind, what was set aside, and locks that nobody holds.

    Raises:
        StoreError: there is no store.
    """
    for entry in entries(folder):
        if why := entry.useless:
            yield Removal(entry.path, why, entry.bytes)
    for path in sorted((folder / CELLS).glob(f"*{PARTIAL}")):
        if time.time() - path.stat().st_mtime > locks.ABANDONED_AFTER:
            yield _removal(path, "files that were never finished")
    for path in sorted((folder / CORRUPT).glob("*")):
        yield _removal(path, "corrupt records that were set aside")
    for path in sorted((folder / LOCKS).glob("*")):
        if locks.free(path, remove=False):
            yield _removal(path, "locks that nobody holds")


def remove(removal: Removal) -> bool:
    """Removes a file, unless it is a lock that was taken meanwhile; gives whether it did.

    Raises:
        OSError: it cannot be removed.
    """
    if removal.path.parent.name == LOCKS:
        return locks.free(removal.path, remove=True)
    removal.path.unlink(missing_ok=True)
    return True


def _removal(path: Path, why: str) -> Removal:
    return Removal(path, why, path.stat().st_size)


def _entry(path: Path) -> Entry:
    size = path.stat().st_size
    try:
        if path.suffix == ".parquet":
            head, items = parquet.head(path)
            return Entry(path, KINDS.get(str(head["kind"])), _sound(head), items, size)
        head = json.loads(path.read_text(encoding="utf-8").partition("\n")[2])
        return Entry(path, KINDS.get(str(head.get("kind"))), _sound(head), None, size)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Entry(path, None, {}, None, size, str(error) or repr(error))


def _sound(head: dict[str, Any]) -> dict[str, Any]:
    """`head`, if it has what all have; raises `KeyError` or `TypeError` if not."""
    if not isinstance(head["schema_version"], int):
        raise TypeError(head["schema_version"])
    return {"code": "", **head, "versions": dict(head["versions"])}


def _same_libraries(versions: Mapping[str, str]) -> bool:
    """Whether the libraries here are those with which a record was made."""
    return set(library_versions()) <= set(versions) and all(_installed(name) == each for name, each in versions.items())


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
