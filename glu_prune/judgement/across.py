"""Verdicts on claims across ratios: trends, correlations, knees, and where gains and losses balance best."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Protocol

from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.scores import CapabilityScores
from glu_prune.judgement.verdict import ALPHA, above_floor, one_sided, something_to_lose, under
from glu_prune.pruning.ratio import show_ratio
from glu_prune.results.base import Outcome
from glu_prune.statistics import trends


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


def _few(smallest: float) -> tuple[str, ...]:
    """What so few ratios can show at best."""
    if smallest > ALPHA:
        return (f"with so few ratios no p-value below {smallest:.2g} is possible",)
    return ()


def _trend(case: Across, measured: CapabilityScores, ratios: Sequence[Decimal]) -> trends.Association:
    return trends.monotone([float(ratio) for ratio in ratios], _capabilities(case, measured, ratios))


def _monotone(case: Across, measured: Sequence[CapabilityScores]) -> _Found:
    """Rising or falling: exact Mann-Kendall test over the ratios."""
    ratios = _ratios(case, measured)
    found = _trend(case, measured[0], ratios)
    numbers = f"Mann-Kendall tau {found.coefficient:+.2f} over {len(ratios)} ratios, exact p = {found.p:.2g}"
    if found.p > ALPHA:
        return _Found("inconclusive", numbers, _few(found.smallest_p))
    if (found.coefficient > 0) != (case.claim.relation == "rising"):
        return _Found("refuted", numbers)
    return _with_floors(case, numbers, measured, ratios)


def _correlation(case: Across, measured: Sequence[CapabilityScores]) -> _Found:
    """Inverse or positive: Pearson's and Spearman's coefficient must both show it."""
    ratios = _ratios(case, measured)
    found = trends.correlation(*(_capabilities(case, each, ratios) for each in measured))
    both = (found.pearson, found.spearman)
    shown = ", ".join(f"{each.name} {each.coefficient:+.3f} (exact p = {each.p:.2g})" for each in both)
    numbers = f"{shown} over {len(ratios)} ratios, which are few"
    if max(each.p for each in both) > ALPHA:
        return _Found("inconclusive", numbers, _few(max(each.smallest_p for each in both)))
    if (found.pearson.coefficient > 0) != (case.claim.relation == "positive"):
        return _Found("refuted", numbers)
    return _with_floors(case, numbers, measured, ratios)


def _with_floors(case: Across, numbers: str, measured: Sequence[CapabilityScores], ratios: Sequence[Decimal]) -> _Found:
    """A trend that holds: what rises must end above its floor, and what falls must have been above it."""
    conditions = []
    for each in measured:
        if _trend(case, each, ratios).coefficient > 0:
            found = above_floor(each, case.arm(ratios[-1]), 1, "under the floor")
        else:
            found = something_to_lose(each, 1)
        conditions.append(replace(found, reason=f"{each.capability.name}: {found.reason}"))
    outcome, _ = under(conditions)
    return _Found(outcome, numbers, tuple(condition.reason for condition in conditions))


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
    floor = above_floor(measured, there, 1, "under the floor")
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
    return max(score, measured.floor.score) if measured.floor else score


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
