"""Pruning from disk to disk: one block in memory to rank it, one tensor in memory to write it."""

import json
import shutil
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch

from glu_prune.errors import CheckpointError
from glu_prune.files import write_whole
from glu_prune.pruning.checkpoint import PLAN_FILE, new_folder, read_config
from glu_prune.pruning.checksums import CHECKSUMS, checksum
from glu_prune.pruning.criteria import Activations, criterion
from glu_prune.pruning.disk_model import DiskModel, Progress, no_progress, read_blocks
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.ranking import Ranking, rank_block
from glu_prune.pruning.shards import INDEX, Edit, Shards, rewrite
from glu_prune.pruning.surgery import narrowed_meta_model
from glu_prune.pruning.width_map import WIDTHS, WidthMap, configure, map_widths
from glu_prune.units import size_of

Card = Callable[[Any, Mapping[str, int]], str]
"""What makes a model card of the pruned model, of which only shapes are read, and its widths by block."""
_OURS = {"config.json", "README.md", PLAN_FILE, CHECKSUMS, INDEX}
_WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx"}


def rank_on_disk(
    disk_model: DiskModel,
    criterion_name: str = "ppm",
    seed: int = 0,
    activations: Mapping[str, Activations] | None = None,
    progress: Progress = no_progress,
) -> Ranking:
    """Ranks the neurons of a model on disk, with one block in memory at a time; otherwise as `rank`.

    Raises:
        CheckpointError: weights are missing, truncated, or stored under names that cannot be followed.
        PlanError: as `rank`.
    """
    how = criterion(criterion_name)
    ranked = {}
    for name, weights in read_blocks(disk_model, progress):
        seen = activations.get(name) if activations else None
        ranked[name] = rank_block(name, weights, how, seed, seen)
        del weights  # before the next block is read
    return Ranking.of(how, seed, disk_model.width_map, ranked)


def verify_plan(disk_model: DiskModel, plan: PruningPlan, progress: Progress = no_progress) -> None:
    """Raises `PlanError` unless `plan` was made for the weights of this model; reads all its blocks.

    Raises:
        CheckpointError: as `rank_on_disk`.
        PlanError: the plan was made for other blocks or other weights.
    """
    plan.check(disk_model.width_map)
    for name, weights in read_blocks(disk_model, progress):
        plan.check_weights(name, weights)
        del weights  # before the next block is read


def write_pruned(
    disk_model: DiskModel,
    plan: PruningPlan,
    out: Path,
    *,
    pad_to_uniform: bool = False,
    card: Card | None = None,
    progress: Progress = no_progress,
) -> Mapping[str, int]:
    """Writes the model without the neurons that `plan` does not keep to the new folder `out`.

    Tensors go to files of the same names as they came from; what else is in the folder is copied; the plan and what
    `card` makes are added. With `pad_to_uniform`, neurons of zeros fill up the blocks that one configuration entry
    governs to the widest of them, so that the stock loader reads them. The folder appears complete, or not at all.
    Memory holds one file, mapped, and one tensor. Gives the widths that were written, by block.

    Raises:
        CheckpointError: `out` exists or cannot be written, or the checkpoint cannot be read.
        PlanError: the plan was made for other blocks or, where its checksums can be compared, other weights.
    """
    plan.check(disk_model.width_map)
    widths = _padded(disk_model.width_map, plan.widths) if pad_to_uniform else plan.widths
    shards, traced = disk_model.traced
    cuts = traced.cuts({block.name: torch.tensor(block.kept) for block in plan.blocks}, widths)
    config = read_config(disk_model.folder)
    configure(config, disk_model.width_map.changes(widths))
    checksums = {}

    def cut(key: str, tensor: torch.Tensor) -> torch.Tensor:
        if key not in cuts:
            return tensor
        narrower = cuts[key](tensor)
        checksums[key] = checksum(narrower)
        return narrower

    edit = Edit(
        shape=lambda key, shape: cuts[key].shape(shape) if key in cuts else shape,
        tensor=cut,
        done=lambda read: progress(read, shards.nbytes),
    )
    with new_folder(out) as partial:
        _refuse_full_disk(partial, shards)
        rewrite(shards, partial, edit)
        config.save_pretrained(partial)
        pruned = _verified(disk_model, config, partial, widths)
        _copy_others(disk_model.folder, partial)
        texts = {CHECKSUMS: f"{json.dumps(checksums, indent=0)}\n", PLAN_FILE: f"{plan.to_json()}\n"}
        if card is not None:
            texts["README.md"] = card(pruned, widths)
        for file, text in texts.items():
            write_whole(partial / file, text, sync=True)
    return widths


def _copy_others(folder: Path, out: Path) -> None:
    """Copies files that are neither weights nor ours to write, such as the tokenizer's."""
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.name not in _OURS and path.suffix not in _WEIGHTS:
            shutil.copyfile(path, out / path.name)


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
            f"{size_of(free)} are free at {folder.parent}, too few for a checkpoint of {size_of(shards.nbytes)}; make "
            "room there, or choose another folder with --out"
        )
        raise CheckpointError(msg)


def _verified(disk_model: DiskModel, config: Any, folder: Path, widths: Mapping[str, int]) -> Any:
    """The new model on the meta device, after checking that its class reads the new files as intended."""
    again = read_config(folder)
    if getattr(again, WIDTHS, None) != getattr(config, WIDTHS, None):
        msg = f"the configuration of {disk_model.folder} does not keep the entry {WIDTHS} when it is saved"
        raise CheckpointError(msg)
    model = narrowed_meta_model(type(disk_model.model), again)
    found = {block.name: block.width for block in map_widths(model).blocks}
    if found != dict(widths):
        wrong = next(name for name in found if found[name] != widths[name])
        msg = f"the new configuration gives {wrong} width {found[wrong]}, not {widths[wrong]}"
        raise CheckpointError(msg)
    return model
