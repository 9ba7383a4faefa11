"""Models whose weights stay on disk: known from the configuration, read one block at a time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from glu_prune.errors import CheckpointError, shown
from glu_prune.pruning.checkpoint import model_class, read_config, refuse_contradiction
from glu_prune.pruning.glu_block import GluWeights
from glu_prune.pruning.shards import Shards, open_shards
from glu_prune.pruning.surgery import narrowed_meta_model
from glu_prune.pruning.tracing import NeuronTrace, StoredSlice, trace_neurons
from glu_prune.pruning.width_map import WidthMap, map_widths

Progress = Callable[[int, int], None]
"""Called with (bytes read since the last call, bytes to read in all)."""


def no_progress(read: int, total: int) -> None:
    """Shows nothing."""


@dataclass(frozen=True)
class DiskModel:
    """A folder with a model whose weights stay on disk."""

    folder: Path
    config: Any
    model: Any
    """On the meta device."""
    width_map: WidthMap

    @property
    def parameters(self) -> int:
        """How many parameters the model has; tied ones once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights, as the configuration says; float32 where it does not.

        Raises:
            CheckpointError: it says something that is none.
        """
        said = getattr(self.config, "dtype", None) or torch.float32
        found = said if isinstance(said, torch.dtype) else getattr(torch, str(said), None)
        if not isinstance(found, torch.dtype):
            msg = f"{self.folder} has no usable configuration: dtype {shown(said)} is not known to torch"
            raise CheckpointError(msg)
        return found

    @cached_property
    def traced(self) -> tuple[Shards, NeuronTrace]:
        """The files with the weights, and where neurons are in them.

        Raises:
            CheckpointError: weights are missing, truncated, or stored under names that cannot be followed.
        """
        shards = open_shards(self.folder)
        traced = trace_neurons(self.model, self.width_map)
        absent = next((key for key in traced.labels if key not in shards.weight_map), None)
        if absent is not None:
            msg = (
                f"{self.folder} holds no tensor {absent}, under which transformers saves this model; load it with "
                "transformers, save it with save_pretrained, and prune that"
            )
            raise CheckpointError(msg)
        return shards, traced


def open_disk_model(folder: Path) -> DiskModel:
    """The model in `folder`, from its configuration, and from the names and shapes of its weights if they are there.

    Raises:
        CheckpointError: the folder has no usable configuration, its weights are quantised, or the two contradict.
        UnsupportedModelError: the model has no GLU block, or cannot be pruned.
    """
    config = read_config(folder)
    if getattr(config, "quantization_config", None) is not None:
        msg = f"{folder} holds quantised weights; prune the weights they were made from, then quantise"
        raise CheckpointError(msg)
    model = narrowed_meta_model(model_class(config), config)
    refuse_contradiction(folder)
    return DiskModel(folder, config, model, map_widths(model))


def read_blocks(disk_model: DiskModel, progress: Progress = no_progress) -> Iterator[tuple[str, GluWeights]]:
    """The name and the weights of every block, read from disk, one after the other.

    Raises:
        CheckpointError: as `rank_on_disk`.
    """
    shards, traced = disk_model.traced
    total = sum(3 * block.width * block.hidden for block in disk_model.width_map.blocks)
    tensors: dict[str, torch.Tensor] = {}
    for block in disk_model.width_map.blocks:
        slices = [traced.stored[block.name, part] for part in ("gate", "up", "down")]
        wanted = {stored.key for stored in slices}
        tensors = {key: tensor for key, tensor in tensors.items() if key in wanted}
        tensors |= {key: shards.read(key) for key in wanted if key not in tensors}
        gate, up, down = (_neuron_rows(tensors[stored.key], stored) for stored in slices)
        yield block.name, GluWeights(gate, up, down.t())
        progress(gate.nbytes + up.nbytes + down.nbytes, total * gate.element_size())
        del gate, up, down


def _neuron_rows(tensor: torch.Tensor, stored: StoredSlice) -> torch.Tensor:
    """The neurons of a slice of a checkpoint tensor, `(width, hidden)`."""
    one = tensor if stored.expert is None else tensor[stored.expert]
    rows = one if stored.dim == 0 else one.t()
    # Nearly always evenly spaced: a view then costs nothing, where indexing would copy the matrix.
    first = int(stored.positions[0])
    step = int(stored.positions[1]) - first if len(stored.positions) > 1 else 1
    if torch.equal(stored.positions, first + step * torch.arange(len(stored.positions))):
        return rows[first::step][: len(stored.positions)]
    return rows[stored.positions]
