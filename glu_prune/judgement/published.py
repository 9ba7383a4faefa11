"""Published figures as something that verdicts can be reached on: aggregates and their standard errors, unpaired."""

import fnmatch
import math
from collections.abc import Mapping
from decimal import Decimal

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.metrics import on_scale
from glu_prune.evaluation.null_names import UNIFORM, best_floor
from glu_prune.evidence.figures import Evidence, Score, standard_error
from glu_prune.evidence.figures import Floor as PublishedFloor
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.kinds.cost import EfficiencyCase
from glu_prune.judgement.run_pairs import RunPair, paired
from glu_prune.judgement.scores import CapabilityScores, Floor
from glu_prune.pruning.ratio import show_ratio
from glu_prune.statistics import comparison
from glu_prune.statistics.comparison import Contrast

_FIGURES = {"time_to_first_token": "ttft_ms"}
"""Measures whose figure in evidence has another name."""


class PublishedScores(CapabilityScores):
    """Published scores of one model."""

    def __init__(self, capability: Capability, evidence: Evidence, model: str, criterion: str) -> None:
        """`criterion` is the one that the figures are about; no other arm was measured."""
        super().__init__(capability)
        self._evidence = evidence
        self._model = model
        self._criterion = criterion

    def _find(self, arm: Arm) -> Score | None:
        if arm.criterion not in (None, self._criterion) or arm.target or arm.checkpoint:
            return None
        return self._evidence.score(self._model, arm.ratio, self.capability.task, self.capability.metric)

    def _score(self, arm: Arm) -> Score:
        if (found := self._find(arm)) is None:
            msg = (
                f"no {self.capability.task} {self.capability.metric} of {self._model} at ratio {show_ratio(arm.ratio)} "
                "was published; leave this ratio out of the claim"
            )
            raise EvaluationError(msg)
        return found

    def _error(self, score: Score) -> float:
        found = standard_error(score)
        if found.value is None:
            msg = f"{score.task} {score.metric} of {score.model}: {found.how}; it cannot be judged"
            raise EvaluationError(msg)
        # The score may have been rounded by as much; in nats, errors are relative.
        rounding = score.rounding / score.value if score.scale == "nats" else score.rounding
        return found.value + rounding

    @property
    def _floors(self) -> dict[str, PublishedFloor]:
        return {each.null: each for each in self._evidence.floors_of(self.capability.task, self.capability.metric)}

    @property
    def items(self) -> int:
        """As many as the test set has."""
        return self._score(DENSE).items or 0

    @property
    def chance(self) -> float | None:
        """That of the null model that guesses, else what the capability says."""
        uniform = self._floors.get(UNIFORM)
        return uniform.score if uniform else self.capability.chance

    def has(self, arm: Arm) -> bool:
        """Whether its score was published."""
        return self._find(arm) is not None

    def score(self, arm: Arm) -> float:
        """As published."""
        return self._score(arm).value

    def contrast(self, arm: Arm, other: Arm) -> Contrast:
        """As if on different items: wider than a paired one, as what both arms get right or wrong does not cancel."""
        first, second = self._score(arm), self._score(other)
        return comparison.unpaired(
            first.compared, self._error(first), second.compared, self._error(second), first.items or 0
        )

    def combined(self, weights: Mapping[Arm, float]) -> Contrast:
        """As if each arm had answered other items."""
        scores = {arm: self._score(arm) for arm in weights}
        total = math.fsum(weight * scores[arm].compared for arm, weight in weights.items())
        error = math.hypot(*(weight * self._error(scores[arm]) for arm, weight in weights.items()))
        return comparison.unpaired(total, error, 0.0, 0.0, min(each.items or 0 for each in scores.values()))

    def floors(self, arm: Arm) -> tuple[Floor, ...]:
        """The best null model's, as if on different items; what was answered most often is not published."""
        scores = {name: each.score for name, each in self._floors.items()}
        best = best_floor(scores, higher_is_better=self.capability.higher_is_better)
        if best is None:
            return ()
        score, floor = self._score(arm), self._floors[best[0]]
        error = (floor.sd or 0.0) / math.sqrt(floor.items)
        beyond = comparison.unpaired(
            score.compared, self._error(score), on_scale(floor.metric, floor.score), error, score.items or 0
        )
        return (Floor(*best, beyond),)

    def remarks(self, arm: Arm) -> tuple[str, ...]:
        """That nothing is paired, and where standard errors come from, if they were not published."""
        ways = dict.fromkeys(standard_error(self._score(each)).how for each in (DENSE, arm))
        return ("unpaired", *(f"standard error {how}" for how in ways if how != "reported"))


def published_pairs(case: EfficiencyCase, evidence: Evidence) -> tuple[str, list[RunPair]]:
    """(figure that `case` is about, pairs of published runs that have it)."""
    figure = _FIGURES.get(case.claim.efficiency, case.claim.efficiency)
    wanted = case.claim.workload or "*"
    usable = [
        run
        for run in evidence.runs
        if run.model == case.experiment.model
        and fnmatch.fnmatchcase(run.workload, wanted)
        and run.figures.get(figure, 0) > 0
    ]
    dense = [run for run in usable if run.ratio == Decimal(0)]
    return figure, paired(dense, [run for run in usable if run.ratio == case.ratio])
