"""What makes a folder a store: a file in it that says so, and of which version the store is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from glu_prune.errors import StoreError, shown
from glu_prune.experiment.entry import entry_of
from glu_prune.files import write_whole

MARKER = "glu-prune-store.json"
VERSION = 1
"""Of how a store is laid out; records have versions of their own."""
CELLS, CORRUPT, LOCKS, DECLARED, CHOSEN = "cells", "corrupt", "locks", "declared", "chosen"
CHECKPOINTS, DRAFTS = "checkpoints", "drafts"
"""The folders of a store."""
RECORD = re.compile(r"[0-9a-f]{64}\.(?:parquet|json)")
"""Names of files that hold records."""
LOCK = re.compile(r"[0-9a-f]{64}(?:\.soft)?")
"""Names of locks."""
DRAFT = re.compile(r"[0-9a-f]{64}\.jsonl")
"""Names of files with texts of cells that are not answered as a whole yet."""
UNFINISHED = re.compile(r"\.[0-9a-f]{32}(?:\..+)?\.partial")
"""Names of files that are being written, in this version or an earlier one."""
EARLIER_COPY = re.compile(r"footprint-\w{8}|\S+\.\d+\.\d+")
"""Names of copies of models in stores of version 0, which had no marker."""
_OF_NOBODY = {".gitignore", ".gitkeep", ".DS_Store", "CACHEDIR.TAG", "lost+found"}
"""What file systems and tools put into any folder."""
_HOLD = {
    CELLS: RECORD,
    CORRUPT: re.compile(rf"{RECORD.pattern}\.\d+"),
    LOCKS: LOCK,
    DECLARED: re.compile(r"[0-9a-f]+\.json"),
    CHOSEN: re.compile(r"[0-9a-f]{64}\.json"),
    DRAFTS: DRAFT,
    CHECKPOINTS: re.compile(rf"glu-prune-[0-9a-f]{{32}}\S*|{EARLIER_COPY.pattern}"),
}
"""What names in each folder are like."""


def mark(folder: Path) -> None:
    """Makes `folder` a store, which is made if it is not there, unless it is one already.

    Raises:
        StoreError: it holds what no store does, or is a store of a newer version.
        OSError: it cannot be written.
    """
    if not is_marked(folder):
        if folder.is_dir():
            _refuse_foreign(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / MARKER, json.dumps({"store": VERSION}) + "\n", sync=True)


def refuse_others(folder: Path) -> None:
    """Raises `StoreError` unless `folder` is a store, of this version or of an earlier one, which had no marker."""
    if not folder.is_dir():
        msg = f"{folder} is no folder of records; name one with --store DIR"
        raise StoreError(msg)
    if not is_marked(folder):
        _refuse_foreign(folder)


def is_marked(folder: Path) -> bool:
    """Whether `folder` says that it is a store of this version.

    Raises:
        StoreError: it says that it is another, or nothing that can be understood.
    """
    path = folder / MARKER
    if not path.is_symlink() and not path.exists():
        return False
    if not path.is_file():  # a pipe would be read for ever
        msg = f"{path} is no file, so that nothing says of which version the store is; name another store"
        raise StoreError(msg)
    try:
        content = path.read_bytes()
    except OSError as error:
        msg = f"{path} cannot be read ({error.strerror}), so that nothing says of which version the store is"
        raise StoreError(msg) from error
    version_said(content, folder)
    return True


def version_said(content: bytes, where: object) -> None:
    """Raises `StoreError` unless the marker of the store `where` says that it is of this version."""
    try:
        found = json.loads(content)["store"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        msg = (
            f"{where}/{MARKER} does not say of which version the store is ({type(error).__name__}); name another store"
        )
        raise StoreError(msg) from error
    if type(found) is not int or found != VERSION:
        msg = (
            f"{where} is a store of version {shown(found)}; this glu-prune reads {VERSION}: update it, or name another"
        )
        raise StoreError(msg)


def _refuse_foreign(folder: Path) -> None:
    """Raises `StoreError` unless `folder` holds nothing but what stores had before there were markers."""
    try:
        foreign = next(_foreign(folder), None)
    except OSError as error:
        msg = f"{folder} cannot be read: {error}; choose another store"
        raise StoreError(msg) from error
    if foreign is not None:
        msg = (
            f"{folder} is no store of glu-prune, as it holds {foreign}; choose a new or empty folder, or another store"
        )
        raise StoreError(msg)


def _foreign(folder: Path) -> Iterator[str]:
    """Names of what is in `folder`, and in no store."""
    for path in sorted(folder.iterdir()):
        known = path.name in _HOLD or EARLIER_COPY.fullmatch(path.name)
        passing = path.name in _OF_NOBODY or UNFINISHED.fullmatch(path.name)
        if not (passing or (known and path.is_dir())):
            yield path.name
    for name, like in _HOLD.items():
        for path in sorted((folder / name).glob("*")):
            if not (like.fullmatch(path.name) or UNFINISHED.fullmatch(path.name) or path.name in _OF_NOBODY):
                yield f"{name}/{path.name}"
    records = sorted(path for path in (folder / CELLS).glob("*") if RECORD.fullmatch(path.name))
    if records and all(entry_of(path).problem for path in records):
        yield f"{CELLS}/{records[0].name}, which is no record"
