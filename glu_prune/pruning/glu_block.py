"""What a GLU block is: three matrices, and which elements of which parameters belong to each of its neurons."""

import re
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from glu_prune.errors import UnsupportedModelError


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
