"""The verdict on a claim about a figure of cost, from pairs of runs: published ones and our own alike."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glu_prune.errors import EvaluationError
from glu_prune.evidence.figures import Run
from glu_prune.judgement.scores import SEED
from glu_prune.judgement.sources import CostEvidence, RunPair
from glu_prune.judgement.verdict import Verdict, power_note, settle
from glu_prune.pruning.ratio import show_ratio
from glu_prune.results.base import Outcome
from glu_prune.results.findings import Finding
from glu_prune.statistics import comparison
from glu_prune.statistics.comparison import Contrast

if TYPE_CHECKING:
    from glu_prune.judgement.kinds.cost import EfficiencyCase

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


def judge_efficiency(case: "EfficiencyCase", found: CostEvidence) -> Verdict:
    """The verdict on `case`, about these workloads and no others.

    A direction must be shown against a replicate of the dense model as well, where one was measured: what copying
    alone, or an unsteady machine, does to the figure is no effect of pruning.

    If a finding says that the figure cannot be used for what it is named after in one of the workloads, a direction
    that holds is an *artefact*, and one that is refuted is *inconclusive*; where the finding leaves the direction
    open, both are *inconclusive*.

    Raises:
        EvaluationError: no pair of runs has the figure.
    """
    claim, model, figure = case.claim, case.experiment.model, found.figure
    usable, replicate = (having(figure, each) for each in (found.pairs, found.replicate))
    if not usable:
        where = f" in workload {claim.workload}" if claim.workload else ""
        msg = f"no two runs of {model} at ratios 0 and {show_ratio(case.ratio)}{where} have a figure {figure!r}"
        raise EvaluationError(msg)
    change = _change(figure, usable, found.log_accuracy_ratio)
    settled = settle(claim, change, better=1, tests=case.tests)
    shown, reasons = settled.outcome, settled.reasons
    if replicate and shown != "inconclusive":
        other = _change(figure, replicate, found.log_accuracy_ratio)
        if settle(claim, other, better=1, tests=case.tests).outcome != shown:
            shown = "inconclusive"
            reasons = (*reasons, f"not shown against a copy of the dense model: that is {_size(other)}")
    workloads = tuple(dict.fromkeys(run.workload for run, _ in usable))
    spoilt = [each for each in found.findings if any(each.touches(model, figure, workload) for workload in workloads)]
    outcome = _under(shown, spoilt)
    low, high = change.interval()
    dense = math.exp(sum(math.log(run.figures[figure]) for run, _ in usable) / len(usable))
    return Verdict(
        capability=claim.about,
        metric=f"{figure}, geometric mean",
        claim=claim.text,
        outcome=outcome,
        dense=dense,
        pruned=dense * math.exp(change.difference),
        delta=change.difference,
        low=low,
        high=high,
        p=settled.p,
        tests=case.tests,
        test=settled.test,
        items=len(usable),
        gained=None,
        lost=None,
        floor=None,
        floor_of=None,
        needed=settled.needed,
        note=", ".join(dict.fromkeys(finding.check for finding in spoilt)),
        reasons=(
            f"that is {_size(change)} over {len(usable)} pairs of runs of {len(workloads)} workloads",
            *reasons,
            *power_note(settled.needed, change.units, "pairs of runs"),
            *(f"{finding.check}: {finding.says}" for finding in spoilt if outcome != shown),
        ),
    )


def having(figure: str, pairs: Sequence[RunPair]) -> list[RunPair]:
    """Those pairs of which both runs have the figure."""
    return [pair for pair in pairs if all(figure in run.figures for run in pair)]


def _change(figure: str, pairs: Sequence[RunPair], log_ratio: tuple[float, float]) -> Contrast:
    change = change_of(figure, pairs)
    if not any(log_ratio):
        return change
    return comparison.unpaired(change.difference, change.standard_error, *log_ratio, change.units, change.units - 1)


def _size(change: Contrast) -> str:
    return "{:+.1f} % ({:+.1f} to {:+.1f} %)".format(*map(percent, (change.difference, *change.interval())))


def percent(change: float) -> float:
    """The change of a logarithm in percent; infinite where a float cannot hold it."""
    return 100 * math.expm1(change) if change < _MOST else math.inf


def _under(outcome: Outcome, spoilt: Sequence[Finding]) -> Outcome:
    """What an outcome is worth that rests on a figure with these findings."""
    if not spoilt or outcome not in ("confirmed", "refuted"):
        return outcome
    open_ = outcome == "refuted" or any(finding.leaves_open for finding in spoilt)
    return "inconclusive" if open_ else "artefact"
