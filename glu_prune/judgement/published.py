"""Published figures as something that verdicts can be reached on: aggregates and their standard errors, unpaired."""

import fnmatch
import math
from collections.abc import Sequence
from decimal import Decimal

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.metrics import on_scale
from glu_prune.evaluation.null_names import UNIFORM, best_floor
from glu_prune.evidence.figures import Evidence, Run, Score, standard_error
from glu_prune.evidence.figures import Floor as PublishedFloor
from glu_prune.evidence.finding import Finding
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.claims import Outcome
from glu_prune.judgement.expectation import EfficiencyCase
from glu_prune.judgement.measured import SEED, Floor, Measured
from glu_prune.judgement.verdict import Verdict, settle
from glu_prune.pruning.ratio import show_ratio
from glu_prune.statistics import comparison
from glu_prune.statistics.comparison import Contrast

_FIGURES = {"time_to_first_token": "ttft_ms"}
"""Measures whose figure in evidence has another name."""


class FromFigures(Measured):
    """Published scores of one model."""

    def __init__(self, capability: Capability, evidence: Evidence, model: str, criterion: str) -> None:
        """`criterion` is the one that the figures are about; no other arm was measured."""
        super().__init__(capability)
        self._evidence = evidence
        self._model = model
        self._criterion = criterion

    def _find(self, arm: Arm) -> Score | None:
        if arm.criterion not in (None, self._criterion):
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
        return found.value

    @property
    def _floors(self) -> dict[str, PublishedFloor]:
        return {each.null: each for each in self._evidence.floors_of(self.capability.task, self.capability.metric)}

    @property
    def items(self) -> int:
        """As many as the test set has."""
        return self._score(DENSE).items or 0

    @property
    def floor(self) -> Floor | None:
        """The best null model's."""
        scores = {name: each.score for name, each in self._floors.items()}
        best = best_floor(scores, higher_is_better=self.capability.higher_is_better)
        return Floor(*best) if best else None

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

    def above_floor(self, arm: Arm) -> Contrast | None:
        """As if on different items."""
        if self.floor is None:
            return None
        score, floor = self._score(arm), self._floors[self.floor.name]
        error = (floor.sd or 0.0) / math.sqrt(floor.items)
        return comparison.unpaired(
            score.compared, self._error(score), on_scale(floor.metric, floor.score), error, score.items or 0
        )

    def remarks(self, arm: Arm) -> tuple[str, ...]:
        """That nothing is paired, and where standard errors come from, if they were not published."""
        ways = dict.fromkeys(standard_error(self._score(each)).how for each in (DENSE, arm))
        return ("unpaired", *(f"standard error {how}" for how in ways if how != "reported"))


def judge_efficiency(case: EfficiencyCase, evidence: Evidence, findings: Sequence[Finding]) -> Verdict:
    """The verdict on a claim about a figure of cost, from runs paired by workload and seed.

    The verdict is about these workloads, not about others. If a check of the evidence found that the figure cannot be
    used for what it is named after in one of them, a direction that holds is an *artefact*, and one that is refuted is
    *inconclusive*.

    Raises:
        EvaluationError: no pair of runs has the figure.
    """
    claim, model = case.claim, case.experiment.model
    figure = _FIGURES.get(claim.efficiency, claim.efficiency)
    pairs = _pairs(case, evidence, figure)
    if not pairs:
        where = f" in workload {claim.workload}" if claim.workload else ""
        msg = f"no two runs of {model} at ratios 0 and {show_ratio(case.ratio)}{where} have a figure {figure!r}"
        raise EvaluationError(msg)
    dense, pruned = ([math.log(run.figures[figure]) for run in side] for side in zip(*pairs, strict=True))
    change = comparison.contrast(pruned, dense, [1.0] * len(pairs), seed=SEED)
    settled = settle(claim, change, better=1, tests=case.tests)
    workloads = dict.fromkeys(run.workload for run, _ in pairs)
    spoilt = [f for f in findings if any(f.touches(model, figure, workload) for workload in workloads)]
    outcome = _spoilt(settled.outcome) if spoilt else settled.outcome
    low, high = change.interval()
    size = "that is {:+.1f} % ({:+.1f} to {:+.1f} %)".format(*map(percent, (change.difference, low, high)))
    return Verdict(
        capability=claim.efficiency + (f" in {claim.workload}" if claim.workload else ""),
        metric=f"{figure}, geometric mean",
        claim=claim.text,
        outcome=outcome,
        dense=math.exp(sum(dense) / len(dense)),
        pruned=math.exp(sum(pruned) / len(pruned)),
        delta=change.difference,
        low=low,
        high=high,
        p=settled.p,
        tests=case.tests,
        test=settled.test,
        items=len(pairs),
        gained=None,
        lost=None,
        floor=None,
        floor_of=None,
        needed=settled.needed,
        note=", ".join(dict.fromkeys(finding.check for finding in spoilt)),
        reasons=(
            f"{size} over {len(pairs)} pairs of runs of {len(workloads)} workloads",
            *settled.reasons,
            *(f"{finding.check}: {finding.says}" for finding in spoilt if outcome != settled.outcome),
        ),
    )


def percent(change: float) -> float:
    """The change of a logarithm in percent."""
    return 100 * math.expm1(change)


def _spoilt(outcome: Outcome) -> Outcome:
    """What an outcome is worth that rests on a figure which says something else."""
    return {"confirmed": "artefact", "refuted": "inconclusive"}.get(outcome, outcome)  # type: ignore[return-value]


def _pairs(case: EfficiencyCase, evidence: Evidence, figure: str) -> list[tuple[Run, Run]]:
    """(dense, pruned) runs of one workload and seed that both have the figure."""
    wanted = case.claim.workload or "*"
    usable = [
        run
        for run in evidence.runs
        if run.model == case.experiment.model
        and fnmatch.fnmatchcase(run.workload, wanted)
        and run.figures.get(figure, 0) > 0
    ]
    dense = {(run.workload, run.seed): run for run in usable if run.ratio == Decimal(0)}
    return [
        (dense[key], run) for run in usable if run.ratio == case.ratio and (key := (run.workload, run.seed)) in dense
    ]
