"""Whether a pruned folder still is what its plan leaves of the model that it says it was cut from."""

from pathlib import Path

import torch

from glu_prune.errors import CheckpointError
from glu_prune.pruning.disk_model import DiskModel, open_disk_model
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.shards import open_shards


def refuse_another(folder: Path, plan: PruningPlan, dense: DiskModel) -> None:
    """Raises `CheckpointError` unless cutting `dense` by `plan` once more gives the weights in `folder`, bit for bit.

    So one that was trained since is another model. Memory holds two tensors at a time.

    Raises:
        CheckpointError: or weights cannot be read.
        PlanError: the plan is for other blocks.
    """
    plan.check(dense.width_map)
    widths = {block.name: block.width for block in open_disk_model(folder).width_map.blocks}  # wider where padded
    mine, (theirs, traced) = open_shards(folder), dense.traced
    cuts = traced.cuts({block.name: torch.tensor(block.kept) for block in plan.blocks}, widths)
    for key in sorted({*mine.weight_map, *theirs.weight_map}):
        if key in mine.weight_map and key in theirs.weight_map:
            whole = theirs.read(key)
            if torch.equal(cuts[key](whole) if key in cuts else whole, mine.read(key)):
                continue
        msg = f"{folder} is not what its plan leaves of {dense.folder}: {key} differs; so what that scores is not of it"
        raise CheckpointError(msg)
