"""The one seam to model attribute paths: finds GLU blocks and says which parameters hold their neurons."""

from dataclasses import dataclass
from typing import Protocol

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
class NeuronAxis:
    """One parameter with one entry per neuron along `dim`, and the attribute of its module that mirrors the width."""

    module: nn.Module
    parameter: str
    dim: int
    mirror: str | None = None


class Layout(Protocol):
    """How one family of models stores a GLU block."""

    def matches(self, module: nn.Module) -> bool:
        """Whether `module` is a GLU block in this layout."""
        ...

    def weights(self, module: nn.Module) -> GluWeights:
        """The matrices of the block, as views where possible."""
        ...

    def axes(self, module: nn.Module) -> tuple[NeuronAxis, ...]:
        """Every parameter that must be cut when neurons go."""
        ...


class SplitProjections:
    """Separate `gate_proj`, `up_proj`, `down_proj` linear layers: Llama and the many families that follow it."""

    _NAMES = ("gate_proj", "up_proj", "down_proj")

    def matches(self, module: nn.Module) -> bool:
        """Whether the three projections are there, as linear layers."""
        return all(isinstance(getattr(module, name, None), nn.Linear) for name in self._NAMES)

    def weights(self, module: nn.Module) -> GluWeights:
        """The weights of the three projections."""
        gate, up, down = (module.get_submodule(name).get_parameter("weight") for name in self._NAMES)
        return GluWeights(gate.detach(), up.detach(), down.detach())

    def axes(self, module: nn.Module) -> tuple[NeuronAxis, ...]:
        """Rows (and biases) of gate and up, columns of down; the bias of down belongs to the hidden size."""
        found = []
        for name in ("gate_proj", "up_proj"):
            linear = module.get_submodule(name)
            found.append(NeuronAxis(linear, "weight", 0, mirror="out_features"))
            if linear.bias is not None:
                found.append(NeuronAxis(linear, "bias", 0))
        found.append(NeuronAxis(module.get_submodule("down_proj"), "weight", 1, mirror="in_features"))
        return tuple(found)


LAYOUTS: tuple[Layout, ...] = (SplitProjections(),)


@dataclass(frozen=True)
class GluBlock:
    """The GLU block of one layer."""

    name: str
    """Where it is in the model, such as `model.layers.0.mlp`."""
    module: nn.Module
    layout: Layout

    @property
    def weights(self) -> GluWeights:
        """Its matrices."""
        return self.layout.weights(self.module)

    @property
    def axes(self) -> tuple[NeuronAxis, ...]:
        """Every parameter with one entry per neuron."""
        return self.layout.axes(self.module)

    @property
    def width(self) -> int:
        """The number of neurons."""
        return int(self.weights.gate.shape[0])

    def check(self) -> None:
        """Raises `UnsupportedModelError` unless all parameters agree on one width."""
        gate, up, down = self.weights.gate, self.weights.up, self.weights.down
        if gate.shape != up.shape or down.shape != (gate.shape[1], gate.shape[0]):
            msg = (
                f"{self.name}: gate {tuple(gate.shape)}, up {tuple(up.shape)} and down {tuple(down.shape)} are not "
                "(width, hidden), (width, hidden), (hidden, width)"
            )
            raise UnsupportedModelError(msg)


def find_blocks(model: nn.Module) -> tuple[GluBlock, ...]:
    """All GLU blocks of `model`, in order, each checked.

    Raises:
        UnsupportedModelError: there is none, or one contradicts itself; nothing has been changed.
    """
    blocks = tuple(
        GluBlock(name, module, layout)
        for name, module in model.named_modules()
        for layout in LAYOUTS
        if layout.matches(module)
    )
    if not blocks:
        candidates = {
            f"{type(module).__name__}({', '.join(name for name, _ in module.named_children())})"
            for name, module in model.named_modules()
            if name.rsplit(".", 1)[-1].lower() in ("mlp", "ffn", "feed_forward", "fc", "dense_relu_dense")
        }
        msg = (
            f"{type(model).__name__} has no GLU block with gate_proj, up_proj and down_proj; "
            f"its feed-forward modules are: {', '.join(sorted(candidates)) or 'none'}. Only gated MLPs can be pruned"
        )
        raise UnsupportedModelError(msg)
    for block in blocks:
        block.check()
    return blocks
