"""Is the evidence sound? Checks that need nothing but the figures themselves, published ones and our own alike."""

from collections.abc import Iterable, Mapping

from glu_prune.evidence.check import Check
from glu_prune.evidence.energy_checks import constant_power, energy_unit
from glu_prune.evidence.figures import Evidence, Floor, Run, Score
from glu_prune.evidence.run_checks import first_token_is_last, unaligned_width, unequal_lengths
from glu_prune.evidence.score_checks import at_chance, impossible_score, missing_items
from glu_prune.results.findings import Finding

CHECKS: Mapping[str, Check] = {
    check.name: check
    for check in (
        Check("energy_unit", "an energy that is another energy times a factor that is no unit of energy", energy_unit),
        Check(
            "constant_power", "an energy that is one power times seconds, and says no more than these", constant_power
        ),
        Check("first_token_is_last", "a time to first token that is the time to the last", first_token_is_last),
        Check(
            "unequal_lengths", "figures per token, of runs that generated unequal numbers of tokens", unequal_lengths
        ),
        Check(
            "unaligned_width",
            "widths that an accelerator cannot take in whole pieces, beside one it can",
            unaligned_width,
        ),
        Check("at_chance", "scores that cannot be told from guessing", at_chance),
        Check("missing_items", "scores without a standard error or a number of items", missing_items),
        Check("impossible_score", "a proportion that no number of right items gives", impossible_score),
    )
}


def examine(
    scores: Iterable[Score] = (), runs: Iterable[Run] = (), floors: Iterable[Floor] = ()
) -> tuple[Finding, ...]:
    """What the checks find, in the order of `CHECKS`, then by model and subject, whatever the order of the rows."""
    evidence = Evidence(
        scores=tuple(sorted(scores, key=lambda each: (each.model, each.task, each.metric, each.ratio))),
        runs=tuple(sorted(runs, key=lambda each: (each.model, each.workload, each.ratio, each.seed))),
        floors=tuple(sorted(floors, key=lambda each: (each.task, each.metric, each.null))),
    )
    found = ((check, list(check.run(evidence))) for check in CHECKS.values())
    return tuple(
        finding for _, findings in found for finding in sorted(findings, key=lambda each: (each.model, each.subject))
    )
