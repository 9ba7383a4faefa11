"""Before a run: the smallest effect that the judge would find of each claim, and whether the run can answer it.

Verdicts rest on the tests of `kinds/direction.py` and `across.py`; the power of the same tests, at the same levels, is
asked for here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean, stdev
from typing import TypeAlias, TypeGuard

import numpy as np

from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.null_names import best_floor
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.experiment.record import FloorRecord, ScoreRecord
from glu_prune.judgement.across import line_weights
from glu_prune.judgement.claim import ArmKey, show_key
from glu_prune.judgement.kinds.direction import DirectionCase
from glu_prune.judgement.kinds.trend import TrendCase
from glu_prune.judgement.scores import PairedScores
from glu_prune.judgement.verdict import ALPHA
from glu_prune.results.power import PlannedClaim
from glu_prune.statistics.comparison import Contrast, unpaired
from glu_prune.statistics.contrasts import Side
from glu_prune.statistics.draws import LEAST_DRAWS, smallest_beyond
from glu_prune.statistics.power import smallest_found, smallest_margin, units_enough
from glu_prune.statistics.proportions import PairedProportions
from glu_prune.statistics.trends import LEAST_POINTS

CHANGED = 0.2
"""The share of items that is assumed to change, half of them for the better, where no record tells."""
PlannableCase: TypeAlias = DirectionCase | TrendCase
_MANY = 10**6
"""Units of an assumed pilot, whose counts are whole numbers."""


@dataclass(frozen=True)
class Known:
    """What is known of a case before it runs."""

    items: int | None = None
    """That will be answered."""
    units: int | None = None
    """Of these, how many are independent."""
    floors: FloorRecord | None = None
    """What content-free answers score on all items of the task."""
    scores: PairedScores | None = None
    """Records that serve as a pilot, the dense model's among them."""
    at: PlannableCase | None = None
    """The case that they are about: the same one, or the same claim at the nearest ratio that the store has."""


@dataclass(frozen=True)
class _Need:
    """One thing that the verdict rests on: the smallest value that is shown, and what would do if that is too much."""

    smallest: float | None = None
    lacks: str | None = None
    """None if nothing is lacking."""


def is_planned(case: object) -> TypeGuard[PlannableCase]:
    """Whether it is known, before a run, what a test of this case finds: of directions and of lines over ratios."""
    return isinstance(case, DirectionCase) or (
        isinstance(case, TrendCase) and case.claim.relation in ("rising", "falling") and case.claim.arms is None
    )


def capability_of(case: PlannableCase) -> Capability:
    """The only one that it is about."""
    return case.capability if isinstance(case, DirectionCase) else case.capabilities[0]


def plan(case: PlannableCase, known: Known, changed: float = CHANGED) -> PlannedClaim:
    """What a run will be able to show of `case`, from what is `known`, else if a share `changed` of items changes."""
    tests = case.tests if isinstance(case, DirectionCase) else 1
    capability, level = capability_of(case), ALPHA / tests
    pilot = _pilot(case, known, changed)
    floor = _floor(capability, known)
    main, above, beyond = _Need(), _Need(), _Need()
    if known.units is not None and pilot is not None:
        main = _main(case, known, pilot, level)
        above = _above(case, known, floor, level) if floor else above
        beyond = _beyond(case, known, level)
    lacks = [each.lacks for each in (main, above, beyond) if each.lacks]
    told = known.units is not None and pilot is not None
    draws = _draws(case)
    if draws is not None and draws < LEAST_DRAWS and not beyond.lacks:
        lacks.append(f"{LEAST_DRAWS} draws")
    return PlannedClaim(
        model=case.subject,
        where=case.where,
        claim=_words(case),
        ratio=case.ratio if isinstance(case, DirectionCase) else None,
        named=case.arm.name if isinstance(case, DirectionCase) else "",
        items=known.items,
        units=known.units,
        unit=_unit(case, known),
        tests=tests,
        alpha=level,
        smallest=main.smallest,
        above_floor=above.smallest,
        floor=floor.score if floor else None,
        draws=draws,
        beyond_draws=beyond.smallest,
        answerable=False if lacks else True if told else None,
        remedy=", ".join(dict.fromkeys(lacks)) or ("" if told else "a pilot" if known.units else "the task's items"),
        spread=_spread(case, known, pilot, changed),
    )


def _words(case: PlannableCase) -> str:
    if isinstance(case, TrendCase):
        return f"{capability_of(case).name} {case.claim.relation}"
    return f"{case.capability.name} {case.claim.text}" + (", specific" if case.claim.specific else "")


def _draws(case: PlannableCase) -> int | None:
    """Of the control that draws, if the claim is compared with one."""
    if not isinstance(case, DirectionCase) or not case.claim.specific:
        return None
    return next((len(arms) for name, arms in case.controls.items() if case.experiment.is_drawn(name)), None)


def _pilot(case: PlannableCase, known: Known, changed: float) -> Contrast | None:
    """How items vary between the arms that are compared: in records, else as assumed; None if neither tells."""
    if known.scores is not None and known.at is not None:
        if isinstance(known.at, DirectionCase):
            return known.scores.contrast(known.at.arm, DENSE)
        return known.scores.combined(dict(zip(map(known.at.arm, known.at.ratios), _weights(known.at), strict=True)))
    capability = capability_of(case)
    if not capability.share or not _equal_weights(capability, known):
        return None
    if isinstance(case, DirectionCase):
        each_way = round(changed * _MANY / 2)
        return PairedProportions(each_way, each_way, _MANY)
    # Items that change once along the line, at any step alike, and stay so.
    steps = list(accumulate(reversed(_weights(case))))[:-1]
    square = fmean(step**2 for step in steps) if steps else 0.0
    return _varying(changed * square)


def _weights(case: TrendCase) -> list[float]:
    return line_weights(case.ratios)


def _varying(variance: float) -> Contrast:
    """A pilot of which only the variance of its units is known."""
    return unpaired(0.0, math.sqrt(variance / _MANY), 0.0, 0.0, _MANY)


def _equal_weights(capability: Capability, known: Known) -> bool:
    """Whether each item counts as much as any other, as far as floors tell."""
    nulls = known.floors.nulls.values() if known.floors else ()
    return all(len(set(null[capability.metric].weights)) == 1 for null in nulls if capability.metric in null)


def _main(case: PlannableCase, known: Known, pilot: Contrast, level: float) -> _Need:
    """The direction itself: an effect, or for `preserved` a margin."""
    units = known.units or 0
    if isinstance(case, TrendCase) and len(case.ratios) < LEAST_POINTS:
        return _Need(None, f"{LEAST_POINTS} ratios")
    margin = case.claim.margin if isinstance(case, DirectionCase) else None
    side: Side = 1 if _gains(case) == capability_of(case).higher_is_better else -1

    def smallest(units: int) -> float | None:
        if margin is not None:
            return smallest_margin(pilot, level, units=units)
        return smallest_found(pilot, level / 2, units=units, side=side)

    return _Need(smallest(units), _lacking(case, known, smallest, _room(case, known) if margin is None else margin))


def _room(case: PlannableCase, known: Known) -> float:
    """The largest effect in the claimed direction that there can be: to all right, or from the dense score to none."""
    capability = capability_of(case)
    if not capability.share:
        return math.inf
    if known.scores is None:
        return 1.0
    dense = known.scores.score(DENSE)
    return 1 - dense if _gains(case) else dense


def _gains(case: PlannableCase) -> bool:
    wanted = case.claim.direction if isinstance(case, DirectionCase) else case.claim.relation
    return wanted in ("up", "rising")


def _lacking(case: PlannableCase, known: Known, smallest: Callable[[int], float | None], most: float) -> str | None:
    """How many units would show an effect of at most `most`; None if those that there will be do."""
    units = known.units or 0

    def enough(units: int) -> bool:
        found = smallest(units)
        return found is not None and found <= most

    if enough(units):
        return None
    needed = units_enough(enough, units)
    return f"{needed} {_unit(case, known)}" if needed else "no number of items"


def _unit(case: PlannableCase, known: Known) -> str:
    return capability_of(case).unit(shared=known.units != known.items)


def _floor(capability: Capability, known: Known) -> ScoreRecord | None:
    """Scores of the null model that is the floor; None if they are not known."""
    every = known.floors.nulls if known.floors else {}
    nulls = {name: scores[capability.metric] for name, scores in every.items() if capability.metric in scores}
    best = best_floor({name: each.score for name, each in nulls.items()}, higher_is_better=capability.higher_is_better)
    return nulls[best[0]] if best else None


def _above(case: PlannableCase, known: Known, floor: ScoreRecord, level: float) -> _Need:
    """How far above the floor the pruned model (of what goes down, the dense one) must be."""
    units, capability = known.units or 0, capability_of(case)
    loses = (case.claim.direction if isinstance(case, DirectionCase) else case.claim.relation) in ("down", "falling")
    arm = DENSE if loses else _last(known.at) if known.at else DENSE
    found = known.scores.floor(arm) if known.scores is not None and known.scores.has(arm) else None
    if found is None and not capability.share:
        return _Need()
    # Unknown, they vary as answers that are right as often as the floor's, and on other items.
    contrast = found.beyond if found else _varying(floor.score * (1 - floor.score) + float(np.var(floor.values)))

    def smallest(units: int) -> float | None:
        return smallest_found(contrast, level, units=units, side=1 if capability.higher_is_better else -1)

    if _gains(case):
        reach = 1 - floor.score if capability.share else math.inf
    elif known.scores is None or (dense := known.scores.floor(DENSE)) is None:
        reach = math.inf
    else:
        reach = known.scores.better * dense.beyond.difference
    if reach <= 0:
        return _Need(smallest(units), "dense above floor")
    return _Need(smallest(units), _lacking(case, known, smallest, reach))


def _last(case: PlannableCase) -> Arm:
    """The pruned model that the claim is about; across ratios, that at the largest."""
    return case.arm if isinstance(case, DirectionCase) else case.arm(case.ratios[-1])


def _beyond(case: PlannableCase, known: Known, level: float) -> _Need:
    """How far beyond its controls the criterion of a `specific` claim must lie: the largest over controls."""
    if not isinstance(case, DirectionCase) or not case.claim.specific:
        return _Need()
    if not isinstance(known.at, DirectionCase) or known.scores is None:
        return _Need()
    found = []
    for name, arms in known.at.controls.items():
        there = [arm for arm in arms if known.scores.has(arm)]
        if known.at.experiment.is_drawn(name):
            found.append(_beyond_draws(known, known.at.arm, there, len(arms), level))
        elif there:
            found.append(smallest_found(known.scores.contrast(known.at.arm, there[0]), level, units=known.units))
    numbers = [each for each in found if each is not None]
    return _Need(max(numbers) if numbers and len(numbers) == len(found) else None)


def _beyond_draws(known: Known, arm: Arm, there: Sequence[Arm], draws: int, level: float) -> float | None:
    """Beyond another draw, and beyond their mean over items; None if there are too few draws, or too few are stored."""
    scores, units = known.scores, known.units
    if scores is None or units is None or min(draws, len(there)) < LEAST_DRAWS:
        return None
    contrast = scores.combined({arm: 1.0, **{each: -1 / len(there) for each in there}})
    spread = stdev(scores.contrast(arm, each).difference for each in there)
    error = contrast.standard_error * math.sqrt(contrast.units / units)
    beyond = smallest_beyond(spread, draws, level, error)
    over_items = smallest_found(contrast, level, units=units)
    return None if beyond is None or over_items is None else max(beyond, over_items)


def _spread(case: PlannableCase, known: Known, pilot: Contrast | None, changed: float) -> str:
    """Where it comes from how items vary, in words."""
    if pilot is None:
        return "unknown"
    if known.scores is None or known.at is None:
        return f"assumed {100 * changed:g} %"
    part = known.items is None or known.scores.items < known.items
    what = f"pilot of {known.scores.items}" if part else "stored"
    near = isinstance(known.at, DirectionCase) and isinstance(case, DirectionCase) and known.at.key != case.key
    return f"{what} at {show_key(_at(known.at))}" if near else what


def _at(case: PlannableCase) -> ArmKey:
    return case.key if isinstance(case, DirectionCase) else case.ratios[-1]
