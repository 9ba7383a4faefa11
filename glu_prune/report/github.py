"""What GitHub Actions shows of a session: annotations on the lines of expectation files, and the page of the run."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from glu_prune.clean import one_line
from glu_prune.results.report import CaseOutcome

SUMMARY = "GITHUB_STEP_SUMMARY"
"""The environment variable that names the file whose Markdown becomes the page of the run."""
_LEVELS = {"failed": "error", "inconclusive": "warning"}
_LONGEST = 4000
"""Characters of a message; GitHub cuts longer ones itself, and may drop them."""


def annotated() -> bool:
    """Whether this is a step of GitHub Actions."""
    return os.environ.get("GITHUB_ACTIONS") == "true"


def root(default: Path) -> Path:
    """The folder of the repository: what GitHub names, else `default`."""
    return Path(os.environ.get("GITHUB_WORKSPACE") or default)


def annotations(cases: Iterable[CaseOutcome], started: Path, repository: Path) -> Iterator[str]:
    """A workflow command for each case that failed or is inconclusive, on the file and line of its claim.

    The files of `cases` are seen from `started`, those of annotations from `repository`.
    """
    for case in cases:
        if level := _LEVELS.get(case.result):
            file = seen_from(repository, started / case.file)
            place = f"file={_property(file)},line={case.line},title={_property(case.case)}"
            yield f"::{level} {place}::{_data(one_line(case.message)[:_LONGEST])}"


def seen_from(folder: Path, file: Path) -> str:
    """`file` relative to `folder` if it lies within, with forward slashes; else the whole path."""
    place, within = file.resolve(), folder.resolve()
    return (place.relative_to(within) if place.is_relative_to(within) else place).as_posix()


def _data(text: str) -> str:
    """`text` after the second `::` of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """`text` as a property of a workflow command."""
    return _data(one_line(text)).replace(":", "%3A").replace(",", "%2C")
