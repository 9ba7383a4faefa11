"""Folders that are on disk for a while, such as copies of models: gone with their process, however that ends."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from glu_prune.experiment.locks import SOFT_SUFFIX, free, held

LOCK = ".lock"
"""Ends the name of the lock of a folder, which its process holds as long as it uses the folder."""
_PREFIX = "glu-prune-"
_NAME = re.compile(rf"({_PREFIX}[0-9a-f]{{32}}){re.escape(LOCK)}(?:{re.escape(SOFT_SUFFIX)})?")


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, removed at the end; what dead processes left there is removed first.

    Raises:
        OSError: it cannot be made.
    """
    for folder in abandoned(parent):
        remove(folder)
    new = not parent.exists()
    parent.mkdir(parents=True, exist_ok=True)
    folder = parent / f"{_PREFIX}{uuid4().hex}"
    # The lock is taken before the folder is there, and given back after it is gone: a folder whose lock is free is one
    # of a dead process, wherever that ran, as the system releases the locks of the dead.
    with held(_lock(folder), lambda _: None):
        try:
            folder.mkdir()
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    remove(folder)
    with suppress(OSError):  # others may have theirs in it
        if new:
            parent.rmdir()


def is_one(folder: Path) -> bool:
    """Whether its name is one that `scratch` gives."""
    return _NAME.fullmatch(_lock(folder).name) is not None


def abandoned(parent: Path) -> list[Path]:
    """Folders made by `scratch` below `parent` whose processes are dead; perhaps only their locks are left."""
    names = {found[1] for path in parent.glob(f"{_PREFIX}*") if (found := _NAME.fullmatch(path.name))}
    return [parent / name for name in sorted(names) if _all_free(parent / name, remove=False)]


def remove(folder: Path) -> bool:
    """Removes a folder that was made by `scratch`, unless a process uses it; whether it is gone.

    Of a folder that cannot be removed, the lock stays, so that it is known as abandoned.
    """
    if not _all_free(folder, remove=False):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists() and _all_free(folder, remove=True)


def _lock(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}{LOCK}")


def _all_free(folder: Path, *, remove: bool) -> bool:
    """Whether nobody holds a lock of `folder`; of what cannot be told, somebody does."""
    lock = _lock(folder)
    locks = [path for path in (lock, lock.with_name(f"{lock.name}{SOFT_SUFFIX}")) if path.exists()]
    try:
        return all(free(path, remove=remove) for path in locks)
    except OSError:
        return False
