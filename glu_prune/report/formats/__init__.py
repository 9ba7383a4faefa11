"""The formats in which a report is written to files: one module each, found by its `FORMAT`."""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from glu_prune.report.table import Column
from glu_prune.results.base import Row
from glu_prune.results.report import Report


@dataclass(frozen=True)
class Format:
    """One format: its name, and the text of a single table and of the files of a whole report in it."""

    suffix: str
    """How the names of its files end, such as `.csv`."""
    table: Callable[[Sequence[Column[Any]], Sequence[Row]], str | bytes]
    files: Callable[[Report], Iterator[tuple[str, str | bytes]]]
    """(name, content) of each file that a report is written to."""
    order: int
    """When its files are written; those of lower numbers are named first."""
    always: bool = True
    """Whether every session writes them; else only who asks for them gets them."""


@cache
def formats() -> Mapping[str, Format]:
    """Every format, by suffix."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    modules = (importlib.import_module(f"{__name__}.{name}") for name in names)
    found = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {each.suffix: each for each in sorted(found, key=lambda each: each.order)}
