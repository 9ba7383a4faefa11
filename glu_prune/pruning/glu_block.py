"""GLU blocks: three matrices, and which elements of which parameters belong to each neuron."""

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
class NeuronSlice:
    """Where one entry per neuron of a block lies within one parameter.

    Of the parameter, or of its slice `[expert]` where experts are stacked, dimension `dim` is made of `segments` parts
    of `width` entries each, one after the other or interleaved; this slice is part `segment` of them.
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
        """This slice of `tensor`, which is laid out like the whole parameter, of any width."""
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
    """How it is stored, for people: `gate_proj, up_proj, down_proj`."""
    gate: NeuronSlice
    up: NeuronSlice
    down: NeuronSlice
    other_slices: tuple[NeuronSlice, ...] = ()
    """Biases and whatever else has one entry per neuron."""
    cross_neuron_methods: tuple[tuple[nn.Module, str], ...] = ()
    """Methods of modules that look at all neurons of a token at once, such as a norm over them: for such blocks, a
    neuron that is gone is not the same as one that is silent."""

    @property
    def slices(self) -> tuple[NeuronSlice, ...]:
        """All slices that are cut when neurons are removed."""
        return (self.gate, self.up, self.down, *self.other_slices)

    @property
    def weights(self) -> GluWeights:
        """Its matrices, as views of the parameters."""
        gate, up, down = (neurons.view(neurons.tensor.detach()) for neurons in (self.gate, self.up, self.down))
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
    def per_neuron(self) -> int:
        """Parameters that go with each neuron."""
        return sum(
            each.tensor.numel() // each.tensor.shape[each.axis] // (1 if each.expert is None else each.tensor.shape[0])
            for each in self.slices
        )

    @property
    def hidden(self) -> int:
        """The size of the block's input."""
        return int(self.weights.gate.shape[1])

    @cached_property
    def layer(self) -> int | None:
        """The number of its layer: the first number in its name; None if there is none."""
        found = re.search(r"(?:^|\.)(\d+)(?:\.|$)", self.name)
        return int(found.group(1)) if found else None

    @property
    def grouped(self) -> bool:
        """Whether it is an expert that transformers, unless told otherwise, multiplies by a grouped kernel."""
        # Its decorator `use_experts_implementation` sets this attribute; experts without it are multiplied one by one.
        return self.down.expert is not None and hasattr(self.down.module, "has_gate")

    def check(self) -> None:
        """Raises `UnsupportedModelError` unless all its parts agree on one width and hold floating-point numbers."""
        gate, up, down = self.weights.gate, self.weights.up, self.weights.down
        if not gate.shape == up.shape == down.t().shape:
            msg = (
                f"{self.name}: gate {tuple(gate.shape)}, up {tuple(up.shape)} and down {tuple(down.shape)} are not "
                "(width, hidden), (width, hidden), (hidden, width)"
            )
            raise UnsupportedModelError(msg)
        if 0 in gate.shape:
            msg = f"{self.name}: gate {tuple(gate.shape)} has no neuron; a block has at least one"
            raise UnsupportedModelError(msg)
        for neurons in self.slices:
            if neurons.width != self.width:
                msg = (
                    f"{self.name}: {neurons.parameter} has {neurons.width} entries per neuron, for {self.width} neurons"
                )
                raise UnsupportedModelError(msg)
            if not neurons.tensor.is_floating_point():
                kind = neurons.tensor.dtype
                msg = f"{self.name}: {neurons.parameter} is {kind}; prune the weights before quantising them"
                raise UnsupportedModelError(msg)
