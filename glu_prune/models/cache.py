"""The user's cache folder: models that were fetched, and checkpoints that GGUF files were converted into."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from glu_prune.errors import CheckpointError

VARIABLE = "GLU_PRUNE_MODELS"


def cache_folder() -> Path:
    """`$GLU_PRUNE_MODELS`, else `glu-prune/models` in the user's cache folder; it may not be there."""
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "glu-prune" / "models"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, no other process writes `folder`, which is one of the cache folder; waits for one that does.

    Raises:
        CheckpointError: the cache folder cannot be written.
    """
    from filelock import FileLock

    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        msg = f"{folder.parent} cannot be written: {error.strerror}; name another folder with {VARIABLE}"
        raise CheckpointError(msg) from error
    try:
        yield
    finally:
        lock.release()
