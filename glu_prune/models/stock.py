"""Checkpoints as transformers saves them (config.json, safetensors): a format of `glu_prune.models.formats`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.errors import CheckpointError, first_line
from glu_prune.pruning import checkpoint
from glu_prune.pruning.checkpoint import folder_digest as digest
from glu_prune.pruning.checkpoint import read_config

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["NAME", "digest", "has_tokenizer", "read_config", "read_model", "read_tokenizer", "refuse", "weight_bytes"]

NAME = "stock checkpoint"


def refuse(folder: Path) -> None:
    """Raises `CheckpointError` unless `folder` has a config.json."""
    if not (folder / "config.json").is_file():
        msg = f"{folder} has no config.json"
        raise CheckpointError(msg)


def weight_bytes(folder: Path) -> int:
    """Bytes of the weights; their headers are read, and the configuration.

    Raises:
        CheckpointError: the folder lacks either, or they cannot be read.
    """
    from glu_prune.pruning.shards import open_shards

    read_config(folder)
    return open_shards(folder).nbytes


def read_model(folder: Path, dtype: str = "float32", **options: str) -> Any:
    """The model in `folder`, in `dtype` (`auto`: as it is saved); `options` go to transformers' `from_pretrained`.

    Raises:
        CheckpointError: the folder cannot be loaded.
    """
    import torch

    return checkpoint.load(folder, dtype=getattr(torch, dtype, dtype), **options)


def has_tokenizer(folder: Path) -> bool:
    """Whether a tokenizer lies beside the weights; models of a shape with random weights have none."""
    return any(folder.glob("tokenizer*.json"))


def read_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer in `folder`.

    Raises:
        CheckpointError: the folder has none that can be loaded.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # every tokenizer reads its files, and complains, in its own way
        msg = f"the tokenizer in {folder} cannot be loaded: {first_line(error)}"
        raise CheckpointError(msg) from error
