"""A record in a store by what it says of itself, without its items."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from glu_prune.experiment import parquet
from glu_prune.experiment.code import (
    DISTANCES,
    MEASURING,
    METERING,
    SCORING,
    Roots,
    code_fingerprint,
    library_versions,
)
from glu_prune.experiment.codec import KINDS, AnyRecord, version_of
from glu_prune.experiment.cost_record import CostRecord, SeriesRecord
from glu_prune.experiment.distance_record import DistanceRecord
from glu_prune.experiment.record import FloorRecord, Record

_CODE: Mapping[type[AnyRecord], Roots] = {
    Record: SCORING,
    DistanceRecord: DISTANCES,
    FloorRecord: SCORING,
    CostRecord: METERING,
    SeriesRecord: MEASURING,
}
"""What computes each kind."""
_EARLIER = "records of earlier versions of the layout"


@dataclass(frozen=True)
class Entry:
    """A file of a store that holds a record, by what it says of itself."""

    path: Path
    kind: type[AnyRecord] | None
    """None if this version has no such kind."""
    head: Mapping[str, Any]
    """What is not per item."""
    items: int | None
    bytes: int
    problem: str = ""
    """Why it cannot be read."""

    @property
    def key(self) -> str:
        """That of its cell."""
        return self.path.stem

    @property
    def useless(self) -> str:
        """Why nothing will ever ask for it again; empty if something may, or if that cannot be told."""
        if self.problem or self.head.get("key") != self.key:
            return ""
        if self.kind is None:
            return _EARLIER if "kind" not in self.head else ""
        if (version := self.head["schema_version"]) != (known := version_of(self.kind)):
            return _EARLIER if version < known else ""
        if self.head["code"] != code_fingerprint(_CODE[self.kind]):
            return "records made by other code"
        return "" if _same_libraries(self.head["versions"]) else "records made with other versions of libraries"


def entry_of(path: Path) -> Entry:
    """The record in the file `path`; it is not checked."""
    size = path.stat().st_size
    try:
        if path.suffix == ".parquet":
            head, items = parquet.head(path)
            return Entry(path, KINDS.get(str(head["kind"])), _sound(head), items, size)
        head = json.loads(path.read_text(encoding="utf-8").partition("\n")[2])
        return Entry(path, KINDS.get(str(head.get("kind"))), _sound(head), None, size)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return Entry(path, None, {}, None, size, str(error) or repr(error))


def _sound(head: dict[str, Any]) -> dict[str, Any]:
    """`head`, if it has what all have; raises `KeyError` or `TypeError` if not."""
    if not isinstance(head["schema_version"], int):
        raise TypeError(head["schema_version"])
    return {"code": "", **head, "versions": dict(head["versions"])}


def _same_libraries(versions: Mapping[str, str]) -> bool:
    """Whether the libraries here are those with which a record was made."""
    return set(library_versions()) <= set(versions) and all(_installed(name) == each for name, each in versions.items())


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
