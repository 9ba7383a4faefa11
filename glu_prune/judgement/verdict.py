"""(records, expectation) -> a verdict with the numbers that led to it."""

from dataclasses import dataclass

import numpy as np

from glu_prune.errors import EvaluationError
from glu_prune.experiment.record import Record
from glu_prune.judgement import statistics
from glu_prune.judgement.expectation import Case, Outcome

ALPHA = 0.05
"""Two-sided error rate of a single verdict."""
_SEED = 20251222


@dataclass(frozen=True)
class Verdict:
    """What the items say about one claim at one ratio."""

    outcome: Outcome
    dense: float
    pruned: float
    delta: float
    """pruned - dense, in units of the metric."""
    low: float
    high: float
    """95 % interval of `delta`."""
    p: float
    """Two-sided, of no difference."""
    test: str
    items: int
    gained: int
    """Items that got better."""
    lost: int
    """Items that got worse."""
    sentence: str


def judge(case: Case, dense: Record, pruned: Record) -> Verdict:
    """The verdict on `case` from two records of its task.

    `up` and `down` are confirmed when the capability changed that way with p <= 0.05 two-sided, refuted when it changed the
    other way with p <= 0.05, and inconclusive otherwise. `preserved` is confirmed when the
    90 % interval lies within the margin (two one-sided tests at 0.05), refuted when the 95 % interval lies outside it.

    Raises:
        EvaluationError: the records are not about the same items, or lack the metric.
    """
    paired = _pair(case, dense, pruned)
    metric = case.capability.metric
    p, test = statistics.p_value(paired, _SEED)
    low, high = statistics.interval(paired, _SEED)
    better = (paired.pruned - paired.dense) * (1 if case.capability.higher_is_better else -1)
    if case.expectation.margin is not None:
        outcome = _preserved(paired, case.expectation.margin, (low, high))
    else:
        outcome = _directed(case, paired.difference, p)
    numbers = {
        "dense": dense.metrics[metric].score,
        "pruned": pruned.metrics[metric].score,
        "delta": paired.difference,
        "low": low,
        "high": high,
        "p": p,
        "items": len(paired.weights),
        "gained": int((better > 0).sum()),
        "lost": int((better < 0).sum()),
    }
    return Verdict(outcome=outcome, test=test, sentence=_sentence(case, outcome, test, numbers), **numbers)


def _pair(case: Case, dense: Record, pruned: Record) -> statistics.Paired:
    metric = case.capability.metric
    for record in (dense, pruned):
        if metric not in record.metrics:
            msg = f"task {record.task} has no metric {metric!r}; it has {', '.join(sorted(record.metrics))}"
            raise EvaluationError(msg)
    if dense.items != pruned.items:
        msg = f"the records of {dense.arm} and {pruned.arm} on {dense.task} hold different items; they cannot be paired"
        raise EvaluationError(msg)
    a, b = dense.metrics[metric], pruned.metrics[metric]
    return statistics.pair(a.values, b.values, a.weights)


def _directed(case: Case, difference: float, p: float) -> Outcome:
    rose = (difference > 0) == case.capability.higher_is_better
    if p > ALPHA or not np.isfinite(difference):
        return "inconclusive"
    return "confirmed" if rose == (case.expectation.direction == "up") else "refuted"


def _preserved(paired: statistics.Paired, margin: float, wide: tuple[float, float]) -> Outcome:
    low, high = statistics.interval(paired, _SEED, confidence=1 - 2 * ALPHA)
    if -margin < low and high < margin:
        return "confirmed"
    return "refuted" if wide[1] < -margin or wide[0] > margin else "inconclusive"


def _sentence(case: Case, outcome: Outcome, test: str, n: dict[str, float]) -> str:
    claim = case.expectation.direction
    if case.expectation.margin is not None:
        claim += f" within {case.expectation.margin:g}"
    return (
        f"{case.capability.name} {claim}: {outcome}. {case.capability.metric} {n['dense']:.3f} -> {n['pruned']:.3f} "
        f"({n['delta']:+.3f}, 95 % interval {n['low']:+.3f} to {n['high']:+.3f}); of {n['items']:.0f} items "
        f"{n['gained']:.0f} got better, {n['lost']:.0f} worse; {test} p = {n['p']:.2g}"
    )
