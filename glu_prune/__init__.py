"""glu-prune: what width pruning does to a GLU language model, measured and judged."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glu_prune.api import choose
    from glu_prune.notebook import load_results
    from glu_prune.pruning.checkpoint import load
    from glu_prune.pruning.criteria import register
    from glu_prune.pruning.plan import PruningPlan
    from glu_prune.pruning.ranking import rank
    from glu_prune.pruning.surgery import apply, prune, pruned
    from glu_prune.pruning.target import Target

__all__ = ["PruningPlan", "Target", "apply", "choose", "load", "load_results", "prune", "pruned", "rank", "register"]

_HOMES = {
    "PruningPlan": "pruning.plan",
    "Target": "pruning.target",
    "apply": "pruning.surgery",
    "choose": "api",
    "load": "pruning.checkpoint",
    "load_results": "notebook",
    "prune": "pruning.surgery",
    "pruned": "pruning.surgery",
    "rank": "pruning.ranking",
    "register": "pruning.criteria",
}


def __getattr__(name: str) -> object:
    """Imports public names when they are first used, so that `import glu_prune` does not import torch."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib

    return getattr(importlib.import_module(f"glu_prune.{_HOMES[name]}"), name)
