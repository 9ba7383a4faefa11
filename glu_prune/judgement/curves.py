"""The dose-response curve of a capability: its change at each ratio, with a band that holds at all ratios at once."""

from collections.abc import Mapping, Sequence

from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.scores import CapabilityScores
from glu_prune.results.curves import CurvePoint


def curve(subject: str, arms: Sequence[Arm], measured: CapabilityScores) -> tuple[CurvePoint, ...]:
    """The dense model at ratio 0, then the points of `arms` in their order.

    None of fewer than two pruned ratios, or where scores have no standard errors.

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
        changes = {arm: measured.contrast(arm, DENSE) for arm in present}
        limits = {arm: (*each.interval(), *each.interval(at_once)) for arm, each in changes.items()}
        first = changes[present[0]]
    except EvaluationError:  # of a published score no standard error may be known; it still has a place in its claim
        return ()
    shared = {"model": subject, "criterion": str(present[0].criterion), "units": first.units, "ratios": len(present)}
    return (
        _point(shared, measured, DENSE, 0.0, (0.0,) * 4),
        *(_point(shared, measured, arm, changes[arm].difference, limits[arm]) for arm in present),
    )


def _point(
    shared: Mapping[str, object], measured: CapabilityScores, arm: Arm, delta: float, limits: Sequence[float]
) -> CurvePoint:
    """`limits` are those of the interval, then those of the band; the dense model has none against itself."""
    floor = measured.floor(arm)
    found = {
        **shared,
        **dict(zip(("low", "high", "band_low", "band_high"), limits, strict=True)),
        "capability": measured.capability.name,
        "metric": measured.capability.metric,
        "ratio": arm.ratio,
        "dense": measured.score(DENSE),
        "score": measured.score(arm),
        "delta": delta,
        "floor": floor.score if floor else None,
        "chance": measured.chance,
        "items": measured.items,
    }
    return CurvePoint.model_validate(found)
