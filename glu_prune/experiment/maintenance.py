"""What a store holds, whether it can be trusted, and what of it is of no use any more."""

import shutil
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glu_prune.errors import CorruptError, StoreError
from glu_prune.experiment import locks, scratch
from glu_prune.experiment.codec import KINDS, AnyRecord, recognised, version_of
from glu_prune.experiment.entry import Entry, entry_of
from glu_prune.experiment.marker import (
    CELLS,
    CHECKPOINTS,
    CORRUPT,
    DRAFT,
    DRAFTS,
    EARLIER_COPY,
    LOCK,
    LOCKS,
    RECORD,
    UNFINISHED,
    refuse_others,
)
from glu_prune.experiment.shared import address_of, fetched
from glu_prune.experiment.store import Store
from glu_prune.files import ABANDONED_AFTER, PARTIAL, unfinished

_A_DAY = 86400.0
_A_MONTH = 30 * _A_DAY


@dataclass(frozen=True)
class Removal:
    """A file that is of no use, or a folder that is a copy of a model."""

    path: Path
    why: str
    bytes: int
    about: str = ""
    """What it was, in words."""


def entries(folder: Path) -> list[Entry]:
    """All records in the store `folder`, by key; none of them is checked.

    Raises:
        StoreError: there is no store.
    """
    refuse_others(folder)
    fetched(folder)
    files = sorted(path for path in (folder / CELLS).glob("*") if RECORD.fullmatch(path.name) and path.is_file())
    return [entry_of(path) for path in files]


def records(folder: Path, kinds: Collection[type[AnyRecord]] = tuple(KINDS.values())) -> Iterator[AnyRecord]:
    """The records of `kinds` in the store `folder`, by key, read and checked.

    Raises:
        StoreError: there is no store, or a record cannot be trusted.
    """
    store = Store(folder)
    for entry in entries(folder):
        if entry.problem:
            msg = f"{entry.path}: {entry.problem}"
            raise CorruptError(msg)
        kind: Any = entry.kind
        if kind in kinds and (record := store.get(entry.key, kind)) is not None:
            yield record


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
    """What is of no use: records, what dead processes left behind, what was set aside, and locks that nobody holds.

    All of it was written by this package, which knows it by its name, and has read of records that they are useless.

    Raises:
        StoreError: there is no store, or it is elsewhere.
        OSError: it cannot be read.
    """
    if address := address_of(folder):
        msg = f"nothing is removed from {address}, where others may be at work; use the tools of that place"
        raise StoreError(msg)
    for entry in entries(folder):
        if why := entry.useless:
            about = (entry.head.get(name) for name in ("model", "arm", "task"))
            yield Removal(entry.path, why, entry.bytes, " ".join(str(each) for each in about if each))
    yield from _left_behind(folder)
    for path in sorted((folder / LOCKS).glob("*")):
        if LOCK.fullmatch(path.name) and path.is_file() and locks.free(path, remove=False):
            yield _removal(path, "locks that nobody holds")


def _left_behind(folder: Path) -> Iterator[Removal]:
    """What processes made on the way, and nothing goes on with."""
    left = {*unfinished(folder), *unfinished(folder / CELLS), *_earlier_unfinished(folder / CELLS)}
    for path in sorted(left):
        yield _removal(path, "files that were never finished")
    for path in sorted((folder / CORRUPT).glob("*")):
        if _is_corrupt(path):
            yield _removal(path, "corrupt records that were set aside")
    for path in scratch.abandoned(folder / CHECKPOINTS):
        yield _removal(path, "copies of models that dead processes left")
    for path in sorted((folder / DRAFTS).glob("*")):
        if DRAFT.fullmatch(path.name) and (Store(folder).path(path.stem).exists() or _untouched(path, _A_MONTH)):
            yield _removal(path, "texts of cells that are answered, or that no run has gone on with for a month")
    for path in _earlier_copies(folder):
        yield _removal(path, "copies of models that an earlier version left, a day ago or more")


def remove(removal: Removal) -> bool:
    """Removes what is of no use, unless somebody has taken it meanwhile; gives whether it is gone.

    Raises:
        OSError: it cannot be removed.
    """
    if removal.path.parent.name == LOCKS:
        return locks.free(removal.path, remove=True)
    if removal.path.parent.name == CHECKPOINTS and scratch.is_one(removal.path):
        return scratch.remove(removal.path)
    if removal.path.is_dir():
        shutil.rmtree(removal.path)
    else:
        removal.path.unlink(missing_ok=True)
    return True


def _removal(path: Path, why: str) -> Removal:
    inside = (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path] * path.exists()
    return Removal(path, why, sum(each.lstat().st_size for each in inside))


def _is_corrupt(path: Path) -> bool:
    """Whether it is a record that was set aside, and still is not as it was when it was written."""
    if not RECORD.fullmatch(path.stem) or not path.is_file():
        return False
    try:
        recognised(path.read_bytes(), str(path))
    except CorruptError:
        return True
    except (StoreError, OSError):
        return False
    return False


def _earlier_unfinished(cells: Path) -> Iterator[Path]:
    """Files that version 0 of the store did not finish; their names do not say who wrote them."""
    for path in cells.glob(f"*{PARTIAL}"):
        if UNFINISHED.fullmatch(path.name) and _untouched(path, ABANDONED_AFTER):
            yield path


def _earlier_copies(folder: Path) -> Iterator[Path]:
    """Copies of models in a store of version 0, whose names do not say for sure whether somebody uses them."""
    for path in sorted([*folder.glob("footprint-*"), *(folder / CHECKPOINTS).glob("*.*.*")]):
        own = EARLIER_COPY.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
        if own and all(_untouched(each, _A_DAY) for each in (path, *path.rglob("*"))):
            yield path


def _untouched(path: Path, seconds: float) -> bool:
    return time.time() - path.lstat().st_mtime > seconds
