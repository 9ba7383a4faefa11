"""Pairs of runs of a dense and a pruned model, published ones and our own alike, and the change between them."""

import math
from collections.abc import Sequence

from glu_prune.errors import EvaluationError
from glu_prune.evidence.figures import Run
from glu_prune.judgement.scores import SEED
from glu_prune.statistics import comparison
from glu_prune.statistics.comparison import Contrast

RunPair = tuple[Run, Run]
"""(dense, pruned): of one workload, and of one seed or round."""
_MOST = 700.0
"""Its exponential is about the largest float."""


def paired(dense: Sequence[Run], pruned: Sequence[Run]) -> list[RunPair]:
    """Runs of one workload and seed, in the order of the pruned ones."""
    known = {(run.workload, run.seed): run for run in dense}
    return [(known[key], run) for run in pruned if (key := (run.workload, run.seed)) in known]


def change_of(figure: str, pairs: Sequence[RunPair]) -> Contrast:
    """The logarithm of the second run's figure over the first's.

    Raises:
        EvaluationError: there is no pair, or a figure is not above zero.
    """
    first, second = ([run.figures[figure] for run in side] for side in zip(*pairs, strict=True))
    strange = sum(min(pair) <= 0 for pair in zip(first, second, strict=True))
    if strange:
        msg = (
            f"{figure} is not above zero in {strange} of {len(pairs)} pairs of runs, so there is no ratio of the two; "
            "a net energy is that where idling took as much as working: claim the energy itself"
        )
        raise EvaluationError(msg)
    logs = [[math.log(value) for value in values] for values in (second, first)]
    return comparison.contrast(logs[0], logs[1], [1.0] * len(pairs), bounded=False, seed=SEED)


def having(figure: str, pairs: Sequence[RunPair]) -> list[RunPair]:
    """Those pairs of which both runs have the figure."""
    return [pair for pair in pairs if all(figure in run.figures for run in pair)]


def change_with(figure: str, pairs: Sequence[RunPair], log_ratio: tuple[float, float]) -> Contrast:
    """`change_of`, divided by a ratio that is known independently: (its logarithm, the standard error of that)."""
    change = change_of(figure, pairs)
    if not any(log_ratio):
        return change
    return comparison.unpaired(change.difference, change.standard_error, *log_ratio, change.units, change.units - 1)


def in_words(change: Contrast) -> str:
    """A change of a logarithm in percent, with its interval."""
    return "{:+.1f} % ({:+.1f} to {:+.1f} %)".format(*map(percent, (change.difference, *change.interval())))


def percent(change: float) -> float:
    """The change of a logarithm in percent; infinite where a float cannot hold it."""
    return 100 * math.expm1(change) if change < _MOST else math.inf
