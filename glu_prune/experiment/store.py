"""Records on disk, one file per cell, named by its key: written whole or not at all, and checked when read."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from glu_prune.errors import StoreError
from glu_prune.experiment.record import FloorRecord, Record, SeriesRecord

Kept = TypeVar("Kept", Record, FloorRecord, SeriesRecord)


class Store:
    """A folder of records."""

    def __init__(self, folder: Path) -> None:
        """The folder is made when the first record is written."""
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the record of `key` is, or would be."""
        return self.folder / "cells" / f"{key}.json"

    def get(self, key: str, kind: type[Kept]) -> Kept | None:
        """The record of `key`, which is a `kind`; None if there is none.

        Raises:
            StoreError: the file is there but cannot be trusted; it names the file.
        """
        path = self.path(key)
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._distrust(path, str(error)) from error
        head, _, body = text.partition("\n")
        if head != _checksum(body):
            raise self._distrust(path, "its checksum does not match its content")
        try:
            record = kind.model_validate_json(body)
        except ValidationError as error:
            raise self._distrust(path, f"{error.error_count()} fields are not as expected") from error
        if record.key != key:
            raise self._distrust(path, f"it holds the record of {record.key[:12]}")
        return record

    def put(self, record: Record | FloorRecord | SeriesRecord) -> None:
        """Saves `record` under its key: complete once it returns, absent or as before if it fails.

        Raises:
            StoreError: the store cannot be written.
        """
        path = self.path(record.key)
        body = record.model_dump_json() + "\n"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", dir=path.parent, suffix=".partial", delete=False, encoding="utf-8"
            ) as stream:
                try:
                    stream.write(f"{_checksum(body)}\n{body}")
                    stream.flush()
                    os.fsync(stream.fileno())
                    os.replace(stream.name, path)
                except BaseException:
                    os.unlink(stream.name)
                    raise
        except OSError as error:
            msg = f"the store {self.folder} cannot be written: {error}; choose another with --glu-store DIR"
            raise StoreError(msg) from error

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Holds the right to compute `key`; a process that dies gives it back.

        Raises:
            StoreError: the store cannot be written.
        """
        from filelock import FileLock

        path = self.folder / "locks" / key
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            guard = FileLock(path)
            guard.acquire()
        except OSError as error:
            msg = f"the store {self.folder} cannot be written: {error}; choose another with --glu-store DIR"
            raise StoreError(msg) from error
        try:
            yield
        finally:
            guard.release()

    @staticmethod
    def _distrust(path: Path, reason: str) -> StoreError:
        return StoreError(f"{path}: {reason}; delete this file to have its cell computed again")


def _checksum(body: str) -> str:
    return json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest()})
