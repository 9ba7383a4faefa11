"""Pruning from disk to disk: one block in memory to rank it, one tensor in memory to write it."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from glu_prune.errors import CheckpointError, shown
from glu_prune.pruning.card import model_card
from glu_prune.pruning.checkpoint import PLAN_FILE, model_class, new_folder, read_config
from glu_prune.pruning.checksums import CHECKSUMS, checksum
from glu_prune.pruning.criteria import criterion
from glu_prune.pruning.glu_block import GluWeights
from glu_prune.pruning.plan import PruningPlan, Ranking, rank_block
from glu_prune.pruning.shards import INDEX, Shards, open_shards, rewrite, write_text
from glu_prune.pruning.surgery import blank
from glu_prune.pruning.tracing import Piece, Trace, trace
from glu_prune.pruning.width_map import WIDTHS, WidthMap, configure, examine

Progress = Callable[[int, int], None]
"""Called with (bytes read since the last call, bytes to read in all)."""
_OURS = {"config.json", "README.md", PLAN_FILE, CHECKSUMS, INDEX}
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx"}


def _silent(read: int, total: int) -> None:
    """No progress."""


@dataclass(frozen=True)
class Checkpoint:
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
    def traced(self) -> tuple[Shards, Trace]:
        """The files with the weights, and where neurons are in them.

        Raises:
            CheckpointError: weights are missing, truncated, or stored under names that cannot be followed.
        """
        shards = open_shards(self.folder)
        traced = trace(self.model, self.width_map)
        absent = next((key for key in traced.labels if key not in shards.weight_map), None)
        if absent is not None:
            msg = (
                f"{self.folder} holds no tensor {absent}, under which transformers saves this model; load it with "
                "transformers, save it with save_pretrained, and prune that"
            )
            raise CheckpointError(msg)
        return shards, traced


def open_checkpoint(folder: Path) -> Checkpoint:
    """The model in `folder`, from its configuration alone.

    Raises:
        CheckpointError: the folder has no usable configuration, or its weights are quantised.
        UnsupportedModelError: the model has no GLU block, or cannot be pruned.
    """
    config = read_config(folder)
    if getattr(config, "quantization_config", None) is not None:
        msg = f"{folder} holds quantised weights; prune the weights they were made from, then quantise"
        raise CheckpointError(msg)
    model = blank(model_class(config), config)
    return Checkpoint(folder, config, model, examine(model))


def rank_checkpoint(
    checkpoint: Checkpoint,
    criterion_name: str = "ppm",
    seed: int = 0,
    activations: Mapping[str, torch.Tensor] | None = None,
    progress: Progress = _silent,
) -> Ranking:
    """Ranks the neurons of a checkpoint, with one block in memory at a time; otherwise as `rank`.

    Raises:
        CheckpointError: weights are missing, truncated, or stored under names that cannot be followed.
        PlanError: as `rank`.
    """
    how = criterion(criterion_name)
    orders, marks = {}, {}
    for name, weights in blocks(checkpoint, progress):
        norms = activations.get(name) if activations else None
        orders[name], marks[name] = rank_block(name, weights, how, seed, norms)
        del weights  # before the next block is read
    return Ranking(how.name, seed, checkpoint.width_map, orders, marks)


def verify_plan(checkpoint: Checkpoint, plan: PruningPlan, progress: Progress = _silent) -> None:
    """Raises `PlanError` unless `plan` was made for the weights of this checkpoint; reads all its blocks.

    Raises:
        CheckpointError: as `rank_checkpoint`.
        PlanError: the plan was made for other blocks or other weights.
    """
    plan.check(checkpoint.width_map)
    for name, weights in blocks(checkpoint, progress):
        plan.check_weights(name, weights)
        del weights  # before the next block is read


def blocks(checkpoint: Checkpoint, progress: Progress = _silent) -> Iterator[tuple[str, GluWeights]]:
    """The name and the weights of every block, read from disk, one after the other.

    Raises:
        CheckpointError: as `rank_checkpoint`.
    """
    shards, traced = checkpoint.traced
    total = sum(3 * block.width * block.hidden for block in checkpoint.width_map.blocks)
    tensors: dict[str, torch.Tensor] = {}
    for block in checkpoint.width_map.blocks:
        pieces = [traced.pieces[block.name, part] for part in ("gate", "up", "down")]
        wanted = {piece.key for piece in pieces}
        tensors = {key: tensor for key, tensor in tensors.items() if key in wanted}
        tensors |= {key: shards.read(key) for key in wanted if key not in tensors}
        gate, up, down = (_part(tensors[piece.key], piece) for piece in pieces)
        yield block.name, GluWeights(gate, up, down.t())
        progress(gate.nbytes + up.nbytes + down.nbytes, total * gate.element_size())
        del gate, up, down


def _part(tensor: torch.Tensor, piece: Piece) -> torch.Tensor:
    """The neurons of one slot, `(width, hidden)`."""
    one = tensor if piece.expert is None else tensor[piece.expert]
    rows = one if piece.dim == 0 else one.t()
    first = int(piece.positions[0])
    step = int(piece.positions[1]) - first if len(piece.positions) > 1 else 1
    if torch.equal(piece.positions, first + step * torch.arange(len(piece.positions))):
        return rows[first::step][: len(piece.positions)]
    return rows[piece.positions]


def write_pruned(
    checkpoint: Checkpoint,
    plan: PruningPlan,
    out: Path,
    *,
    pad_to_uniform: bool = False,
    name: str = "",
    progress: Progress = _silent,
) -> None:
    """Writes the model without the neurons that `plan` does not keep to the new folder `out`.

    Tensors go to files of the same names as they came from; what else is in the folder is copied; the plan and a model
    card are added. With `pad_to_uniform`, neurons of zeros fill up the blocks that one configuration entry governs to
    the widest of them, so that the stock loader reads them. The folder appears complete, or not at all. Memory holds
    one file, mapped, and one tensor.

    Raises:
        CheckpointError: `out` exists or cannot be written, or the checkpoint cannot be read.
        PlanError: the plan was made for other blocks or, where its fingerprints can be compared, other weights.
    """
    plan.check(checkpoint.width_map)
    widths = _padded(checkpoint.width_map, plan.widths) if pad_to_uniform else plan.widths
    shards, traced = checkpoint.traced
    cuts = traced.cuts({block.name: torch.tensor(block.kept) for block in plan.blocks}, widths)
    config = read_config(checkpoint.folder)
    configure(config, checkpoint.width_map.changes(widths))
    checksums = {}

    def cut(key: str, tensor: torch.Tensor) -> torch.Tensor:
        if key not in cuts:
            return tensor
        narrower = cuts[key](tensor)
        checksums[key] = checksum(narrower)
        return narrower

    with new_folder(out) as partial:
        _refuse_full_disk(partial, shards)
        rewrite(
            shards,
            partial,
            lambda key, shape: cuts[key].shape(shape) if key in cuts else shape,
            cut,
            lambda read: progress(read, shards.nbytes),
        )
        config.save_pretrained(partial)
        pruned = _verified(checkpoint, config, partial, widths)
        for path in sorted(checkpoint.folder.iterdir()):
            if path.is_file() and path.name not in _OURS and path.suffix not in _WEIGHTS:
                shutil.copyfile(path, partial / path.name)
        write_text(partial / CHECKSUMS, f"{json.dumps(checksums, indent=0)}\n")
        write_text(partial / PLAN_FILE, f"{plan.to_json()}\n")
        write_text(partial / "README.md", model_card(name or checkpoint.folder.name, plan, checkpoint.model, pruned))


def _padded(width_map: WidthMap, widths: Mapping[str, int]) -> dict[str, int]:
    """`widths` raised to the largest, relative to the original, among blocks that one entry governs."""
    shares: dict[object, Fraction] = {}
    for block in width_map.blocks:
        group, share = width_map.group(block), widths[block.name] / width_map.factor(block)
        shares[group] = max(shares.get(group, share), share)
    return {block.name: int(shares[width_map.group(block)] * width_map.factor(block)) for block in width_map.blocks}


def _refuse_full_disk(folder: Path, shards: Shards) -> None:
    free = shutil.disk_usage(folder).free
    if free < shards.nbytes // 2:
        msg = (
            f"{free / 1e9:.1f} GB are free at {folder.parent}, too few for a checkpoint of {shards.nbytes / 1e9:.1f} GB"
        )
        raise CheckpointError(msg)


def _verified(checkpoint: Checkpoint, config: Any, folder: Path, widths: Mapping[str, int]) -> Any:
    """The new model on the meta device, after checking that its class reads the new files as intended."""
    again = read_config(folder)
    if getattr(again, WIDTHS, None) != getattr(config, WIDTHS, None):
        msg = f"the configuration of {checkpoint.folder} does not keep the entry {WIDTHS} when it is saved"
        raise CheckpointError(msg)
    model = blank(type(checkpoint.model), again)
    found = {block.name: block.width for block in examine(model).blocks}
    if found != dict(widths):
        wrong = next(name for name in found if found[name] != widths[name])
        msg = f"the new configuration gives {wrong} width {found[wrong]}, not {widths[wrong]}"
        raise CheckpointError(msg)
    return model
