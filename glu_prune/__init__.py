"""glu-prune: what width pruning does to a GLU language model, measured and judged."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glu_prune.pruning.plan import PruningPlan
    from glu_prune.pruning.surgery import apply, prune

__all__ = ["PruningPlan", "apply", "prune"]

_HOMES = {
    "PruningPlan": "glu_prune.pruning.plan",
    "apply": "glu_prune.pruning.surgery",
    "prune": "glu_prune.pruning.surgery",
}


def __getattr__(name: str) -> object:
    """Imports public names when they are first used, so that `import glu_prune` does not import torch."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
