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
    """A workflow command for each claim of which cases failed, and for each of which some are inconclusive.

    It stands on the claim's file and line. GitHub shows ten errors and ten warnings of a step, and a claim may have a
    case at every ratio, so that these share one. The files of `cases` are seen from `started`, those of annotations
    from `repository`.
    """
    claims: dict[tuple[str, str, int], list[CaseOutcome]] = {}
    for case in cases:
        if level := _LEVELS.get(case.result):
            claims.setdefault((level, case.file, case.line), []).append(case)
    for (level, file, line), (first, *others) in claims.items():
        title, said = first.case, [first.message]
        if others:
            title = f"{title} and {len(others)} more"
            said = [f"{each.case}: {each.message}" for each in (first, *others)]
        place = f"file={_property(seen_from(repository, started / file))},line={line},title={_property(title)}"
        message = "\n".join(map(one_line, said))
        yield f"::{level} {place}::{_data(message[:_LONGEST])}"


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
