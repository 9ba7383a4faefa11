"""Where records come from: which models, machines, libraries and code answered, and when."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from glu_prune.experiment.maintenance import entries
from glu_prune.experiment.record import Record

_LIBRARIES = ("torch", "transformers", "lm-eval")
_SETTINGS = ("dtype", "device", "scoring", "attention")
_SHOWN = 12
"""Characters of a fingerprint."""


def provenance(folder: Path, models: Iterable[str]) -> list[tuple[str, str]]:
    """(what, which) of the records of `models` in the store or pack `folder`."""
    wanted = frozenset(models)
    heads = [entry.head for entry in entries(folder) if entry.kind is Record and entry.head.get("model") in wanted]
    return [(what, which) for what, which in _facts(heads) if which]


def _facts(heads: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    created = sorted(str(head["created"]) for head in heads)
    yield "records", str(len(heads))
    yield "made", " to ".join(dict.fromkeys((created[0], created[-1]))) if created else ""
    yield "machines", _several(head["machine"] for head in heads)
    yield "weights", _several(f"{head['model']}: {str(head['weights'])[:_SHOWN]}" for head in heads)
    yield "scoring code", _several(str(head["code"])[:_SHOWN] for head in heads)
    yield (
        "libraries",
        _several(
            f"{name} {head['versions'][name]}" for name in _LIBRARIES for head in heads if name in head["versions"]
        ),
    )
    for name in _SETTINGS:
        yield name, _several(head["settings"][name] for head in heads if head["settings"].get(name))


def _several(values: Iterable[object]) -> str:
    return "; ".join(dict.fromkeys(map(str, values)))
