"""Records on disk, one file per cell, named by its key: written whole or not at all, and checked when read."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError

from glu_prune.errors import CorruptError, StoreError
from glu_prune.experiment.locks import held
from glu_prune.experiment.parquet import encoded, parsed, rebuilt
from glu_prune.experiment.record import FloorRecord, Record, SeriesRecord
from glu_prune.files import write_whole

AnyRecord = Record | FloorRecord | SeriesRecord
Kept = TypeVar("Kept", Record, FloorRecord, SeriesRecord)

CELLS, CORRUPT, LOCKS = "cells", "corrupt", "locks"
"""The folders of a store."""


class Store:
    """A folder of records."""

    def __init__(self, folder: Path) -> None:
        """The folder is made when the first record is written."""
        self.folder = folder

    def path(self, key: str, kind: type[AnyRecord] = Record) -> Path:
        """Where the record of `key` is, or would be: in Parquet if it has items, else in JSON."""
        return self.folder / CELLS / f"{key}.{'json' if kind is SeriesRecord else 'parquet'}"

    def get(self, key: str, kind: type[Kept]) -> Kept | None:
        """The record of `key`, which is a `kind`; None if there is none.

        Raises:
            CorruptError: the file is there but cannot be trusted; it names the file.
            StoreError: the file cannot be read, or was written by a newer version.
        """
        path = self.path(key, kind)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            msg = f"{path} cannot be read: {error.strerror}; choose another store with --glu-store DIR"
            raise StoreError(msg) from error
        try:
            record: Kept = _series(path, content) if kind is SeriesRecord else _by_item(path, content, kind)
        except ValueError as error:
            msg = f"{path}: {error}"
            raise CorruptError(msg) from error
        if record.key != key:
            msg = f"{path}: it holds the record of {record.key[:12]}"
            raise CorruptError(msg)
        return record

    def put(self, record: AnyRecord) -> None:
        """Saves `record` under its key: complete once it returns, absent or as before if it fails.

        Raises:
            StoreError: the store cannot be written.
        """
        path = self.path(record.key, type(record))
        content = _line(record) if isinstance(record, SeriesRecord) else encoded(record)
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content, sync=True)

    def set_aside(self, key: str, kind: type[AnyRecord]) -> Path:
        """Moves the file of `key` to `corrupt/`, where it overwrites nothing; gives its new path.

        Whoever calls this holds the lock of `key`, and has found its file corrupt since.

        Raises:
            StoreError: the store cannot be written.
        """
        path, number = self.path(key, kind), 1
        with self._writing():
            (self.folder / CORRUPT).mkdir(exist_ok=True)
            while (target := self.folder / CORRUPT / f"{path.name}.{number}").exists():
                number += 1
            path.rename(target)
            return target

    @contextmanager
    def lock(self, key: str, waiting: Callable[[Path], None] = lambda _: None) -> Iterator[None]:
        """Holds the right to compute `key`; a process that dies gives it back.

        `waiting` is called with the lock's file if another process has it.

        Raises:
            StoreError: the store cannot be written.
        """
        with ExitStack() as stack:
            with self._writing():
                stack.enter_context(held(self.folder / LOCKS / key, waiting))
            yield

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            msg = f"the store {self.folder} cannot be written: {error}; choose another with --glu-store DIR"
            raise StoreError(msg) from error


def _by_item(path: Path, content: bytes, kind: type[Any]) -> Any:
    found = parsed(content)
    refuse_newer(path, found.head, kind)
    return rebuilt(found, kind)


def _series(path: Path, content: bytes) -> Any:
    first, _, body = content.partition(b"\n")
    if first != _checksum(body):
        msg = "its checksum does not match its content"
        raise ValueError(msg)
    refuse_newer(path, json.loads(body), SeriesRecord)
    try:
        return SeriesRecord.model_validate_json(body)
    except ValidationError as error:
        msg = f"{error.error_count()} fields are not as expected"
        raise ValueError(msg) from error


def refuse_newer(path: Path, facts: dict[str, Any], kind: type[AnyRecord]) -> None:
    """Raises `StoreError` if a file says that a newer version of this package wrote it."""
    found, known = facts.get("schema_version"), version_of(kind)
    if facts.get("kind", kind.__name__) == kind.__name__ and isinstance(found, int) and found > known:
        msg = (
            f"{path}: a {kind.__name__} of version {found}, from a newer glu-prune; this one reads version {known}; "
            "update glu-prune, or choose another store with --glu-store DIR"
        )
        raise StoreError(msg)


def version_of(kind: type[AnyRecord]) -> int:
    """The version of the layout of a `kind` that is written and read."""
    (known,) = get_args(kind.model_fields["schema_version"].annotation)
    return int(known)


def _line(record: SeriesRecord) -> bytes:
    body = f"{record.model_dump_json()}\n".encode()
    return _checksum(body) + b"\n" + body


def _checksum(body: bytes) -> bytes:
    return json.dumps({"sha256": hashlib.sha256(body).hexdigest()}).encode()
