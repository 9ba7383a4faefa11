"""The properties: each takes a subject and a case, leaves the model as it was, and raises `ContractError` if broken."""

import copy
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from glu_prune.contract.subject import PruningCase, Subject
from glu_prune.errors import ContractError
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.checkpoint import load
from glu_prune.pruning.criteria import Neurons, criterion
from glu_prune.pruning.glu_block import GluBlock
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.ranking import block_seed, rank
from glu_prune.pruning.surgery import pruned
from glu_prune.pruning.width_map import WIDTHS

_SMALL = 1e-3
Property = Callable[[Subject, PruningCase], None]
PROPERTIES: dict[str, Property] = {}
"""Every property by its name."""


def _property(check: Callable[[Subject, PruningCase], str]) -> Property:
    """Registers a check, which says what is broken, or nothing; the property raises that, and how to see it again."""

    @wraps(check)
    def holds(subject: Subject, case: PruningCase) -> None:
        if found := check(subject, case):
            msg = f"{check.__name__.replace('_', ' ')}: {found}"
            error = ContractError(msg)
            error.add_note(
                "reproduce with:\n"
                "    from glu_prune.contract.properties import PROPERTIES\n"
                "    from glu_prune.contract.read import read\n"
                "    from glu_prune.contract.subject import PruningCase\n"
                f"    PROPERTIES[{check.__name__!r}](read({subject.name!r}), {case!r})"
            )
            raise error

    PROPERTIES[check.__name__] = holds
    return holds


def _apart(subject: Subject, found: torch.Tensor, expected: torch.Tensor) -> str:
    """How far two answers are apart, if by more than the order of sums explains."""
    # Narrower matrices are multiplied in other blocks, so sums are taken in another order and the last bits differ.
    scale, apart = float(expected.abs().max()), float((found - expected).abs().max())
    if apart <= subject.tolerance * max(scale, _SMALL):
        return ""
    return f"answers differ by {apart:.3g}, where they are as large as {scale:.3g}"


@_property
def cutting_equals_silencing(subject: Subject, case: PruningCase) -> str:
    """A model without some neurons answers as the dense one does when these are silent: nothing else was lost."""
    # Silencing shares no code with surgery: it moves nothing and only sets entries of down to zero. So whatever a cut
    # gets wrong (a bias left behind, a wrong half of a fused matrix, experts mixed up) makes the answers differ.
    plan = case.plan(subject)
    with silenced(subject.model, plan):
        expected = subject.answers()
    with pruned(subject.model, plan):
        found = subject.answers()
    return _apart(subject, found, expected)


@_property
def kept_neurons_keep_their_bits(subject: Subject, case: PruningCase) -> str:
    """Every neuron that stays has the weights and biases it had, bit for bit, and its place in the order."""
    plan = case.plan(subject)
    kept = {block.name: torch.tensor(block.kept) for block in plan.blocks}
    before = [
        (
            block.name,
            neurons,
            neurons.view(neurons.tensor.detach()).index_select(neurons.dim, kept[block.name].to(neurons.tensor.device)),
        )
        for block in find_blocks(subject.model)
        for neurons in block.slices
    ]
    with pruned(subject.model, plan):
        for name, neurons, expected in before:
            if not _same(neurons.view(neurons.tensor.detach()), expected):
                return f"{name}: {neurons.parameter} is not the kept part of what it was"
    return ""


@_property
def the_rest_is_untouched(subject: Subject, case: PruningCase) -> str:
    """Every parameter and buffer without neurons stays as it is, bit for bit."""
    plan = case.plan(subject)
    cut = {id(neurons.tensor) for block in find_blocks(subject.model) for neurons in block.slices}
    rest = {name: tensor.clone() for name, tensor in _tensors(subject.model) if id(tensor) not in cut}
    with pruned(subject.model, plan):
        after = dict(_tensors(subject.model))
        changed = next((name for name in rest if not _same(after[name], rest[name])), None)
    return f"{changed} changed" if changed else ""


@_property
def permuting_neurons_changes_nothing(subject: Subject, case: PruningCase) -> str:
    """The order of neurons is arbitrary: shuffled, the same neurons stay and the same answers come."""
    # Compared by scores, not by indices: neurons of equal score are ranked by index, and a shuffle exchanges them.
    plan = case.plan(subject)
    with pruned(subject.model, plan):
        expected = subject.answers()
    orders = {block.name: _shuffle(block, case.seed) for block in find_blocks(subject.model)}
    before = _kept_scores(subject, plan, case)
    with permuted(subject.model, orders):
        again = case.plan(subject)
        after = before if criterion(case.criterion).looks_at == "nothing" else _kept_scores(subject, again, case)
        with pruned(subject.model, _permuted_plan(plan, orders, again)):
            found = subject.answers()
    return _other_scores(before, after) or _apart(subject, found, expected)


@_property
def kept_sets_are_nested(subject: Subject, case: PruningCase) -> str:
    """What stays when more is cut also stays when less is cut; sizes follow the one rounding rule."""
    ranking = rank(subject.model, case.criterion, case.seed)
    ratios = sorted({case.ratio, "0", "0.25", "0.5", "0.75"}, key=float)
    plans = [ranking.plan(case.target(ranking.width_map, ratio)) for ratio in ratios]
    for more, less in pairwise(plans):
        for wide, narrow in zip(more.blocks, less.blocks, strict=True):
            if not set(narrow.kept) <= set(wide.kept):
                return f"{wide.name} keeps neurons at {less.target} that go at {more.target}"
    return ""


@_property
def steps_compose(subject: Subject, case: PruningCase) -> str:
    """Pruning in two steps keeps neurons of the same scores as one step to the same widths."""
    if criterion(case.criterion).looks_at == "nothing":
        return ""
    first = case.plan(subject)
    with pruned(subject.model, first):
        second = case.plan(subject)
    direct = rank(subject.model, case.criterion, case.seed)
    kept = {block.name: block.kept for block in first.blocks}
    together = {block.name: tuple(kept[block.name][i] for i in block.kept) for block in second.blocks}
    once = {name: direct.orders[name][: len(indices)].tolist() for name, indices in together.items()}
    scores = {block.name: _scores(block, case) for block in direct.width_map.blocks}
    return _other_scores(
        {name: scores[name][list(indices)].sort().values for name, indices in once.items()},
        {name: scores[name][list(indices)].sort().values for name, indices in together.items()},
    )


@_property
def ratio_zero_changes_nothing(subject: Subject, case: PruningCase) -> str:
    """Removing nothing is the identity: no bit and no answer changes."""
    dense = PruningCase(case.criterion, "0", seed=case.seed)
    before, expected = {name: tensor.clone() for name, tensor in _tensors(subject.model)}, subject.answers()
    with pruned(subject.model, dense.plan(subject)):
        found, after = subject.answers(), dict(_tensors(subject.model))
        changed = next((name for name in before if not _same(after[name], before[name])), None)
    return "" if changed is None and torch.equal(found, expected) else f"{changed or 'an answer'} changed"


@_property
def undoing_restores_every_bit(subject: Subject, case: PruningCase) -> str:
    """A cut that is undone, as when it fails half-way, leaves weights, attributes and configuration as they were."""
    before, state = {name: tensor.clone() for name, tensor in _tensors(subject.model)}, _attributes(subject.model)
    with pruned(subject.model, case.plan(subject)):
        pass
    changed = next((name for name, tensor in _tensors(subject.model) if not _same(tensor, before[name])), None)
    if changed is None and _attributes(subject.model) == state:
        return ""
    return f"{changed or 'an attribute or configuration entry'} is not as it was"


@_property
def ties_and_kinds_stay(subject: Subject, case: PruningCase) -> str:
    """Shared parameters stay shared; dtype, device and `requires_grad` of each stay."""
    before = [(names, _kind(tensor)) for names, tensor in _shared(subject.model)]
    with pruned(subject.model, case.plan(subject)):
        after = [(names, _kind(tensor)) for names, tensor in _shared(subject.model)]
    wrong = next((old for old, new in zip(before, after, strict=True) if old != new), None)
    return f"{' = '.join(wrong[0])} is no longer {wrong[1]}" if wrong else ""


@_property
def reloading_gives_the_same(subject: Subject, case: PruningCase) -> str:
    """Saved by transformers and loaded again, the pruned model has the same weights and gives the same answers.

    Uniform widths go through the class's own `from_pretrained`, others through `glu_prune.load`.
    """
    with pruned(subject.model, case.plan(subject)), tempfile.TemporaryDirectory() as folder:
        subject.model.save_pretrained(folder)
        options: dict[str, Any] = {"dtype": subject.model.dtype}
        # As in `Subject.of`: grouped kernels refuse most of the widths that are drawn here.
        if getattr(subject.model.config.get_text_config(), "_experts_implementation", None) is not None:
            options["experts_implementation"] = "eager"
        if hasattr(subject.model.config, WIDTHS):
            again = load(Path(folder), **options)
        else:
            again = type(subject.model).from_pretrained(folder, **options).eval()
        again = again.to(subject.model.device)
        expected = subject.model.state_dict()
        changed = [name for name, tensor in again.state_dict().items() if not _same(tensor, expected.get(name))]
        found = Subject(again, subject.inputs).answers()
        answers = subject.answers()
    return f"{changed[0]} is not as it was saved" if changed else _apart(subject, found, answers)


@contextmanager
def silenced(model: nn.Module, plan: PruningPlan) -> Iterator[None]:
    """`model` with the neurons that `plan` does not keep made silent, at full width; then as it was.

    Their columns of down become zero, because down is the only way out of a neuron. Where a block looks at all neurons
    of a token at once (a norm, a threshold), silent ones would count, too: such methods are given the kept ones alone.
    """
    kept = {block.name: torch.tensor(block.kept) for block in plan.blocks}
    with ExitStack() as stack:
        for block in find_blocks(model):
            down = block.down.view(block.down.tensor.detach())
            gone = torch.ones(block.width, dtype=torch.bool)
            gone[kept[block.name]] = False
            indices = gone.nonzero().flatten().to(down.device)
            saved = down.index_select(block.down.dim, indices)
            stack.callback(down.index_copy_, block.down.dim, indices, saved)
            down.index_fill_(block.down.dim, indices, 0)
            for module, method in block.cross_neuron_methods:
                setattr(module, method, partial(_on_kept, module, method, kept[block.name]))
                stack.callback(delattr, module, method)
        yield


def _on_kept(module: nn.Module, method: str, kept: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """A method of `module` on the kept neurons of `values` `(..., width)`; zero for the others."""
    kept = kept.to(values.device)
    small = copy.copy(module)
    small._parameters = {
        name: nn.Parameter(tensor[kept]) for name, tensor in module._parameters.items() if tensor is not None
    }
    result = torch.zeros_like(values)
    result[..., kept] = getattr(type(module), method)(small, values[..., kept])
    return result


@contextmanager
def permuted(model: nn.Module, orders: Mapping[str, torch.Tensor]) -> Iterator[None]:
    """`model` with the neurons of every block in another order (position to old index); then as it was."""
    before: dict[int, tuple[nn.Parameter, torch.Tensor]] = {}
    try:
        for block in find_blocks(model):
            for neurons in block.slices:
                parameter = neurons.tensor
                if id(parameter) not in before:
                    before[id(parameter)] = (parameter, parameter.data)
                    parameter.data = parameter.data.clone()
                old = before[id(parameter)][1]
                neurons.view(parameter.data).copy_(
                    neurons.view(old).index_select(neurons.dim, orders[block.name].to(old.device))
                )
        yield
    finally:
        for parameter, data in before.values():
            parameter.data = data


def _permuted_plan(plan: PruningPlan, orders: Mapping[str, torch.Tensor], like: PruningPlan) -> PruningPlan:
    """`plan` for the model whose neurons are in another order; `like` is any plan of that model."""
    blocks = []
    for block, other in zip(plan.blocks, like.blocks, strict=True):
        place = orders[block.name].argsort()[torch.tensor(block.kept)]
        blocks.append(type(block)(block.name, block.width, tuple(place.sort().values.tolist()), other.checksum))
    return PruningPlan(plan.criterion, plan.target, plan.seed, tuple(blocks))


def _shuffle(block: GluBlock, seed: int) -> torch.Tensor:
    return torch.randperm(block.width, generator=torch.Generator().manual_seed(block_seed(seed, block.name)))


def _scores(block: GluBlock, case: PruningCase) -> torch.Tensor:
    return criterion(case.criterion).score(Neurons(block.weights, block_seed(case.seed, block.name))).cpu()


def _kept_scores(subject: Subject, plan: PruningPlan, case: PruningCase) -> dict[str, torch.Tensor]:
    kept = {block.name: list(block.kept) for block in plan.blocks}
    return {b.name: _scores(b, case)[kept[b.name]].sort().values for b in find_blocks(subject.model)}


def _other_scores(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> str:
    """The first block in which two selections of neurons have other scores, if there is one."""
    names = (name for name, scores in one.items() if not torch.allclose(scores, other[name], rtol=1e-5, atol=1e-9))
    wrong = next(names, None)
    return f"{wrong}: the neurons that stay have other scores" if wrong else ""


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _same(one: torch.Tensor, other: torch.Tensor | None) -> bool:
    """Whether two tensors have the same bits (NaN equals itself)."""
    if other is None or one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or bool(((one == other) | (one.isnan() & other.isnan())).all())


def _kind(tensor: torch.Tensor) -> tuple[torch.dtype, torch.device, bool]:
    return tensor.dtype, tensor.device, tensor.requires_grad


def _shared(model: nn.Module) -> list[tuple[list[str], torch.Tensor]]:
    """Every parameter with all the names it goes by."""
    names: dict[int, tuple[list[str], torch.Tensor]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), ([], parameter))[0].append(name)
    return list(names.values())


def _attributes(model: Any) -> dict[str, object]:
    """Every integer attribute of every module, and the configuration."""
    found: dict[str, object] = {
        f"{name}.{attribute}": value
        for name, module in model.named_modules()
        for attribute, value in vars(module).items()
        if isinstance(value, int)
    }
    return {**found, "config": model.config.to_dict()}
