"""Stores elsewhere, such as `s3://bucket/name`: each has a copy in the user's cache folder, which is a store itself.

A record is read from the copy, else fetched into it once; what is put goes to both. Elsewhere a name is given only once
and nothing is locked: of two who compute the same record, the second drops its own. Whatever fsspec has a file system
for can hold a store.
"""

import hashlib
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from glu_prune.errors import StoreError, first_line
from glu_prune.experiment.marker import CELLS, CORRUPT, MARKER, RECORD, VERSION, version_said
from glu_prune.files import write_whole
from glu_prune.models.cache import cache_folder

_OF = "of"
"""Of the marker of a copy: the address of what it is a copy of."""
_KNOWN_FOR = 10.0
"""Seconds for which it is taken as known which records are there: for so long at worst, work is done twice."""
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9.]+")


def is_address(text: str) -> bool:
    """Whether `text` says where something is elsewhere."""
    return "://" in text


def folder_of(address: str) -> Path:
    """The copy of the store at `address`, made if it is not there.

    Raises:
        StoreError: the user's cache folder cannot be written.
    """
    address = address.rstrip("/")
    name = _NOT_IN_NAMES.sub("-", address)[-40:].strip("-")
    folder = cache_folder().parent / "stores" / f"{name}-{hashlib.sha256(address.encode()).hexdigest()[:12]}"
    if not (folder / MARKER).exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_whole(folder / MARKER, json.dumps({"store": VERSION, _OF: address}) + "\n")
        except OSError as error:
            msg = f"{folder}, where records of {address} are copied to, cannot be written: {error.strerror or error}"
            raise StoreError(msg) from error
    return folder


def placed(given: str | Path) -> Path:
    """`given`, a folder or a file; of a store at an address, its copy.

    Raises:
        StoreError: the copy cannot be made.
    """
    return folder_of(str(given)) if is_address(str(given)) else Path(given)


def address_of(folder: Path) -> str:
    """What `folder` is a copy of; empty if it is none."""
    marker = folder / MARKER
    with suppress(OSError, ValueError, TypeError, AttributeError, RecursionError):
        if marker.is_file():  # a pipe would be read for ever
            return str(json.loads(marker.read_bytes()).get(_OF, ""))
    return ""


def shared(folder: Path) -> "Shared | None":
    """The store that `folder` is a copy of, if it is one."""
    address = address_of(folder)
    return Shared(address, folder) if address else None


def fetched(folder: Path) -> None:
    """Fetches what `folder` lacks, if it is a copy.

    Raises:
        StoreError: there is no store where it is a copy of, or it cannot be read.
    """
    if (there := shared(folder)) is not None:
        there.fetch_all()


@dataclass
class Shared:
    """A store at an address."""

    address: str
    copy: Path
    _names: frozenset[str] = field(default=frozenset(), init=False)
    _known_until: float = field(default=0.0, init=False)
    _is_store: bool = field(default=False, init=False)

    def fetch(self, name: str) -> bytes | None:
        """The content of a record by the name of its file; None if there is none.

        Raises:
            StoreError: the store cannot be read.
        """
        return self._read(f"{CELLS}/{name}") if name in self._there() else None

    def fetch_all(self) -> None:
        """Fetches all that the copy lacks.

        Raises:
            StoreError: there is no store, or it cannot be read.
        """
        self._known_until = 0.0
        there = self._there()
        if not self._is_store:
            msg = f"there is no store at {self.address}; a run with --glu-store {self.address} makes it"
            raise StoreError(msg)
        cells = self.copy / CELLS
        cells.mkdir(exist_ok=True)
        for name in sorted(there):
            if not (cells / name).exists() and (content := self._read(f"{CELLS}/{name}")) is not None:
                write_whole(cells / name, content)

    def create(self, name: str, content: bytes) -> bytes:
        """Gives `content` that name, unless something has it; gives what has it then.

        Raises:
            StoreError: the store cannot be written.
        """
        self._mark()
        return self.create_beside(f"{CELLS}/{name}", content)

    def create_beside(self, path: str, content: bytes) -> bytes:
        """The same of any file of the store."""
        with self._used():
            try:
                self._files.pipe_file(f"{self._root}/{path}", content, mode="create")
            except Exception:  # each file system has its own for a name that is taken; any other is raised again
                found = self._read(path)
                if found is None:
                    raise
                return found
        return content

    def set_aside(self, name: str) -> None:
        """Moves a record that cannot be trusted out of the way.

        Raises:
            StoreError: the store cannot be written.
        """
        with self._used(), suppress(FileNotFoundError):
            target = f"{self._root}/{CORRUPT}/{name}.{time.time_ns()}"
            self._files.mv(f"{self._root}/{CELLS}/{name}", target)
        self._names -= {name}

    def _there(self) -> frozenset[str]:
        """The names of records, as of some seconds ago."""
        if time.monotonic() > self._known_until:
            self._is_store = self._is_store or self._marked()
            names: list[str] = []
            with self._used(), suppress(FileNotFoundError):
                self._files.invalidate_cache()
                names = self._files.ls(f"{self._root}/{CELLS}", detail=False)
            self._names = frozenset(name for each in names if RECORD.fullmatch(name := each.rpartition("/")[2]))
            self._known_until = time.monotonic() + _KNOWN_FOR
        return self._names

    def _mark(self) -> None:
        """Makes it a store, unless there is something else.

        Raises:
            StoreError: there is, or it cannot be written.
        """
        if self._is_store or self._marked():
            self._is_store = True
            return
        with self._used(), suppress(FileNotFoundError):
            if others := self._files.ls(self._root, detail=False):
                msg = f"{self.address} is no store of glu-prune, as it holds {others[0].rpartition('/')[2]}"
                raise StoreError(msg)
        self.create_beside(MARKER, json.dumps({"store": VERSION}).encode())
        self._is_store = True

    def _marked(self) -> bool:
        content = self._read(MARKER)
        if content is None:
            return False
        version_said(content, self.address)
        return True

    def _read(self, path: str) -> bytes | None:
        with self._used():
            try:
                return bytes(self._files.cat_file(f"{self._root}/{path}"))
            except FileNotFoundError:
                return None

    @property
    def _root(self) -> str:
        return self._opened[1]

    @property
    def _files(self) -> Any:
        return self._opened[0]

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system, and where in it the store is."""
        import fsspec

        scheme = self.address.partition("://")[0]
        try:
            files, root = fsspec.core.url_to_fs(self.address)
        except ImportError as error:
            extra = "pip install 'glu-prune[s3]'" if scheme == "s3" else first_line(error)
            msg = f"{self.address}: what reads {scheme}:// is not installed: {extra}"
            raise StoreError(msg) from error
        except ValueError as error:
            msg = f"{self.address}: {error}; a store is a folder here, or at an address such as s3://bucket/name"
            raise StoreError(msg) from error
        return files, str(root).rstrip("/")

    @contextmanager
    def _used(self) -> Iterator[None]:
        """Inside, what file systems raise becomes an error of ours, but for what is not there."""
        try:
            yield
        except (StoreError, FileNotFoundError):
            raise
        except Exception as error:  # each file system has its own
            msg = f"the store {self.address} cannot be used: {first_line(error)}"
            raise StoreError(msg) from error
