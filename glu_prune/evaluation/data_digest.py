"""A digest of data: names and contents of its files."""

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path


def files_digest(folder: Path, paths: Iterable[Path]) -> str:
    """SHA-256 over the names (below `folder`) and contents of files."""
    # Every cell of a task needs it, so contents are read once, and again only if size or time of change differ.
    found = [(path, path.stat()) for path in paths]
    return _digest(
        folder, tuple((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns) for path, stat in found)
    )


@lru_cache
def _digest(folder: Path, files: tuple[tuple[str, int, int], ...]) -> str:
    """Of files as they are now: (name, size, time of change)."""
    found = hashlib.sha256()
    for name, size, _ in files:
        found.update(f"{name}\0{size}\0".encode())
        found.update((folder / name).read_bytes())
    return found.hexdigest()
