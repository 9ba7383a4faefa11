"""A digest of data: names and contents of its files."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from glu_prune.files import content_digest


def files_digest(folder: Path, paths: Iterable[Path]) -> str:
    """SHA-256 over the names (below `folder`) and contents of files."""
    found = hashlib.sha256()
    for path in paths:
        name = path.relative_to(folder).as_posix()
        found.update(hashlib.sha256(name.encode(errors="surrogateescape")).digest() + content_digest(path))
    return found.hexdigest()
