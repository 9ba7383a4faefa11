"""The only code that changes weights or configuration: one parameter at a time, all or nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypedDict, Unpack

import torch
from torch import nn

from glu_prune.errors import UnsupportedModelError, shown
from glu_prune.pruning.gather import gather
from glu_prune.pruning.glu_block import NeuronSlice
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.target import Target
from glu_prune.pruning.width_map import WIDTHS, Path, WidthMap, configure, entry, map_widths, meta_model

Undo = list[Callable[[], None]]
"""Functions that undo a change, to be called in reverse order."""


def apply(model: nn.Module, plan: PruningPlan) -> None:
    """Removes from `model`, in place, every neuron that `plan` does not keep.

    Parameters stay the same objects (so ties, hooks and `requires_grad` stay), on their device and in their dtype;
    attributes and configuration entries that follow a width change with it. The plan is compared with the model first;
    should anything fail half-way, the model is put back as it was, bit for bit. Memory in use never grows by more than
    one parameter. Works on the meta device.

    Raises:
        UnsupportedModelError: `model` has no GLU block, or cannot be pruned.
        PlanError: the plan was made for other blocks or other weights.
    """
    width_map = map_widths(model)
    plan.check(width_map)
    _remove_neurons(model, width_map, plan)


class Size(TypedDict, total=False):
    """What a target can say beside a ratio."""

    expansion_ratio: object
    """Width over hidden size afterwards."""
    width: int
    multiple_of: int
    """To a multiple of which widths are rounded."""
    layer_ratios: Mapping[int, object]
    """Layers (negative ones count from the end) with a ratio of their own."""
    skip: Iterable[int | str]
    """Layers that stay as they are, or blocks by patterns such as `encoder.*`."""


Calibration = Iterable[Sequence[int]]
"""Text as sequences of token ids, for criteria that look at activations."""


def plan(
    model: nn.Module,
    ratio: object = None,
    criterion: str = "ppm",
    seed: int = 0,
    *,
    calibration: Calibration | None = None,
    **size: Unpack[Size],
) -> PruningPlan:
    """The plan that keeps the most important neurons of every GLU block of `model`, down to a target.

    The target is exactly one of `ratio` (fraction removed), `expansion_ratio` and `width`; the other words of `Size`
    go with each of them. `apply` removes what the plan does not keep.

    Raises:
        UnsupportedModelError: `model` has no GLU block, or cannot be pruned.
        PlanError: the target or the criterion is not allowed, or the weights are not finite.
    """
    return _planned(model, Target.of(ratio, **size), criterion, seed, calibration)[1]


def prune(
    model: nn.Module,
    ratio: object = None,
    criterion: str = "ppm",
    seed: int = 0,
    *,
    calibration: Calibration | None = None,
    **size: Unpack[Size],
) -> PruningPlan:
    """Removes the least important neurons of every GLU block of `model`, in place, down to a target, as `plan` says.

    Returns the plan that was applied.

    Raises:
        UnsupportedModelError: `model` has no GLU block, or cannot be pruned.
        PlanError: the target or the criterion is not allowed, or the weights are not finite.
    """
    width_map, made = _planned(model, Target.of(ratio, **size), criterion, seed, calibration)
    _remove_neurons(model, width_map, made)
    return made


def _planned(
    model: nn.Module, target: Target, criterion: str, seed: int, calibration: Calibration | None
) -> tuple[WidthMap, PruningPlan]:
    activations = None
    if calibration is not None:
        from glu_prune.pruning.calibration import measure

        activations = measure(model, calibration)
    ranking = rank(model, criterion, seed, activations)
    return ranking.width_map, ranking.plan(target)


@contextmanager
def pruned(model: nn.Module, plan: PruningPlan) -> Iterator[None]:
    """`model` without the neurons that `plan` does not keep, until the block ends; then as it was, bit for bit.

    Raises:
        UnsupportedModelError, PlanError: as `apply`.
    """
    width_map = map_widths(model)
    plan.check(width_map)
    undo = _remove_neurons(model, width_map, plan)
    try:
        yield
    finally:
        _roll_back(undo)


def narrowed_meta_model(kind: type[nn.Module], config: Any) -> nn.Module:
    """A model of class `kind` on the meta device, with the widths in the configuration's `glu_widths`, if it has them.

    Raises:
        UnsupportedModelError: the class cannot be built from this configuration, or not be pruned.
    """
    model = meta_model(kind, config)
    if (widths := getattr(config, WIDTHS, None)) is not None:
        narrow_blocks(model, widths)
    return model


def narrow_blocks(model: nn.Module, widths: Any) -> None:
    """Cuts blocks of a model on the meta device to `widths` (owner to width), whichever neurons go.

    Raises:
        UnsupportedModelError: `model` has no GLU block, or cannot be pruned, or `widths` are none that it can have.
    """
    width_map = map_widths(model)
    _refuse_widths({block.owner: block.width for block in width_map.blocks}, widths)
    found = {block.name: widths.get(block.owner, block.width) for block in width_map.blocks}
    kept = {name: torch.arange(width, device="cpu") for name, width in found.items()}
    for parameter, slices in _parameters(width_map):
        parameter.data = _select(parameter.data, slices, kept)
    _set_attributes(model, width_map, found, [])


def _refuse_widths(whole: Mapping[str, int], widths: Any) -> None:
    """Raises `UnsupportedModelError` unless `widths`, of a configuration, are no wider than the `whole` blocks."""
    wrong = widths
    if isinstance(widths, Mapping):
        bad = (
            (owner, width)
            for owner, width in widths.items()
            if type(width) is not int or not 1 <= width <= whole.get(owner, 0)
        )
        if (wrong := next(bad, None)) is None:
            return
    first = next(iter(whole))
    msg = (
        f"{WIDTHS} in the configuration: {shown(wrong)} is not allowed; it gives owners of blocks, such as {first}, "
        f"a width from 1 to that of the original, {whole[first]}"
    )
    raise UnsupportedModelError(msg)


def _remove_neurons(model: nn.Module, width_map: WidthMap, plan: PruningPlan) -> Undo:
    kept = {block.name: torch.tensor(block.kept, device="cpu") for block in plan.blocks}
    changes = width_map.changes(plan.widths)
    undo: Undo = []
    try:
        for parameter, slices in _parameters(width_map):
            _narrow_parameter(parameter, slices, kept, undo)
        _set_attributes(model, width_map, plan.widths, undo)
        _set_configuration(model, changes, undo)
    except BaseException:
        _roll_back(undo)
        raise
    return undo


def _roll_back(undo: Undo) -> None:
    while undo:
        undo.pop()()


def _parameters(width_map: WidthMap) -> Iterator[tuple[nn.Parameter, list[tuple[str, NeuronSlice]]]]:
    """Every parameter to be cut, with its slices and the block of each; those that lose columns come last.

    Several slices of one parameter (gate and up stacked, all experts) are cut together, because a parameter can only
    be replaced whole.
    """
    # Columns are taken by numpy in Python threads. Torch's own threads spin for a while after work of theirs (taking
    # rows) and would compete for the processors, so all rows come first.
    found: dict[int, tuple[nn.Parameter, list[tuple[str, NeuronSlice]]]] = {}
    for block in width_map.blocks:
        for neurons in block.slices:
            parameter = neurons.tensor
            found.setdefault(id(parameter), (parameter, []))[1].append((block.name, neurons))
    yield from sorted(found.values(), key=lambda each: each[1][0][1].dim)


def _narrow_parameter(
    parameter: nn.Parameter, slices: list[tuple[str, NeuronSlice]], kept: Mapping[str, torch.Tensor], undo: Undo
) -> None:
    """Makes `parameter` narrower, and adds to `undo` what makes it whole again."""
    neurons = slices[0][1]
    if all(len(kept[name]) == neurons.width for name, _ in slices):
        return
    # Both halves are copied and the original is dropped: undoing costs no more memory than the parameter itself, where
    # a backup would need the whole model twice. The gradient has the old shape, so it goes until the cut is undone.
    gone = {name: _complement(kept[name], neurons.width) for name, _ in slices}
    stays, goes = _select(parameter.data, slices, kept), _select(parameter.data, slices, gone)
    shape, grad = parameter.shape, parameter.grad

    def restore() -> None:
        if parameter.shape != shape:
            whole = stays.new_empty(shape)
            for name, each in slices:
                for part, indices in ((stays, kept[name]), (goes, gone[name])):
                    each.view(whole).index_copy_(each.dim, indices.to(whole.device), each.view(part))
            parameter.data = whole
        parameter.grad = grad

    undo.append(restore)
    parameter.grad = None
    # `.data` keeps the parameter the same object: tied weights, optimisers and hooks refer to it by identity.
    parameter.data = stays


def _select(
    whole: torch.Tensor, slices: list[tuple[str, NeuronSlice]], chosen: Mapping[str, torch.Tensor]
) -> torch.Tensor:
    """A tensor laid out like `whole`, with only the chosen neurons of every slice."""
    name, neurons = slices[0]
    shape = list(whole.shape)
    shape[neurons.axis] = len(chosen[name]) * neurons.segments
    result = whole.new_empty(shape)
    for name, neurons in slices:
        gather(neurons.view(whole), neurons.dim, chosen[name], neurons.view(result))
    return result


def _complement(indices: torch.Tensor, width: int) -> torch.Tensor:
    absent = torch.ones(width, dtype=torch.bool, device="cpu")
    absent[indices] = False
    return absent.nonzero().flatten()


def _set_attributes(model: nn.Module, width_map: WidthMap, widths: Mapping[str, int], undo: Undo) -> None:
    """Makes attributes of modules follow the widths of blocks."""
    # An attribute follows the block that holds its module; else the blocks below that module; else all blocks of its
    # configuration entry. Where these have different widths, one number cannot be right for all, and it stays.
    for block in width_map.blocks:
        for neurons in block.slices:
            if isinstance(neurons.module, nn.Linear):
                rows, columns = neurons.module.weight.shape
                _set_attribute(neurons.module, "out_features", rows, undo)
                _set_attribute(neurons.module, "in_features", columns, undo)
    owners = {block.owner: (widths[block.name], width_map.base[block.name]) for block in width_map.blocks}
    modules = dict(model.named_modules())
    for attribute in width_map.width_attributes:
        near = [owner for owner in owners if _contains(owner, attribute.module)]
        near = near or [owner for owner in owners if _contains(attribute.module, owner)]
        near = near or [
            block.owner for block in width_map.blocks if width_map.entries.get(block.name) == attribute.entry
        ]
        scales = {owners[owner] for owner in near}
        if len(scales) == 1 and attribute.module in modules:
            ((width, base),) = scales
            _set_attribute(modules[attribute.module], attribute.name, attribute.value * width // base, undo)


def _contains(outer: str, inner: str) -> bool:
    return f"{inner}.".startswith(f"{outer}.")


def _set_attribute(owner: nn.Module, name: str, value: int, undo: Undo) -> None:
    old = getattr(owner, name)
    if old != value:
        setattr(owner, name, value)
        undo.append(partial(setattr, owner, name, old))


def _set_configuration(model: nn.Module, changes: Mapping[Path, Any], undo: Undo) -> None:
    """Changes the model's configuration, and the copies of it or of its parts that modules hold."""
    if not changes:
        return
    root: Any = model.config
    owners = [entry(root, path[:-1]) for path in changes]
    # Modules may hold the configuration itself, a part of it, or a copy of either that they made when built; a copy is
    # recognised by its class and changed alike, so that whoever reads it finds the new width.
    held = {id(each): each for each in (vars(module).get("config") for module in model.modules()) if each is not None}
    copies = [(each, owner) for owner in owners for each in held.values() if type(each) is type(owner)]
    for each in {id(each): each for each in (*owners, *(each for each, _ in copies))}.values():
        undo.append(partial(_restore_entries, each, dict(vars(each))))
    for path, value in changes.items():
        for each, owner in copies:
            if each is not owner and owner is entry(root, path[:-1]) and path != (WIDTHS,):
                configure(each, {path[-1:]: value})
    configure(root, changes)


def _restore_entries(config: Any, entries: Mapping[str, Any]) -> None:
    vars(config).clear()
    vars(config).update(entries)
