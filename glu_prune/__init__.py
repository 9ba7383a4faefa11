"""glu-prune: what width pruning does to a GLU language model, measured and judged.

What `__all__` names is the public interface of Python; all else may change without notice.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glu_prune.api.choosing import choose
    from glu_prune.api.comparing import compare, judge
    from glu_prune.api.measuring import measure
    from glu_prune.judgement.case import Case
    from glu_prune.models.source import locate
    from glu_prune.notebook import Results, load_results
    from glu_prune.pruning.checkpoint import load
    from glu_prune.pruning.criteria import CRITERIA as criteria  # noqa: N811 - a mapping, by its public name
    from glu_prune.pruning.criteria import register
    from glu_prune.pruning.plan import PruningPlan
    from glu_prune.pruning.ranking import rank
    from glu_prune.pruning.surgery import apply, plan, prune, pruned
    from glu_prune.pruning.target import Target

__all__ = [
    "Case",
    "PruningPlan",
    "Results",
    "Target",
    "apply",
    "choose",
    "compare",
    "criteria",
    "judge",
    "load",
    "load_results",
    "locate",
    "measure",
    "plan",
    "prune",
    "pruned",
    "rank",
    "register",
]

_HOMES = {
    "Case": "judgement.case",
    "PruningPlan": "pruning.plan",
    "Results": "notebook",
    "Target": "pruning.target",
    "apply": "pruning.surgery",
    "choose": "api.choosing",
    "compare": "api.comparing",
    "criteria": "pruning.criteria",
    "judge": "api.comparing",
    "load": "pruning.checkpoint",
    "load_results": "notebook",
    "locate": "models.source",
    "measure": "api.measuring",
    "plan": "pruning.surgery",
    "prune": "pruning.surgery",
    "pruned": "pruning.surgery",
    "rank": "pruning.ranking",
    "register": "pruning.criteria",
}
_NAMED_THERE = {"criteria": "CRITERIA"}


def __getattr__(name: str) -> object:
    """Imports public names when they are first used, so that `import glu_prune` does not import torch."""
    if name not in _HOMES:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib

    return getattr(importlib.import_module(f"glu_prune.{_HOMES[name]}"), _NAMED_THERE.get(name, name))


def __dir__() -> list[str]:
    """The public names, which `dir` would not find before they are used."""
    return sorted({*globals(), *__all__})
