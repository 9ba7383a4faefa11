"""What a session comes to, once all of its cases are in: corrected for their number, added up by arm, and checked."""

from collections.abc import Iterable, Iterator, Sequence

from glu_prune.judgement.evaluation_costs import evaluation_costs
from glu_prune.judgement.soundness import own_findings
from glu_prune.results.claims import RatioResult
from glu_prune.results.report import CaseOutcome, CaseTables, Report, Tables
from glu_prune.statistics.comparison import holm


def conclude(found: Sequence[CaseTables], cases: Iterable[CaseOutcome] = ()) -> Report:
    """The report of a session from what each of its cases found, and how each ended."""
    every = CaseTables().joined(found)
    adjusted = dict(_holm((*every.scores, *every.costs)))
    costs = evaluation_costs(every.cells)
    plain = {name: getattr(every, name) for name in Tables.model_fields}
    return Report.model_construct(
        **{
            **plain,
            "scores": tuple(row.model_copy(update={"holm": adjusted[id(row)]}) for row in every.scores),
            "costs": tuple(row.model_copy(update={"holm": adjusted[id(row)]}) for row in every.costs),
            "findings": (*every.findings, *own_findings(every.cells, every.floors, costs)),
            "evaluations": costs,
            "cells": every.cells,
            "cases": tuple(cases),
        }
    )


def _holm(rows: Sequence[RatioResult]) -> Iterator[tuple[int, float]]:
    """Each row's p, corrected for all claims at ratios of its file; those that did not run count as 1."""
    for file in dict.fromkeys(row.file for row in rows):
        mine = [row for row in rows if row.file == file]
        adjusted = holm([row.p for row in mine], family=mine[0].in_file)
        yield from ((id(row), p) for row, p in zip(mine, adjusted, strict=True))
