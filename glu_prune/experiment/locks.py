"""Locks between processes, each a file: taken by one at a time, and released when their holder dies.

filelock can fall back to lock files by itself, but only where a file system says that it does not know `flock` at all;
network file systems give other answers, too.
"""

import errno
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.files import ABANDONED_AFTER

if TYPE_CHECKING:
    from filelock import BaseFileLock

SOFT_SUFFIX = ".soft"
"""Ends the name of a lock that is a file with its holder in it."""
_NO_FLOCK = frozenset({errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK})
"""What file systems without locks answer."""


@contextmanager
def held(path: Path, waiting: Callable[[Path], None]) -> Iterator[None]:
    """Holds the lock `path`; calls `waiting` once, with the file, if another process has it.

    The system releases the locks of processes that die. Where the file system has none, a file beside `path` names
    process and host of its holder, and is taken over once there is no such process on this host.

    Raises:
        OSError: the file cannot be written.
    """
    lock = _taken(path, waiting)
    try:
        yield
    finally:
        lock.release()


def free(path: Path, *, remove: bool) -> bool:
    """Whether nobody holds the lock `path`; removes it then, if that is wanted.

    Raises:
        OSError: it cannot be read or removed.
    """
    from filelock import FileLock, SoftFileLock, Timeout

    soft = path.name.endswith(SOFT_SUFFIX)
    if soft and not path.read_bytes():  # being made, or its maker died before it wrote who it was
        old = time.time() - path.stat().st_mtime > ABANDONED_AFTER
        if old and remove:
            path.unlink()
        return old
    lock = SoftFileLock(path) if soft else FileLock(path, fallback_to_soft=False)
    try:
        with lock.acquire(timeout=0):
            if remove:
                path.unlink()
    except Timeout:
        return False
    return True


def _taken(path: Path, waiting: Callable[[Path], None]) -> "BaseFileLock":
    from filelock import FileLock, SoftFileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _acquired(FileLock(path, fallback_to_soft=False), path, waiting)
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
    soft = path.with_name(f"{path.name}{SOFT_SUFFIX}")
    return _acquired(SoftFileLock(soft), soft, waiting)


def _acquired(lock: "BaseFileLock", file: Path, waiting: Callable[[Path], None]) -> "BaseFileLock":
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting(file)
        lock.acquire()
    return lock
