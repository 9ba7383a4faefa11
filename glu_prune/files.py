"""Files that are read if they are files, written whole or not at all, and identified by their contents."""

import errno
import functools
import hashlib
import os
import stat
import time
from pathlib import Path
from uuid import uuid4

PARTIAL = ".partial"
"""Ends the names of files that are being written."""
_SETTLED = 2.0
"""Seconds after which another change of a file shows in its times, which some file systems keep to the second."""


def regular(path: Path) -> Path:
    """`path`, which is a regular file: a pipe may be waited for without end, and a device be read without one.

    Raises:
        OSError: it is none.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return path


def write_whole(path: Path, content: bytes | str, *, sync: bool = False) -> None:
    """Makes `content` (text in UTF-8) the file `path`, whose folder is there; if that fails, `path` stays as it was.

    With `sync`, the content is on the disk before it takes the name, so that a power failure loses no older content.

    Raises:
        OSError: it cannot be written.
    """
    partial = path.with_name(f".{uuid4().hex}{PARTIAL}")
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
