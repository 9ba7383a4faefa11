"""Checksums of a pruned folder's weights as they were written, so that later damage is noticed."""

import json
from pathlib import Path

import torch
import xxhash

from glu_prune.errors import ContractError
from glu_prune.pruning.shards import open_shards

CHECKSUMS = "pruning_checksums.json"


def checksum(tensor: torch.Tensor) -> str:
    """XXH3 over dtype, shape and bytes of a tensor: detects damage, but is no protection against forgery."""
    digest = xxhash.xxh3_64(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
    digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check(folder: Path) -> bool:
    """Whether `folder` has checksums; if so, all its tensors that were pruned match them.

    Raises:
        ContractError: a tensor is not what was written.
        CheckpointError: the weights cannot be read.
    """
    record = folder / CHECKSUMS
    if not record.is_file():
        return False
    shards = open_shards(folder)
    for key, expected in json.loads(record.read_text(encoding="utf-8")).items():
        if key not in shards.weight_map or checksum(shards.read(key)) != expected:
            msg = f"weights are what pruning wrote: {key} in {folder} is not what glu-prune wrote there"
            raise ContractError(msg)
    return True
