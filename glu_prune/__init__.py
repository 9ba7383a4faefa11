"""glu-prune: what width pruning does to a GLU language model, measured and judged."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glu_prune.pruning.checkpoint import load
    from glu_prune.pruning.criteria import register
    from glu_prune.pruning.plan import PruningPlan
    from glu_prune.pruning.ranking import rank
    from glu_prune.pruning.surgery import apply, prune, pruned
    from glu_prune.pruning.target import Target

__all__ = ["PruningPlan", "Target", "apply", "load", "prune", "pruned", "rank", "register"]

_HOMES = {
    "PruningPlan": "plan",
    "Target": "target",
    "apply": "surgery",
    "load": "checkpoint",
    "prune": "surgery",
    "pruned": "surgery",
    "rank": "ranking",
    "register": "criteria",
}


def __getattr__(name: str) -> object:
    """Imports public names when they are first used, so that `import glu_prune` does not import torch."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib

    return getattr(importlib.import_module(f"glu_prune.pruning.{_HOMES[name]}"), name)
