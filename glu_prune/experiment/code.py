"""Which code and which libraries compute what cells are about: both are part of keys."""

import functools
import hashlib
from importlib.metadata import version
from pathlib import Path

from glu_prune import syntax

_PACKAGE = Path(__file__).parent.parent
_LIBRARIES = ("torch", "transformers", "tokenizers", "lm-eval", "datasets", "numpy", "langdetect", "nltk", "codecarbon")
_EXECUTORS = "glu_prune.experiment.executors"

Roots = tuple[str, ...]
"""Modules from which imports are followed."""
SCORING: Roots = (f"{_EXECUTORS}.scoring", f"{_EXECUTORS}.backend_arms")
"""What turns weights into scores; the weights themselves have their own fingerprint."""
MEASURING: Roots = (f"{_EXECUTORS}.measuring", "glu_prune.efficiency.tracking")
"""What measures the cost of workloads."""
DISTANCES: Roots = (f"{_EXECUTORS}.distances",)
"""What compares predictions of two models."""
CHOOSING: Roots = ("glu_prune.evaluation.half_precision",)
"""What chooses a data type where that is left open."""
METERING: Roots = (*SCORING, "glu_prune.efficiency.evaluation_meter", "glu_prune.efficiency.tracking")
"""What measures the cost of scoring."""

_LEFT_OUT = frozenset({"glu_prune.experiment.keys", "glu_prune.models.fetchable"})
"""What computes nothing but keys, which hold what it gives, and what knows where files of weights come from."""
_EVALUATOR = "glu_prune.evaluation.evaluate"
"""Reads the tasks that lie beside it, with their items."""


@functools.cache
def library_versions() -> dict[str, str]:
    """Versions of the libraries that compute scores and measure costs."""
    return {name: version(name) for name in _LIBRARIES}


@functools.cache
def code_fingerprint(roots: Roots) -> str:
    """SHA-256 over the code of this package that is reached by imports from `roots`, and the tasks that it reads.

    Imports count wherever they stand, in functions too, but not those for type checkers alone. Code is what
    `syntax.Code` says: comments and docstrings do not count; C beside a module does, as it is. What `__init__.py`
    files hold does not, either.
    """
    digest = hashlib.sha256()
    for module in sorted(reached(roots)):
        digest.update(f"{module}\0{_code(module).fingerprint}\0".encode())
        if (compiled := _path(module).with_suffix(".c")).is_file():
            digest.update(compiled.read_bytes())
    if _EVALUATOR in reached(roots):
        folder = _path(_EVALUATOR).parent / "tasks"
        for path in sorted(path for path in folder.rglob("*") if path.suffix in (".yaml", ".jsonl")):
            digest.update(f"{path.relative_to(folder).as_posix()}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def reached(roots: Roots) -> frozenset[str]:
    """The modules of this package that importing and calling `roots` may execute."""
    found: set[str] = set()
    left = list(roots)
    while left:
        module = left.pop()
        if module not in found | _LEFT_OUT:
            found.add(module)
            left += [name for name in _code(module).imports if name.startswith("glu_prune.") and _path(name).is_file()]
    return frozenset(found)


def _path(module: str) -> Path:
    return _PACKAGE.parent.joinpath(*module.split(".")).with_suffix(".py")


@functools.cache
def _code(module: str) -> syntax.Code:
    return syntax.read(_path(module).read_bytes())
