"""One figure of cost of several arms that were measured in turns, as a choice among them needs it."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from glu_prune.efficiency.cost_metrics import CostMetric
from glu_prune.efficiency.series import DENSE_LABEL, Series
from glu_prune.experiment.cell import Arm
from glu_prune.judgement.cost_runs import findings, removed
from glu_prune.judgement.cost_tables import cost_tables
from glu_prune.judgement.run_pairs import percent
from glu_prune.results.base import Interval
from glu_prune.results.report import CaseTables
from glu_prune.statistics.means import student_interval


@dataclass(frozen=True)
class MeasuredCosts:
    """What each arm costs, in each of some workloads."""

    metric: CostMetric
    measured: Sequence[Series]

    def mean(self, label: str = DENSE_LABEL) -> float:
        """Over workloads and turns, in the metric's unit."""
        return fmean(fmean(self.metric.values(one, one.arms[label])) for one in self.measured)

    def change(self, label: str) -> Interval:
        """(change, low, high) from the dense model in percent, at 95 %.

        Of the geometric mean over workloads, turn by turn, in which both did the same work.
        """
        turns = zip(*map(list, (self._logs(one, label) for one in self.measured)), strict=True)
        change, low, high = map(percent, student_interval([fmean(each) for each in turns]))
        return change, low, high

    def _logs(self, series: Series, label: str) -> Iterator[float]:
        dense, other = (self.metric.values(series, series.arms[which]) for which in (DENSE_LABEL, label))
        return (math.log(after / before) for before, after in zip(dense, other, strict=True))

    def tables(self, model: str, arm: Arm) -> CaseTables:
        """All that was measured of `arm`, and what is wrong with it."""
        label = arm.label
        ratio, named = (None, label) if arm.target else (arm.ratio, "")
        found = findings(model, removed(self.measured, label) if ratio is None else ratio, self.measured, label)
        return cost_tables(model, ratio, self.measured, label, found, named)
