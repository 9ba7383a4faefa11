"""The one seam to models: finds GLU blocks, and says which elements of which parameters belong to each neuron."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import nn

from glu_prune.errors import UnsupportedModelError

_TOWER = re.compile(r"vision|visual|image|audio|speech|codec|depth_decoder")
"""Modules that are not the language model; their GLU blocks are left alone."""
_FEED_FORWARD = re.compile(r"(mlp|ffn?|feed_?forward|fc|experts?|dense_?relu_?dense)$")
_MANY = 6


@dataclass(frozen=True)
class GluWeights:
    """The three matrices of a GLU block; neuron i is row i of gate and up, and column i of down."""

    gate: torch.Tensor
    """`(width, hidden)`"""
    up: torch.Tensor
    """`(width, hidden)`"""
    down: torch.Tensor
    """`(hidden, width)`"""


@dataclass(frozen=True)
class Slot:
    """Where one entry per neuron of a block lies within one parameter.

    Of the parameter, or of its slice `[expert]` where experts are stacked, dimension `dim` is made of `segments` parts
    of `width` entries each, one after the other or interleaved; this slot is part `segment` of them.
    """

    module: nn.Module
    parameter: str
    dim: int
    expert: int | None = None
    segment: int = 0
    segments: int = 1
    interleaved: bool = False

    @property
    def tensor(self) -> nn.Parameter:
        """The whole parameter."""
        return self.module.get_parameter(self.parameter)

    @property
    def axis(self) -> int:
        """The dimension of the whole parameter along which neurons lie."""
        return self.dim if self.expert is None else self.dim + 1

    @property
    def width(self) -> int:
        """The number of neurons."""
        return self.tensor.shape[self.axis] // self.segments

    def view(self, tensor: torch.Tensor) -> torch.Tensor:
        """The part of `tensor`, laid out like the whole parameter of any width, that this slot is about."""
        part = tensor if self.expert is None else tensor[self.expert]
        width = part.shape[self.dim] // self.segments
        if not self.interleaved:
            return part.narrow(self.dim, self.segment * width, width)
        whole = [slice(None)] * self.dim
        return part[(*whole, slice(self.segment, None, self.segments))]


@dataclass(frozen=True)
class GluBlock:
    """One set of neurons: the GLU of a layer, or one expert of it."""

    name: str
    """Where it is in the model, such as `model.layers.0.mlp`, or `model.layers.0.mlp.experts.3`."""
    owner: str
    """The module that holds its parameters; all blocks of one owner must have one width."""
    layout: str
    """How it is stored, in words: `gate_proj, up_proj, down_proj`."""
    gate: Slot
    up: Slot
    down: Slot
    others: tuple[Slot, ...] = ()
    """Biases and whatever else has one entry per neuron."""
    joined: tuple[tuple[nn.Module, str], ...] = ()
    """Methods of modules that look at all neurons of a token at once, such as a norm over them: for such blocks, a
    neuron that is gone is not the same as one that is silent."""

    @property
    def slots(self) -> tuple[Slot, ...]:
        """Everything that must be cut when neurons go."""
        return (self.gate, self.up, self.down, *self.others)

    @property
    def weights(self) -> GluWeights:
        """Its matrices, as views of the parameters."""
        gate, up, down = (slot.view(slot.tensor.detach()) for slot in (self.gate, self.up, self.down))
        return GluWeights(
            gate if self.gate.dim == 0 else gate.t(),
            up if self.up.dim == 0 else up.t(),
            down if self.down.dim == 1 else down.t(),
        )

    @property
    def width(self) -> int:
        """The number of neurons."""
        return self.gate.width

    @property
    def hidden(self) -> int:
        """The size of the block's input."""
        return int(self.weights.gate.shape[1])

    @cached_property
    def layer(self) -> int | None:
        """The number of its layer: the first number in its name; None if there is none."""
        found = re.search(r"(?:^|\.)(\d+)(?:\.|$)", self.name)
        return int(found.group(1)) if found else None

    def check(self) -> None:
        """Raises `UnsupportedModelError` unless all its parts agree on one width and hold floating-point numbers."""
        gate, up, down = self.weights.gate, self.weights.up, self.weights.down
        if not gate.shape == up.shape == down.t().shape:
            msg = (
                f"{self.name}: gate {tuple(gate.shape)}, up {tuple(up.shape)} and down {tuple(down.shape)} are not "
                "(width, hidden), (width, hidden), (hidden, width)"
            )
            raise UnsupportedModelError(msg)
        for slot in self.slots:
            if slot.width != self.width:
                msg = f"{self.name}: {slot.parameter} has {slot.width} entries per neuron, for {self.width} neurons"
                raise UnsupportedModelError(msg)
            if not slot.tensor.is_floating_point():
                msg = f"{self.name}: {slot.parameter} is {slot.tensor.dtype}; prune the weights before quantising them"
                raise UnsupportedModelError(msg)


def find_blocks(model: nn.Module) -> tuple[GluBlock, ...]:
    """All GLU blocks of the language model in `model`, in order, each checked; shared ones once.

    Blocks of vision and audio towers are left out.

    Raises:
        UnsupportedModelError: there is none, or one contradicts itself; nothing has been changed.
    """
    blocks = tuple(_distinct(_all_blocks(model)))
    if not blocks:
        msg = (
            f"{type(model).__name__} has no GLU block in a known layout; its feed-forward modules are: "
            f"{_candidates(model) or 'none'}. Only gated MLPs can be pruned; `glu-prune families` lists what is known"
        )
        raise UnsupportedModelError(msg)
    return blocks


def _all_blocks(model: nn.Module) -> Iterator[GluBlock]:
    from glu_prune.pruning.layouts import LAYOUTS

    for name, module in model.named_modules():
        if not _TOWER.search(name):
            for layout in LAYOUTS:
                yield from layout(name, module)


def _distinct(blocks: Iterable[GluBlock]) -> Iterator[GluBlock]:
    """The blocks, checked; those that share their matrices (tied layers) as one."""
    found: dict[tuple[tuple[int, int | None, int], ...], GluBlock] = {}
    owners: dict[tuple[int, int | None, int], object] = {}
    for block in blocks:
        block.check()
        matrices = tuple((id(s.tensor), s.expert, s.segment) for s in block.slots[:3])
        if {owners.setdefault(matrix, matrices) for matrix in matrices} != {matrices}:
            msg = f"{block.name}: it shares some of its matrices with another block, but not all; such ties are unknown"
            raise UnsupportedModelError(msg)
        first = found.setdefault(matrices, block)
        parts = {id(slot.tensor) for slot in first.slots}
        more = tuple(slot for slot in block.others if id(slot.tensor) not in parts)
        if first is not block and more:
            found[matrices] = replace(first, others=(*first.others, *more))
    yield from found.values()


def by_owner(blocks: Iterable[GluBlock]) -> dict[str, list[GluBlock]]:
    """Blocks by the module that holds their parameters, in order."""
    owners = defaultdict(list)
    for block in blocks:
        owners[block.owner].append(block)
    return dict(owners)


def _candidates(model: nn.Module) -> str:
    found = Counter(
        f"{type(module).__name__}({', '.join(child for child, _ in module.named_children())})"
        for name, module in model.named_modules()
        if _FEED_FORWARD.search(name.lower()) and any(True for _ in module.parameters())
    )
    return ", ".join(f"{shape} x{count}" for shape, count in found.most_common(_MANY))
