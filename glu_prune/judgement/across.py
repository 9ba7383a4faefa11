"""Verdicts on claims across ratios: trends, correlations, knees, and where gains and losses balance best."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.scores import CapabilityScores
from glu_prune.judgement.verdict import ALPHA, Condition, above_floor, one_sided, something_to_lose, under
from glu_prune.pruning.ratio import show_ratio
from glu_prune.results.base import Outcome
from glu_prune.statistics.contrasts import Contrast
from glu_prune.statistics.trends import LEAST_POINTS, correlation

_DESCRIPTIVE = "two curves of one model, which both change with every neuron that goes; that decides nothing"


class Relation(Protocol):
    """What is claimed of some capabilities across ratios."""

    @property
    def trend(self) -> tuple[str, ...]:
        """Their names."""

    @property
    def relation(self) -> str:
        """One of the kinds of relation that `judge_trend` knows."""

    @property
    def at(self) -> Decimal | None:
        """Where a knee or an equilibrium is claimed to be."""

    @property
    def margin(self) -> float | None:
        """The largest loss that still counts as preserved."""


class Across(Protocol):
    """A claim across ratios, and the models that it is about."""

    @property
    def claim(self) -> Relation:
        """What is claimed."""

    @property
    def ratios(self) -> tuple[Decimal, ...]:
        """All ratios in order, the dense model's 0 first."""

    def arm(self, ratio: Decimal) -> Arm:
        """The model at `ratio`."""


@dataclass(frozen=True)
class TrendVerdict:
    """What the ratios say about one claim."""

    about: str
    relation: str
    outcome: Outcome
    points: int
    """Ratios, the dense model among them."""
    statistics: str
    """The figures of the test, in words."""
    reasons: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The verdict and the numbers that led to it, for people."""
        numbers = f"{self.about} {self.relation}: {self.outcome}. {self.statistics}"
        return "; ".join([numbers, *self.reasons])


@dataclass(frozen=True)
class _Found:
    outcome: Outcome
    statistics: str
    reasons: tuple[str, ...] = ()


def judge_trend(case: Across, measured: Sequence[CapabilityScores]) -> TrendVerdict:
    """The verdict on `case` from what was measured of each of its capabilities, at all ratios of the file.

    Raises:
        EvaluationError: a trend test is asked of fewer than three ratios.
    """
    relation = case.claim.relation
    found = _JUDGES[relation](case, measured)
    absent = [show_ratio(ratio) for ratio in case.ratios if not _has(case, measured, ratio)]
    reasons = (*found.reasons, *([f"not measured at {', '.join(absent)}"] if absent else []))
    at = "" if case.claim.at is None else f" at {show_ratio(case.claim.at)}"
    return TrendVerdict(
        about=" and ".join(case.claim.trend),
        relation=f"{relation}{at}",
        outcome=found.outcome,
        points=len(_ratios(case, measured)),
        statistics=found.statistics,
        reasons=reasons,
    )


def _ratios(case: Across, measured: Sequence[CapabilityScores]) -> list[Decimal]:
    """Ratios at which everything was measured, the dense model first, which must be among them."""
    return [ratio for ratio in case.ratios if ratio == 0 or _has(case, measured, ratio)]


def _has(case: Across, measured: Sequence[CapabilityScores], ratio: Decimal) -> bool:
    return all(each.has(case.arm(ratio)) for each in measured)


def _capabilities(case: Across, measured: CapabilityScores, ratios: Sequence[Decimal]) -> list[float]:
    """Scores with the sign that makes more better."""
    return [measured.better * measured.score(case.arm(r)) for r in ratios]


def _slope(case: Across, measured: CapabilityScores, ratios: Sequence[Decimal]) -> Contrast:
    """How much the capability changes from the first ratio to the last, by the straight line through all of them.

    Fitted item by item and tested over items: ratios are nested in each other, and so are no observations of their own.

    Source: Tukey, Ciminera & Heyse (1985), Biometrics 41, 295-301 (dose-response by one linear contrast).

    Raises:
        EvaluationError: there are fewer than three ratios, of which a line says no more than a direction.
    """
    if len(ratios) < LEAST_POINTS:
        shown = ", ".join(map(show_ratio, ratios))
        msg = f"a trend is one over {LEAST_POINTS} or more ratios, the dense model's among them; measured: {shown}"
        raise EvaluationError(msg)
    return measured.combined(dict(zip(map(case.arm, ratios), line_weights(ratios), strict=True)))


def line_weights(ratios: Sequence[Decimal]) -> list[float]:
    """How much the score at each ratio counts in the change along the straight line from the first to the last."""
    places = [float(ratio) for ratio in ratios]
    middle = math.fsum(places) / len(places)
    scale = (places[-1] - places[0]) / math.fsum((place - middle) ** 2 for place in places)
    return [(place - middle) * scale for place in places]


def _monotone(case: Across, measured: Sequence[CapabilityScores]) -> _Found:
    """Rising or falling: the slope over the ratios, tested over items."""
    ratios = _ratios(case, measured)
    (only,) = measured
    slope = _slope(case, only, ratios)
    low, high = slope.interval()
    p = slope.p_two_sided()
    numbers = (
        f"change along the line from {show_ratio(ratios[0])} to {show_ratio(ratios[-1])}, over {len(ratios)} ratios: "
        f"{slope.difference:+.3f} (95 % interval {low:+.3f} to {high:+.3f}); {slope.test} p = {p:.2g}"
    )
    if p > ALPHA:
        return _Found("inconclusive", numbers)
    rises = only.better * slope.difference > 0
    end = _end(case, only, ratios, rises=rises)
    outcome, _ = under([end])
    if outcome == "confirmed" and rises != (case.claim.relation == "rising"):
        outcome = "refuted"
    return _Found(outcome, numbers, (end.reason,))


def _correlation(case: Across, measured: Sequence[CapabilityScores]) -> _Found:
    """Inverse or positive: described, and never decided.

    All ratios are one model that loses more and more, so any two capabilities that change at all go together: no test
    over items or ratios tells a link between them from that.
    """
    ratios = _ratios(case, measured)
    found = correlation(*(_capabilities(case, each, ratios) for each in measured))
    numbers = f"Pearson {found.pearson:+.3f}, Spearman {found.spearman:+.3f} over {len(ratios)} ratios"
    return _Found("inconclusive", numbers, (f"descriptive: {_DESCRIPTIVE}",))


def _end(case: Across, measured: CapabilityScores, ratios: Sequence[Decimal], *, rises: bool) -> Condition:
    """What rises must end above its floor, and what falls must have been above it."""
    if rises:
        found = above_floor(measured, case.arm(ratios[-1]), 1, "under the floor")
    else:
        found = something_to_lose(measured, 1)
    return replace(found, reason=f"{measured.capability.name}: {found.reason}")


def _knee(case: Across, measured: Sequence[CapabilityScores]) -> _Found:
    """The largest ratio up to which, step by step, the loss is shown to be smaller than the margin, above the floor.

    Ratios are tested in order, each only if the one before held, and nothing is tested after the first that did not: so
    no correction for their number is due.

    Source: Westfall & Krishen (2001), J. Statist. Plann. Inference 99, 25-40 (fixed-sequence testing).
    """
    (only,) = measured
    claimed = case.claim.at or Decimal(0)
    knee, stopped, state, reason = Decimal(0), None, "smaller", ""
    for ratio in case.ratios[1:]:
        state, reason = _loss(case, only, ratio)
        if state != "smaller":
            stopped = ratio
            break
        knee = ratio
    numbers = f"loss shown to be under {case.claim.margin:g} up to ratio {show_ratio(knee)}"
    reasons = () if stopped is None else (f"at {show_ratio(stopped)} {reason}",)
    if knee > claimed:
        return _Found("refuted", numbers, reasons)
    if knee < claimed:
        outcomes: dict[str, Outcome] = {"larger": "refuted", "floor": "artefact"}
        return _Found(outcomes.get(state, "inconclusive"), numbers, reasons)
    return _Found("confirmed" if stopped is None or state == "larger" else "inconclusive", numbers, reasons)


def _loss(case: Across, measured: CapabilityScores, ratio: Decimal) -> tuple[str, str]:
    """(state, reason) of the loss at `ratio`: `smaller` or `larger` than the margin, or `open`.

    It is `floor` if it is smaller only because there is nothing to lose.
    """
    margin, there = case.claim.margin or 0.0, case.arm(ratio)
    if not measured.has(there):
        return "open", "nothing was measured"
    change = measured.contrast(there, DENSE)
    if one_sided(change, measured.better, -margin) > ALPHA:
        if one_sided(change, -measured.better, margin) <= ALPHA:
            return "larger", "it is shown to be larger"
        return "open", "it is not decided"
    floor = above_floor(measured, there, 1, "under the floor", below_fails=False)
    return {"shown": "smaller", "fails": "floor", "open": "open"}[floor.state], floor.reason


def _equilibrium(case: Across, measured: Sequence[CapabilityScores]) -> _Found:
    """Whether the mean of the capabilities is highest at the claimed ratio; what is under a floor counts as the floor.

    The claimed ratio is compared with each other one, the dense model among them: normal, with the standard errors of
    the contrasts added up. It must be better than every other, so that no correction is due; it is refuted if one is
    better at 0.05 over their number.
    """
    ratios = _ratios(case, measured)
    claimed = case.claim.at or Decimal(0)
    means = {r: sum(_clipped(case, each, r) for each in measured) / len(measured) for r in ratios}
    others = [ratio for ratio in ratios if ratio != claimed]
    if claimed not in ratios or not others:
        return _Found("inconclusive", "the claimed ratio, or all others, were not measured")
    best = max(means, key=lambda r: means[r])
    numbers = ", ".join(f"{show_ratio(r)}: {means[r]:.3f}" for r in ratios)
    numbers = f"mean score, what is under its floor counted as the floor, by ratio: {numbers}"
    if all(_p_better(case, measured, claimed, ratio, means) <= ALPHA for ratio in others):
        return _Found("confirmed", numbers)
    for ratio in sorted(others, key=lambda r: -means[r]):
        p = _p_better(case, measured, ratio, claimed, means)
        if p * len(others) <= ALPHA:
            return _Found("refuted", numbers, (f"better at {show_ratio(ratio)}, p = {p:.2g}",))
    return _Found("inconclusive", numbers, (f"highest at {show_ratio(best)}, not shown to differ",))


def _clipped(case: Across, measured: CapabilityScores, ratio: Decimal) -> float:
    score = measured.score(case.arm(ratio))
    floor = measured.floor(case.arm(ratio))
    return max(score, floor.score) if floor else score


def _p_better(
    case: Across,
    measured: Sequence[CapabilityScores],
    first: Decimal,
    second: Decimal,
    means: Mapping[Decimal, float],
) -> float:
    """One-sided p against "the mean at `first` is not higher than that at `second`"."""
    from scipy.stats import norm

    errors = [each.contrast(case.arm(first), case.arm(second)).standard_error for each in measured]
    error = sum(errors) / len(measured)  # the most it can be, however the capabilities are correlated
    difference = means[first] - means[second]
    if error == 0:
        return 0.0 if difference > 0 else 1.0
    return float(norm.sf(difference / error))


_JUDGES = {
    "rising": _monotone,
    "falling": _monotone,
    "inverse": _correlation,
    "positive": _correlation,
    "knee": _knee,
    "equilibrium": _equilibrium,
}
