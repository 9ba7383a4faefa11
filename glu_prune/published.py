"""Judges cases on published figures: no model, no run."""

from collections.abc import Iterable
from pathlib import Path

from glu_prune.evidence.checks import examine
from glu_prune.evidence.figures import Evidence, read_evidence
from glu_prune.evidence.finding import Finding
from glu_prune.evidence.recompute import recompute
from glu_prune.judgement.across import judge_trend
from glu_prune.judgement.efficiency import judge_efficiency
from glu_prune.judgement.expectation import Case, DirectionCase, EfficiencyCase, EvidenceCase, TrendCase
from glu_prune.judgement.published import PublishedScores, published_pairs
from glu_prune.judgement.verdict import judge
from glu_prune.lab import Judged
from glu_prune.report.rows import Rows, direction_row, efficiency_row, finding_row, recomputed_row, trend_row


class PublishedLab:
    """Judges cases on the figures that their expectation file names."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._evidence: dict[Path, tuple[Evidence, tuple[Finding, ...]]] = {}

    def preflight(self, cases: Iterable[Case]) -> list[Case]:
        """Reads all figures; nothing is to be run."""
        for case in cases:
            self._read(case)
        return []

    def judge(self, case: Case) -> Judged:
        """From the figures alone."""
        evidence, findings = self._read(case)
        experiment = case.experiment
        mine = [finding for finding in findings if finding.model == experiment.model]
        if isinstance(case, DirectionCase):
            measured = PublishedScores(case.capability, evidence, experiment.model, experiment.criterion)
            verdict = judge(case, measured)
            return Judged(verdict.outcome, verdict.sentence, {"scores": [direction_row(case, verdict)]})
        if isinstance(case, TrendCase):
            series = [
                PublishedScores(each, evidence, experiment.model, experiment.criterion) for each in case.capabilities
            ]
            trend = judge_trend(case, series)
            return Judged(trend.outcome, trend.sentence, {"trends": [trend_row(case, trend)]})
        if isinstance(case, EfficiencyCase):
            verdict = judge_efficiency(case, *published_pairs(case, evidence), mine)
            return Judged(verdict.outcome, verdict.sentence, {"costs": [efficiency_row(case, verdict)]})
        if isinstance(case, EvidenceCase):
            found = [finding for finding in mine if finding.check == case.check]
            says = f"{case.check}: " + ("; ".join(finding.says for finding in found) or "nothing found")
            rows: Rows = {"findings": [finding_row(each) for each in found]}
            if case.check == "energy_unit":
                own = [run for run in evidence.runs if run.model == experiment.model]
                rows = {**rows, "recomputed": [recomputed_row(each) for each in recompute(own, found)]}
            return Judged(case.outcome(finding.subject for finding in found), says, rows)
        msg = f"{type(case).__name__} cannot be judged on published figures"
        raise TypeError(msg)

    def _read(self, case: Case) -> tuple[Evidence, tuple[Finding, ...]]:
        folder = Path(case.file).parent / str(case.experiment.evidence)
        if folder not in self._evidence:
            evidence = read_evidence(folder)
            self._evidence[folder] = evidence, examine(evidence.scores, evidence.runs, evidence.floors)
        return self._evidence[folder]
