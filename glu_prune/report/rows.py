"""Verdicts as rows of plain JSON values, which travel from worker to controller and into files."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from glu_prune.evidence.finding import Finding
from glu_prune.evidence.recompute import Recomputed
from glu_prune.judgement.across import TrendVerdict
from glu_prune.judgement.claims import ClaimAtRatios
from glu_prune.judgement.efficiency import percent
from glu_prune.judgement.expectation import DirectionCase, EfficiencyCase, TrendCase
from glu_prune.judgement.verdict import Verdict
from glu_prune.pruning.ratio import show_ratio

Row = Mapping[str, Any]
Rows = Mapping[str, list[Row]]
"""Name of a table to the rows that a case adds to it."""


def direction_row(case: DirectionCase, verdict: Verdict) -> dict[str, Any]:
    """One claim at one ratio."""
    return {
        **_about(case),
        "ratio": show_ratio(case.ratio),
        **asdict(verdict),
        "better": "higher" if case.capability.higher_is_better else "lower",
        "controls": {},
        "sentence": verdict.sentence,
    }


def trend_row(case: TrendCase, verdict: TrendVerdict) -> dict[str, Any]:
    """One claim across ratios."""
    return {**_about(case), **asdict(verdict), "sentence": verdict.sentence}


def efficiency_row(case: EfficiencyCase, verdict: Verdict) -> dict[str, Any]:
    """One claim about a figure of cost at one ratio."""
    return {
        **_about(case),
        "ratio": show_ratio(case.ratio),
        **asdict(verdict),
        "percent": [percent(value) for value in (verdict.delta, verdict.low, verdict.high)],
        "sentence": verdict.sentence,
    }


def finding_row(finding: Finding) -> dict[str, Any]:
    """What a check of evidence found."""
    return {
        **asdict(finding),
        "spoils": sorted(finding.spoils),
        "ratios": [show_ratio(ratio) for ratio in finding.ratios],
    }


def recomputed_row(found: Recomputed) -> dict[str, Any]:
    """Energy per token of one workload at one ratio."""
    return {**asdict(found), "ratio": show_ratio(found.ratio)}


def plain(value: Any) -> Any:
    """`value` for JSON, which has no infinity and no NaN: a limit that so few items leave open is None."""
    if isinstance(value, Mapping):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _about(case: DirectionCase | EfficiencyCase | TrendCase) -> dict[str, Any]:
    experiment = case.experiment
    families = [experiment.family(claim) for claim in experiment.expect if isinstance(claim, ClaimAtRatios)]
    return {
        "model": experiment.subject,
        "declared": case.declared,
        "why": case.claim.why,
        "file": case.file,
        "where": case.where,
        "in_file": sum(map(len, families)),
    }
