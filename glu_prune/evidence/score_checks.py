"""Checks of scores: those that chance gives, those without an error, and those that cannot be."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from statistics import NormalDist

from glu_prune.evaluation.metrics import on_scale
from glu_prune.evaluation.null_names import UNIFORM
from glu_prune.evidence.figures import Evidence, Score, StandardError, standard_error
from glu_prune.pruning.ratio import show_ratio
from glu_prune.results.findings import Finding

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
_SLACK = 1e-9
"""Arithmetic on floats may leave this much; no test set is so large that it matters."""


def at_chance(evidence: Evidence) -> Iterator[Finding]:
    """Scores whose 95 % interval holds what uniform guessing gives: what they would do next is not known from them."""
    for scores in _by_metric(evidence.scores):
        floor = evidence.floor(scores[0], UNIFORM)
        if floor is None:
            continue
        chance = on_scale(floor.metric, floor.score)
        errors = {score.ratio: standard_error(score) for score in scores}
        near = [
            score
            for score in scores
            if (error := errors[score.ratio].value) is not None and abs(score.compared - chance) <= _Z * error
        ]
        if near:
            yield _chance_finding(scores, near, chance, errors)


def _chance_finding(
    scores: Sequence[Score], near: Sequence[Score], chance: float, errors: Mapping[Decimal, StandardError]
) -> Finding:
    shown = ", ".join(
        f"{each.compared:.4g} +- {_Z * (errors[each.ratio].value or 0):.2g} at {show_ratio(each.ratio)}"
        for each in near
    )
    ways = ", ".join(sorted({errors[each.ratio].how for each in near}))
    found = {each.ratio for each in near}
    pruned = {each.ratio for each in scores if each.ratio > 0}
    which = "all pruned" if pruned and pruned <= found else f"{len(found & pruned)} of {len(pruned)} pruned"
    dense = " and the dense" if 0 in found else ""
    name = f"{scores[0].task} {scores[0].metric}"
    return Finding(
        check="at_chance",
        model=scores[0].model,
        subject=name,
        says=f"{name}: {which}{dense} scores cannot be told from guessing, which gives {chance:.4g} ({shown}; "
        f"95 % intervals; standard error {ways})",
        ratios=tuple(sorted(found)),
    )


def missing_items(evidence: Evidence) -> Iterator[Finding]:
    """Scores without a published standard error, and those of which not even the number of items is known."""
    for model, group in itertools.groupby(_ordered(evidence.scores), lambda score: score.model):
        scores = tuple(group)
        bare = [score for score in scores if score.stderr is None]
        unknown = [score for score in scores if score.items is None]
        parts = []
        if bare:
            parts.append(f"{len(bare)} of {len(scores)} scores have no published standard error: {_names(bare)}")
        if unknown:
            parts.append(f"{len(unknown)} of {len(scores)} have no number of items: {_names(unknown)}")
        if parts:
            yield Finding(
                check="missing_items",
                model=model,
                subject="scores",
                says="; ".join(parts),
                ratios=tuple(sorted({score.ratio for score in bare + unknown})),
            )


def impossible_score(evidence: Evidence) -> Iterator[Finding]:
    """Proportions that no k of n items give, to as many digits as are written (GRIM test), or outside 0 to 1.

    It bites where 1/n is more than a unit of the last digit; elsewhere some k is always near enough. A mean over
    subtasks weighted by their sizes is a proportion of all their items, too.

    Source: Brown & Heathers (2017), The GRIM Test, doi:10.1177/1948550616673876.
    """
    for score in _ordered(evidence.scores):
        if score.binary and (complaint := _impossible(score)):
            name = f"{score.task} {score.metric}"
            yield Finding(
                check="impossible_score",
                model=score.model,
                subject=name,
                says=f"{name} at {show_ratio(score.ratio)} is {score.text or score.value}: {complaint}",
                ratios=(score.ratio,),
            )


def _impossible(score: Score) -> str | None:
    if not 0 <= score.value <= 1:
        return "a proportion lies between 0 and 1"
    if score.items is None:
        return None
    right = round(score.value * score.items)
    if abs(right / score.items - score.value) <= _unit(score.text) / 2 + _SLACK:
        return None
    lower = math.floor(score.value * score.items)
    around = " and ".join(f"{k} right give {k / score.items:.6f}" for k in (lower, lower + 1))
    return f"of {score.items} items, {around}"


def _unit(text: str) -> float:
    """One unit of the last digit of `text`; 0 if it was never rounded."""
    exponent = Decimal(text).as_tuple().exponent if text else None
    return 10.0**exponent if isinstance(exponent, int) else 0.0


def _ordered(scores: Iterable[Score]) -> list[Score]:
    return sorted(scores, key=lambda each: (each.model, each.task, each.metric, each.ratio))


def _by_metric(scores: Iterable[Score]) -> Iterator[tuple[Score, ...]]:
    for _, group in itertools.groupby(_ordered(scores), lambda each: (each.model, each.task, each.metric)):
        yield tuple(group)


def _names(scores: Iterable[Score]) -> str:
    """Tasks with their metrics, each once."""
    pairs = sorted({(score.task, score.metric) for score in scores})
    tasks = itertools.groupby(pairs, lambda pair: pair[0])
    return ", ".join(f"{task} ({', '.join(metric for _, metric in group)})" for task, group in tasks)
