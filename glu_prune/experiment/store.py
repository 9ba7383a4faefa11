"""Records on disk, one file per key: written whole or not at all, and checked when read.

Of a store elsewhere there is a copy on disk (`shared.py`), through which all is read and written.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from glu_prune.errors import CorruptError, StoreError
from glu_prune.experiment import scratch
from glu_prune.experiment.codec import AnyRecord, RecordT, decoded, encoded, suffix
from glu_prune.experiment.locks import held
from glu_prune.experiment.marker import CELLS, CHECKPOINTS, CHOSEN, CORRUPT, DECLARED, DRAFTS, LOCKS, is_marked, mark
from glu_prune.experiment.record import Record
from glu_prune.experiment.shared import shared
from glu_prune.files import write_whole

_TEXTS = TypeAdapter(dict[str, str])


class Store:
    """A folder of records."""

    def __init__(self, folder: Path) -> None:
        """The folder is made, and marked as a store, when the first record is written."""
        self.folder = folder
        self._shared = shared(folder)
        self._prepared = False

    def path(self, key: str, kind: type[AnyRecord] = Record) -> Path:
        """Where the record of `key` is, or would be."""
        return self.folder / CELLS / f"{key}{suffix(kind)}"

    def draft(self, key: str) -> Path:
        """Where finished texts are kept until all of the cell of `key` are, and of those that are answered with it."""
        return self.folder / DRAFTS / f"{key}.jsonl"

    def get(self, key: str, kind: type[RecordT]) -> RecordT | None:
        """The record of `key`, which is a `kind`; None if there is none.

        Raises:
            CorruptError: the file is there but cannot be trusted; it names the file.
            StoreError: the file cannot be read, or was written by a newer version.
        """
        path = self.path(key, kind)
        is_marked(self.folder)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return self._fetched(key, kind)
        except OSError as error:
            msg = f"{path} cannot be read: {error.strerror}; choose another store with --glu-store DIR"
            raise StoreError(msg) from error
        return _of_key(key, content, kind, str(path))

    def _fetched(self, key: str, kind: type[RecordT]) -> RecordT | None:
        """The record of `key` from elsewhere, which is kept here from then on."""
        path = self.path(key, kind)
        if self._shared is None or (content := self._shared.fetch(path.name)) is None:
            return None
        record = _of_key(key, content, kind, f"{self._shared.address}/{CELLS}/{path.name}")
        self._keep(path, content)
        return record

    def put(self, record: AnyRecord) -> None:
        """Saves `record`, as `write` does."""
        self.write(record.key, type(record), encoded(record))

    def write(self, key: str, kind: type[AnyRecord], content: bytes) -> AnyRecord | None:
        """Saves an encoded record under its key: complete once this returns, absent or as before if it fails.

        Gives the record that stands there instead, where somebody else has put one into a store elsewhere meanwhile.

        Raises:
            StoreError: the store cannot be written.
        """
        path = self.path(key, kind)
        self._keep(path, content)
        if self._shared is None or (stands := self._shared.create(path.name, content)) == content:
            return None
        try:
            other: Any = kind
            record: AnyRecord = _of_key(key, stands, other, f"{self._shared.address}/{CELLS}/{path.name}")
        except CorruptError:
            self._shared.set_aside(path.name)
            self._shared.create(path.name, content)
            return None
        self._keep(path, stands)
        return record

    def _keep(self, path: Path, content: bytes) -> None:
        with self._writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, content, sync=True)

    def declare(self, digest: str, what: Mapping[str, object]) -> None:
        """Keeps what was declared, and when that was first; a store that cannot be written keeps nothing."""
        path = self.folder / DECLARED / f"{digest}.json"
        with suppress(OSError, StoreError):
            if not path.exists():
                self._prepare()
                path.parent.mkdir(parents=True, exist_ok=True)
                first = datetime.now(UTC).isoformat(timespec="seconds")
                said = json.dumps({"first": first, **what}, indent=1).encode()
                if self._shared is not None:
                    said = self._shared.create_beside(f"{DECLARED}/{path.name}", said)
                write_whole(path, said)

    def declare_as(self, other: "Store") -> None:
        """Keeps what was declared in `other`, too, and when that was first in either.

        Raises:
            StoreError: a store cannot be read or written.
        """
        with self._writing():
            for path in sorted((other.folder / DECLARED).glob("*.json")):
                mine, theirs = self.declared(path.stem), other.declared(path.stem)
                if theirs is not None and (mine is None or theirs < mine):
                    (self.folder / DECLARED).mkdir(exist_ok=True)
                    write_whole(self.folder / DECLARED / path.name, path.read_bytes())

    def declared(self, digest: str) -> str | None:
        """When it was declared first: UTC, ISO 8601; None if that is not known."""
        try:
            return str(json.loads((self.folder / DECLARED / f"{digest}.json").read_bytes())["first"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def chosen(self, key: str, choose: Callable[[], dict[str, str]]) -> dict[str, str]:
        """What was chosen under `key`, by whichever process was first; else what `choose` gives.

        A store that cannot be written keeps nothing.

        Raises:
            StoreError: the store is of another version.
        """
        path = self.folder / CHOSEN / f"{key}.json"
        is_marked(self.folder)
        with ExitStack() as stack:
            with suppress(StoreError):
                stack.enter_context(self.lock(key))
            with suppress(OSError, ValueError):
                found: dict[str, str] = _TEXTS.validate_json(path.read_bytes())
                return found
            made = choose()
            with suppress(OSError, StoreError):
                self._prepare()
                path.parent.mkdir(parents=True, exist_ok=True)
                write_whole(path, json.dumps(made, indent=1).encode())
        return made

    def set_aside(self, key: str, kind: type[AnyRecord]) -> Path:
        """Moves the file of `key` to `corrupt/`, where it overwrites nothing; gives its new path.

        Whoever calls this holds the lock of `key`, and has found its file corrupt since.

        Raises:
            StoreError: the store cannot be written.
        """
        path, number = self.path(key, kind), 1
        if self._shared is not None:
            self._shared.set_aside(path.name)
        with self._writing():
            (self.folder / CORRUPT).mkdir(exist_ok=True)
            while (target := self.folder / CORRUPT / f"{path.name}.{number}").exists():
                number += 1
            if self._shared is None or path.exists():  # else it was corrupt elsewhere, and never came here
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

    def _prepare(self) -> None:
        """Makes the folder a store, and removes copies of models that dead processes left in it."""
        if not self._prepared:
            mark(self.folder)
            for each in scratch.abandoned(self.folder / CHECKPOINTS):
                scratch.remove(each)
            self._prepared = True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            self._prepare()
            yield
        except OSError as error:
            msg = f"the store {self.folder} cannot be written: {error}; choose another with --glu-store DIR"
            raise StoreError(msg) from error


def _of_key(key: str, content: bytes, kind: type[RecordT], where: str) -> RecordT:
    """The record that `content` holds; raises `CorruptError` if it is another one, or cannot be trusted."""
    record = decoded(content, kind, where)
    if record.key != key:
        msg = f"{where}: it holds the record of {record.key[:12]}"
        raise CorruptError(msg)
    return record
