"""(records, expectation) -> a verdict with the numbers that led to it."""

from dataclasses import dataclass

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

    capability: str
    metric: str
    claim: str
    """The direction, with its margin if it has one."""
    outcome: Outcome
    dense: float
    pruned: float
    delta: float
    """pruned - dense, the weighted mean over items, in units of the metric (nats per unit for perplexities)."""
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

    @property
    def sentence(self) -> str:
        """The verdict and the numbers that led to it, for people."""
        return (
            f"{self.capability} {self.claim}: {self.outcome}. {self.metric} {self.dense:.3f} -> {self.pruned:.3f} "
            f"({self.delta:+.3f}, 95 % interval {self.low:+.3f} to {self.high:+.3f}); of {self.items} items "
            f"{self.gained} got better, {self.lost} worse; {self.test} p = {self.p:.2g}"
        )


def judge(case: Case, dense: Record, pruned: Record) -> Verdict:
    """The verdict on `case` from two records of its task.

    `up` and `down` are confirmed when the capability changed that way with p <= 0.05 two-sided, refuted when it
    changed the other way with p <= 0.05, and inconclusive otherwise. `preserved` is confirmed when the 90 % interval
    lies within the margin (two one-sided tests at 0.05), refuted when the 95 % interval lies outside it, and
    inconclusive otherwise.

    Raises:
        EvaluationError: the records are not about the same items, or lack the metric.
    """
    paired = _pair(case, dense, pruned)
    capability, expectation = case.capability, case.expectation
    p, test = statistics.p_value(paired, _SEED)
    wide = statistics.interval(paired, _SEED)
    better = (paired.pruned - paired.dense) * (1 if capability.higher_is_better else -1)
    if expectation.margin is None:
        claim, outcome = str(expectation.direction), _directed(case, paired.difference, p)
    else:
        claim = f"{expectation.direction} within {expectation.margin:g}"
        outcome = _preserved(paired, expectation.margin, wide)
    return Verdict(
        capability=capability.name,
        metric=capability.metric,
        claim=claim,
        outcome=outcome,
        dense=dense.metrics[capability.metric].score,
        pruned=pruned.metrics[capability.metric].score,
        delta=paired.difference,
        low=wide[0],
        high=wide[1],
        p=p,
        test=test,
        items=len(paired.weights),
        gained=int((better > 0).sum()),
        lost=int((better < 0).sum()),
    )


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
    if p > ALPHA:
        return "inconclusive"
    rose = (difference > 0) == case.capability.higher_is_better
    return "confirmed" if rose == (case.expectation.direction == "up") else "refuted"


def _preserved(paired: statistics.Paired, margin: float, wide: tuple[float, float]) -> Outcome:
    low, high = statistics.interval(paired, _SEED, confidence=1 - 2 * ALPHA)
    if -margin < low and high < margin:
        return "confirmed"
    return "refuted" if wide[1] < -margin or wide[0] > margin else "inconclusive"
