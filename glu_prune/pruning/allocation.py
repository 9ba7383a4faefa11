"""Which layers lose how many neurons, so that as many go in all as a ratio says and the model predicts least otherwise.

The damage of layers is taken as the sum of what each does alone. A multiple-choice knapsack, one width for each layer,
solved exactly by scipy's mixed-integer solver (HiGHS).
"""

from collections.abc import Mapping
from itertools import pairwise

from glu_prune.errors import PlanError
from glu_prune.pruning.sensitivity import Curves

UNIFORM, BY_SCORE = "uniform", "by_score"
"""What may be said in place of a file of sensitivities."""
_STEPS = 32
"""Widths between which a layer may choose where no multiple is asked for."""


def allocated(
    curves: Curves, widths: Mapping[int, int], uniform: Mapping[int, int], costs: Mapping[int, int], multiple_of: int
) -> dict[int, int]:
    """Layer to its width: of all choices that cost no more than the `uniform` widths, the one of least damage.

    Args:
        curves: The damage of each layer at some ratios; between them straight lines, beyond the last one its slope.
        widths: Layer to neurons before.
        uniform: Layer to neurons that a uniform cut leaves.
        costs: Layer to the parameters of a neuron.
        multiple_of: Widths are multiples of it, or whole.

    Raises:
        PlanError: a layer has no curve, or no choice is as small as the uniform cut.
    """
    import numpy as np
    from scipy.optimize import Bounds, LinearConstraint, milp

    known = dict(curves)
    if lacking := sorted(set(widths) - set(known)):
        msg = f"the sensitivity has layers {min(known)} to {max(known)}, not {lacking[0]}; measure it of this model"
        raise PlanError(msg)
    choices = [(layer, width) for layer in widths for width in _choices(widths[layer], multiple_of)]
    damage = [_damage(known[layer], 1 - width / widths[layer]) for layer, width in choices]
    cost = [costs[layer] * width for layer, width in choices]
    budget = sum(costs[layer] * uniform[layer] for layer in widths)
    one_each = np.array([[float(layer == each) for each, _ in choices] for layer in widths])
    found = milp(
        damage,
        integrality=np.ones(len(choices), dtype=int),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one_each, 1, 1), LinearConstraint(np.array([cost], dtype=float), 0, budget)],
        options={"mip_rel_gap": 0.0},
    )
    if found.x is None:
        msg = f"no widths that are multiples of {multiple_of} are as small as the uniform cut; take another ratio"
        raise PlanError(msg)
    return {layer: width for (layer, width), taken in zip(choices, found.x, strict=True) if taken > 0.5}


def _choices(width: int, multiple_of: int) -> list[int]:
    """Widths from the narrowest to the whole one."""
    step = multiple_of if multiple_of > 1 else max(1, width // _STEPS)
    return sorted({*range(step, width, step), width})


def _damage(curve: tuple[tuple[object, float], ...], removed: float) -> float:
    """At a share of neurons removed; never less than at a smaller one, as noise would have it."""
    points = [(0.0, 0.0)]
    for ratio, value in curve:
        points.append((float(str(ratio)), max(value, points[-1][1])))
    for (left, low), (right, high) in pairwise(points):
        if removed <= right:
            return low + (high - low) * (removed - left) / (right - left)
    (left, low), (right, high) = points[-2:]
    return high + (removed - right) * max((high - low) / (right - left), high / right)
