"""Where neurons lie in the tensors of a checkpoint, which may be named and shaped unlike the model's parameters.

Transformers itself knows how parameters become the tensors that it saves (experts one by one, transposed, renamed). So
parameters whose entries are labels, one per neuron, are sent through that conversion: the place at which a label comes
out is the place of its neuron. Dimensions without neurons have size one, so labels take little memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from glu_prune.errors import CheckpointError
from glu_prune.pruning.glu_block import GluBlock, NeuronSlice
from glu_prune.pruning.width_map import WidthMap

_LABELS_PER_SLICE = 1 << 32
"""Label = slice number * _LABELS_PER_SLICE + neuron."""
_PADDING = -1


@dataclass(frozen=True)
class StoredSlice:
    """The neurons of one slice within one checkpoint tensor."""

    key: str
    expert: int | None
    """Index along dimension 0 of the tensor, where experts are stacked in it."""
    dim: int
    """The dimension of the (expert's) tensor along which the neurons lie."""
    positions: torch.Tensor
    """Where neuron 0, 1, ... is along `dim`."""


@dataclass(frozen=True)
class TensorCut:
    """How one checkpoint tensor is made narrower: output position to input position along one dimension."""

    dim: int
    sources: torch.Tensor
    """`(experts, positions)` if experts are stacked in the tensor, else `(positions,)`; -1 for a zero."""

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the result for a tensor of `shape`."""
        return (*shape[: self.dim], self.sources.shape[-1], *shape[self.dim + 1 :])

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """The narrower tensor, with zeros where it is padded."""
        if self.sources.dim() > 1:
            one = TensorCut(self.dim - 1, self.sources[0])
            result = tensor.new_empty(self.shape(tuple(tensor.shape)))
            for expert, sources in enumerate(self.sources):
                result[expert] = TensorCut(one.dim, sources)(tensor[expert])
            return result
        # Padding has no source; position 0 stands in for it, and zeros are written over it afterwards.
        absent = self.sources < 0
        result = tensor.index_select(self.dim, self.sources.clamp(min=0))
        return result.index_fill_(self.dim, absent.nonzero().flatten(), 0) if bool(absent.any()) else result


@dataclass(frozen=True)
class NeuronTrace:
    """The checkpoint tensors that hold neurons of a model."""

    width_map: WidthMap
    model: nn.Module
    stored: Mapping[tuple[str, str], StoredSlice]
    """(block name, `gate`, `up` or `down`) -> where those neurons are."""
    labels: Mapping[str, torch.Tensor]

    def cuts(self, kept: Mapping[str, torch.Tensor], widths: Mapping[str, int]) -> dict[str, TensorCut]:
        """Checkpoint tensor to its cut, so that blocks keep the neurons in `kept`, padded with zeros to `widths`."""
        cuts = {}
        for key, wanted in _labels(self.model, self.width_map, kept, widths).items():
            old = self.labels[key]
            if old.shape == wanted.shape and torch.equal(old, wanted):
                continue
            dim = _neuron_dim(key, old)
            rows, columns = (_flat(labels, dim) for labels in (old, wanted))
            sources = torch.stack([_find(row, column) for row, column in zip(rows, columns, strict=True)])
            cuts[key] = TensorCut(dim, sources if len(rows) > 1 else sources[0])
        return cuts


def trace_neurons(model: nn.Module, width_map: WidthMap) -> NeuronTrace:
    """Finds the checkpoint tensors of the blocks of `model`, which may be on the meta device.

    Raises:
        CheckpointError: transformers stores the neurons in a way that cannot be followed.
    """
    # All neurons kept and nothing padded: the labels of the model as it is, with which each cut is compared.
    kept = {block.name: torch.arange(block.width) for block in width_map.blocks}
    labels = _labels(model, width_map, kept, {block.name: block.width for block in width_map.blocks})
    found = {}
    for key, tensor in labels.items():
        dim = _neuron_dim(key, tensor)
        rows = _flat(tensor, dim)
        for expert, row in enumerate(rows):
            for number in (row[row >= 0] // _LABELS_PER_SLICE).unique().tolist():
                mine = ((row // _LABELS_PER_SLICE) == number).nonzero().flatten()
                positions = mine[(row[mine] % _LABELS_PER_SLICE).argsort()]
                stacked = len(rows) > 1
                piece = StoredSlice(key, expert if stacked else None, dim - stacked, positions)
                found[number] = piece
    stored = {
        (block.name, part): found[number]
        for number, (block, _, part) in enumerate(_numbered_slices(width_map))
        if part in ("gate", "up", "down")
    }
    return NeuronTrace(width_map, model, stored, labels)


def _numbered_slices(width_map: WidthMap) -> Iterator[tuple[GluBlock, NeuronSlice, str]]:
    """Every slice of every block, with its part: `gate`, `up`, `down`, or nothing for the others."""
    for block in width_map.blocks:
        for neurons, part in zip(block.slices, ("gate", "up", "down", *[""] * len(block.other_slices)), strict=True):
            yield block, neurons, part


def _labels(
    model: nn.Module, width_map: WidthMap, kept: Mapping[str, torch.Tensor], widths: Mapping[str, int]
) -> dict[str, torch.Tensor]:
    """Checkpoint tensor to labels, for blocks that keep the neurons in `kept` and are padded to `widths`."""
    # The private conversion of transformers is the only place that knows how it saves a model; tests compare what is
    # written with `save_pretrained`.
    from transformers.core_model_loading import revert_weight_conversion

    names = {id(parameter): name for name, parameter in model.named_parameters()}
    state: dict[str, torch.Tensor] = {}
    for number, (block, neurons, _) in enumerate(_numbered_slices(width_map)):
        parameter, width = neurons.tensor, widths[block.name]
        shape = [1] * parameter.dim()
        shape[neurons.axis] = width * neurons.segments
        if neurons.expert is not None:
            shape[0] = parameter.shape[0]
        labels = state.setdefault(names[id(parameter)], torch.full(shape, _PADDING))
        chosen = kept[block.name]
        view = neurons.view(labels)
        view.narrow(neurons.dim, 0, len(chosen)).copy_(
            (chosen + number * _LABELS_PER_SLICE).view([-1 if i == neurons.dim else 1 for i in range(view.dim())])
        )
    try:
        converted: dict[str, torch.Tensor] = revert_weight_conversion(model, state)
    except (RuntimeError, ValueError, KeyError, IndexError, TypeError) as error:
        msg = f"the way {type(model).__name__} is saved cannot be followed: {str(error).splitlines()[0]}"
        raise CheckpointError(msg) from error
    return converted


def _neuron_dim(key: str, labels: torch.Tensor) -> int:
    """The last dimension along which labels lie; all but it and a leading one for experts must have size one."""
    long = [dim for dim, size in enumerate(labels.shape) if size > 1]
    if len(long) > 1 and (len(long) > 2 or long[0] != 0):
        msg = f"{key}: neurons lie along dimensions {long} of this tensor, which no rule covers"
        raise CheckpointError(msg)
    return long[-1] if long else 0


def _flat(labels: torch.Tensor, dim: int) -> torch.Tensor:
    """Labels as `(experts, positions)`, one row if experts are not stacked."""
    return labels.reshape(labels.shape[0] if dim > 0 and labels.shape[0] > 1 else 1, labels.shape[dim])


def _find(old: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The position in `old` of each label in `wanted`, -1 for padding."""
    order = old.argsort()
    places = order[torch.searchsorted(old[order], wanted).clamp(max=len(old) - 1)]
    return torch.where(wanted < 0, torch.full_like(places, -1), places)
