"""Files: read only if they are some, written whole or not at all, known by their contents, left by dead processes."""

import errno
import functools
import hashlib
import os
import re
import socket
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

PARTIAL = ".partial"
"""Ends the names of files that are being written."""
ABANDONED_AFTER = 3600.0
"""Seconds after which whoever began to write a file, and did not finish, is taken to be dead."""
_UNFINISHED = re.compile(rf"\.[0-9a-f]{{32}}\.(?P<writer>.+){re.escape(PARTIAL)}")
_SETTLED = 2.0
"""Seconds after which another change of a file shows in its times, which some file systems keep to the second."""


def regular(path: Path) -> Path:
    """`path`, which is a regular file: a pipe may be waited for without end, and a device be read without one.

    Raises:
        OSError: it is none.
    """
    kind = path.stat().st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(kind):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return path


def write_whole(path: Path, content: bytes | str, *, sync: bool = False) -> None:
    """Makes `content` (text in UTF-8) the file `path`, whose folder is there; if that fails, `path` stays as it was.

    With `sync`, the content is on the disk before it takes the name, so that a power failure loses no older content.
    What dead processes left in the folder of files that they wrote in this way is removed.

    Raises:
        OSError: it cannot be written.
    """
    for left in unfinished(path.parent):
        with suppress(OSError):
            left.unlink()
    partial = path.with_name(f".{uuid4().hex}.{writer()}{PARTIAL}")
    try:
        with partial.open("xb") as stream:  # not tempfile's, which only its owner may read
            stream.write(content.encode() if isinstance(content, str) else content)
            if sync:
                stream.flush()
                os.fsync(stream.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def content_digest(path: Path) -> bytes:
    """SHA-256 of a file, which is read once for as long as its size and times stay the same.

    Raises:
        OSError: it cannot be read.
    """
    now = regular(path).stat()
    if time.time() - max(now.st_mtime, now.st_ctime) < _SETTLED:
        return _digest(path)
    return _known_digest(path, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)


def _digest(path: Path) -> bytes:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


@functools.cache
def _known_digest(path: Path, *_state: int) -> bytes:
    return _digest(path)


def files_below(
    folder: Path, skips: Callable[[Path], bool] = lambda _: False, above: tuple[str, ...] = ()
) -> Iterator[Path]:
    """The files in `folder`, also in folders that are links, unless one leads back `above`; without what `skips` says.

    Raises:
        OSError: a folder cannot be read.
    """
    here = os.path.realpath(folder)
    for path in folder.iterdir() if here not in above else ():
        if skips(path):
            continue
        if path.is_dir():
            yield from files_below(path, skips, (*above, here))
        else:
            yield path


def unfinished(folder: Path) -> list[Path]:
    """Files in `folder` that `write_whole` began, and that nobody will finish.

    Their process is dead, or they have not been touched for an hour.
    """
    found = []
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = _UNFINISHED.fullmatch(entry.name)
            mine = name and entry.is_file(follow_symlinks=False)
            if name and mine and (is_dead(name["writer"]) or _untouched(Path(entry.path), ABANDONED_AFTER)):
                found.append(Path(entry.path))
    return sorted(found)


def writer() -> str:
    """This process, as `is_dead` knows it: the machine, or the container on it, and its number there."""
    return f"{_place()}.{os.getpid()}"


def is_dead(name: str) -> bool:
    """Whether the process that called itself `name` is known to run no more; of other machines nothing is known."""
    import psutil

    place, _, number = name.rpartition(".")
    return place == _place() and number.isdecimal() and not psutil.pid_exists(int(number))


@functools.cache
def _place() -> str:
    """Where numbers of processes mean the same: containers have numbers of their own under a host name they share."""
    try:
        namespace = re.sub(r"\D", "", str(Path("/proc/self/ns/pid").readlink()))
    except OSError:
        namespace = "0"
    return f"{socket.gethostname()}-{namespace}"


def _untouched(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.lstat().st_mtime > seconds
    except OSError:
        return False
