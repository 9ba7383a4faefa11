"""The dose-response curve of a capability: its change at each ratio, with a band that holds at all ratios at once."""

from collections.abc import Sequence

from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.scores import CapabilityScores
from glu_prune.results.curves import CurvePoint


def curve(subject: str, arms: Sequence[Arm], measured: CapabilityScores) -> tuple[CurvePoint, ...]:
    """The points of `arms`, in their order; none of fewer than two ratios, or where scores have no standard errors.

    Args:
        subject: The model, as tables name it.
        arms: One pruned model for each ratio; those that were not measured are left out.
        measured: The scores of one capability.
    """
    present = [arm for arm in arms if arm != DENSE and measured.has(arm)]
    if len(present) < 2:
        return ()
    try:
        at_once = measured.confidence_at_once(present)
        return tuple(_point(subject, arm, measured, at_once, len(present)) for arm in present)
    except EvaluationError:  # of a published score no standard error may be known; it still has a place in its claim
        return ()


def _point(subject: str, arm: Arm, measured: CapabilityScores, at_once: float, ratios: int) -> CurvePoint:
    change = measured.contrast(arm, DENSE)
    floor = measured.floor(arm)
    (low, high), (band_low, band_high) = change.interval(), change.interval(at_once)
    return CurvePoint(
        model=subject,
        criterion=str(arm.criterion),
        capability=measured.capability.name,
        metric=measured.capability.metric,
        ratio=arm.ratio,
        dense=measured.score(DENSE),
        score=measured.score(arm),
        delta=change.difference,
        low=low,
        high=high,
        band_low=band_low,
        band_high=band_high,
        floor=floor.score if floor else None,
        chance=measured.chance,
        items=measured.items,
        units=change.units,
        ratios=ratios,
    )
