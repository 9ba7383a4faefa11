"""Writes a report to a folder, in every format."""

from pathlib import Path

from glu_prune.files import write_whole
from glu_prune.report.formats import formats
from glu_prune.results.report import Report


def write(report: Report, folder: Path) -> tuple[str, ...]:
    """Writes all files of all formats, each whole or not at all; gives their names.

    Raises:
        OSError: they cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = dict(file for each in formats().values() for file in each.files(report))
    for name, text in files.items():
        write_whole(folder / name, text)
    return tuple(files)
