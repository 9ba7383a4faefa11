"""Writes a report to a folder, in every format; afterwards the folder holds the tables of no other report."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from glu_prune.files import write_whole
from glu_prune.report.formats import formats
from glu_prune.report.tables import TABLES
from glu_prune.results.report import Report

MANIFEST = ".glu-prune-files.json"
"""Which files were written here, with SHA-256 of their contents: what was changed since is not ours to remove."""
Digests = Mapping[str, frozenset[str]]
"""Name of a file to what it may hold if nobody has changed it."""


@dataclass(frozen=True)
class Written:
    """What became of a folder."""

    names: tuple[str, ...]
    left: tuple[str, ...] = ()
    """Tables in it that are not of this report, and that nobody knows to be ours: of versions without a manifest, of
    other programs, or changed since they were written."""


def rendered(report: Report) -> dict[str, str | bytes]:
    """Each file of a report, in every format, by its name."""
    return dict(file for each in formats().values() if each.always for file in each.files(report))


def write(report: Report, folder: Path) -> Written:
    """Writes all files of all formats, each whole or not at all, and removes those that earlier reports left.

    Raises:
        OSError: they cannot be written, or would take the place of files that are not ours.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = rendered(report)
    before = _manifest(folder)
    if not _is_ours(folder):
        for name in texts.keys() - before.keys():
            if (folder / name).exists():
                msg = f"{name} in it was not written by glu-prune; move it, or name another folder"
                raise FileExistsError(msg)
    now = {
        name: frozenset({_digest(text if isinstance(text, bytes) else text.encode())}) for name, text in texts.items()
    }
    # Both at first: of a session that is killed meanwhile, the next one still knows all files.
    _note(folder, {name: before.get(name, frozenset()) | now.get(name, frozenset()) for name in {*before, *now}})
    for name, text in texts.items():
        write_whole(folder / name, text)
    for name in before.keys() - now.keys():
        if (path := folder / name).is_file() and _digest(path.read_bytes()) in before[name]:
            path.unlink()
    _note(folder, now)
    return Written(tuple(texts), tuple(name for name in _tables(folder) if name not in texts))


def _tables(folder: Path) -> Iterator[str]:
    """Names of files in `folder` that are named as tables are."""
    for path in sorted(folder.iterdir()):
        if path.stem in TABLES and path.suffix in formats():
            yield path.name


def _is_ours(folder: Path) -> bool:
    """Whether `folder` holds a report, as those of versions do that listed no files."""
    path = folder / "report.json"
    try:
        return path.is_file() and {"version", "scores", "cases"} <= json.loads(path.read_bytes()).keys()
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def _manifest(folder: Path) -> Digests:
    """What was written here before; nothing if that is not known."""
    path = folder / MANIFEST
    try:
        said = json.loads(path.read_bytes())["files"] if path.is_file() else {}
        return {name: frozenset(map(str, digests)) for name, digests in said.items() if Path(name).name == name}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _note(folder: Path, files: Digests) -> None:
    said = {"files": {name: sorted(digests) for name, digests in sorted(files.items())}}
    write_whole(folder / MANIFEST, json.dumps(said, indent=1) + "\n")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
