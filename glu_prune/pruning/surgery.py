"""The only code that changes weights or configuration."""

import torch
from torch import nn

from glu_prune.errors import PlanError
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.plan import PruningPlan, rank

_WIDTH_ATTRIBUTE = "intermediate_size"


def apply(model: nn.Module, plan: PruningPlan) -> None:
    """Removes from `model`, in place, every neuron that `plan` does not keep.

    All blocks are checked and all smaller tensors made before the first one is replaced; a failure leaves the model as
    it was. Device, dtype and `requires_grad` of each parameter stay.

    Raises:
        UnsupportedModelError: `model` has no GLU block.
        PlanError: the blocks of `model` are not those of `plan`, or the plan leaves blocks of different widths, which a
            stock configuration cannot express.
    """
    blocks = find_blocks(model)
    found = {block.name: block.width for block in blocks}
    wanted = {block.name: block.width for block in plan.blocks}
    if found != wanted:
        wrong = next(name for name in (*found, *wanted) if found.get(name) != wanted.get(name))
        msg = (
            f"the plan is for another model: {wrong} has width {found.get(wrong, 'none')} here "
            f"and {wanted.get(wrong, 'none')} in the plan"
        )
        raise PlanError(msg)
    widths = {len(block.kept) for block in plan.blocks}
    if len(widths) > 1:
        msg = f"the plan keeps different widths ({sorted(widths)}); one {_WIDTH_ATTRIBUTE} must hold for all blocks"
        raise PlanError(msg)
    (width,) = widths
    kept = {block.name: torch.tensor(block.kept) for block in plan.blocks}
    smaller = []
    for block in blocks:
        for axis in block.axes:
            old = axis.module.get_parameter(axis.parameter)
            new = old.detach().index_select(axis.dim, kept[block.name].to(old.device))
            smaller.append((axis, nn.Parameter(new, requires_grad=old.requires_grad)))
    for axis, parameter in smaller:
        setattr(axis.module, axis.parameter, parameter)
        if axis.mirror is not None:
            setattr(axis.module, axis.mirror, width)
    for owner in (*(block.module for block in blocks), getattr(model, "config", None)):
        if hasattr(owner, _WIDTH_ATTRIBUTE):
            setattr(owner, _WIDTH_ATTRIBUTE, width)


def prune(model: nn.Module, ratio: object, criterion: str = "ppm", seed: int = 0) -> PruningPlan:
    """Removes the least important fraction `ratio` of the neurons of every GLU block of `model`, in place.

    Returns the plan that was applied.

    Raises:
        UnsupportedModelError: `model` has no GLU block.
        PlanError: `ratio` is not in [0, 1), the criterion does not exist, or the weights are not finite.
    """
    plan = rank(model, criterion, seed).plan(ratio)
    apply(model, plan)
    return plan
