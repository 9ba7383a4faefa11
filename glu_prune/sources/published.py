"""Published figures as what cases are judged by: no model, no run."""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

from glu_prune.efficiency.series import Series
from glu_prune.errors import NotMeasuredError
from glu_prune.evidence.checks import examine
from glu_prune.evidence.figures import Evidence, read_evidence
from glu_prune.experiment.cell import Arm
from glu_prune.judgement.case import ArmCase, Case, Requirement
from glu_prune.judgement.kinds.cost import EfficiencyCase
from glu_prune.judgement.kinds.distance import DistanceCase
from glu_prune.judgement.published import PublishedScores, published_pairs
from glu_prune.judgement.sources import CostEvidence, DistanceEvidence, Evaluation
from glu_prune.results.findings import Finding


class PublishedSource:
    """The figures that the expectation file of a case names."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._evidence: dict[Path, tuple[Evidence, tuple[Finding, ...]]] = {}

    def preflight(self, cases: Iterable[Case]) -> list[Case]:
        """Reads all figures; nothing is to be run."""
        for case in cases:
            self.evidence(case)
        return []

    def missing(self, cases: Iterable[Case]) -> list[Case]:
        """Nothing is run."""
        del cases
        return []

    def submit(self, cases: Iterable[Case]) -> None:
        """Nothing is run."""
        del cases

    def scores(self, case: Case, needed: Requirement) -> Iterator[Evaluation]:
        """Aggregates, unpaired."""
        if needed.part is not None:
            msg = "not measured: published figures are of all items, not of halves of them; judge it on runs"
            raise NotMeasuredError(msg)
        evidence, _ = self.evidence(case)
        experiment = case.experiment
        yield Evaluation(PublishedScores(needed.capability, evidence, experiment.model, experiment.criterion))

    def declared(self, case: ArmCase) -> None:
        """Nobody knows: the figures were there before."""

    def ratios(self, case: Case, needed: Requirement) -> frozenset[Decimal]:
        """All that were published of the metric."""
        evidence, _ = self.evidence(case)
        found = (each for each in evidence.scores if each.model == case.experiment.model and each.ratio)
        wanted = needed.capability.task, needed.capability.metric
        return frozenset(each.ratio for each in found if (each.task, each.metric) == wanted)

    def distances(self, case: DistanceCase, needed: Requirement) -> DistanceEvidence:
        """None is published."""
        del case, needed
        msg = "not measured: published figures do not say what both models answered to each item; judge it on runs"
        raise NotMeasuredError(msg)

    def costs(self, case: EfficiencyCase) -> CostEvidence:
        """Published runs of the same workload and seed."""
        evidence, findings = self.evidence(case)
        figure, pairs = published_pairs(case, evidence)
        return CostEvidence(figure, pairs, [each for each in findings if each.model == case.experiment.model])

    def measured(self, case: Case, arms: Sequence[Arm]) -> Sequence[Series]:
        """Nothing is."""
        del case, arms
        msg = "not measured: published figures are of no candidate; judge it on runs"
        raise NotMeasuredError(msg)

    def evidence(self, case: Case) -> tuple[Evidence, Sequence[Finding]]:
        """All figures in the folder that the file names, and what the checks find in them."""
        folder = Path(case.file).parent / str(case.experiment.evidence)
        if folder not in self._evidence:
            evidence = read_evidence(folder)
            self._evidence[folder] = evidence, examine(evidence.scores, evidence.runs, evidence.floors)
        return self._evidence[folder]
