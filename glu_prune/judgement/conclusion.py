"""What a session comes to, once all of its cases are in: corrected for their number, added up by arm, and checked."""

from collections.abc import Iterable, Sequence

from glu_prune.judgement.evaluation_costs import evaluation_costs
from glu_prune.judgement.soundness import own_findings
from glu_prune.results.claims import ArmResult, CapabilityResult, CostResult, DistanceResult
from glu_prune.results.report import CaseOutcome, CaseTables, Report, Tables
from glu_prune.statistics.comparison import holm


def conclude(found: Sequence[CaseTables], cases: Iterable[CaseOutcome] = ()) -> Report:
    """The report of a session from what each of its cases found, and how each ended."""
    every = CaseTables().joined(found)
    corrected = _corrected([*every.scores, *every.distances, *every.costs])
    costs = evaluation_costs(every.cells)
    plain = {name: getattr(every, name) for name in Tables.model_fields}
    return Report.model_construct(
        **{
            **plain,
            "scores": tuple(row for row in corrected if isinstance(row, CapabilityResult)),
            "distances": tuple(row for row in corrected if isinstance(row, DistanceResult)),
            "costs": tuple(row for row in corrected if isinstance(row, CostResult)),
            "findings": (*every.findings, *own_findings(every.cells, every.floors, costs)),
            "evaluations": costs,
            "cells": every.cells,
            "cases": tuple(cases),
        }
    )


def _corrected(rows: Sequence[ArmResult]) -> list[ArmResult]:
    """`rows`, file by file, with p corrected for all claims at ratios of their file; what did not run counts as 1."""
    found: list[ArmResult] = []
    for file in dict.fromkeys(row.file for row in rows):
        mine = [row for row in rows if row.file == file]
        adjusted = holm([row.p for row in mine], family=mine[0].in_file)
        found += [row.model_copy(update={"holm": p}) for row, p in zip(mine, adjusted, strict=True)]
    return found
