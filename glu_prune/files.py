"""Files that are read if they are files, and written whole or not at all."""

import errno
import os
import stat
from pathlib import Path
from uuid import uuid4

PARTIAL = ".partial"
"""Ends the names of files that are being written."""


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
