"""Checkpoints as transformers saves them (config.json, safetensors): a format of `glu_prune.models.formats`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.errors import CheckpointError, first_line, shown
from glu_prune.pruning import checkpoint
from glu_prune.pruning.checkpoint import folder_digest as digest
from glu_prune.pruning.checkpoint import read_config, refuse_contradiction

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "NAME",
    "digest",
    "has_tokenizer",
    "read_config",
    "read_model",
    "read_tokenizer",
    "refuse",
    "refuse_contradiction",
    "weight_bytes",
]

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


def read_model(folder: Path, dtype: str = "float32", **options: Any) -> Any:
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
        CheckpointError: the folder has none that can be loaded, or one with tokens that the model beside it lacks.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # every tokenizer reads its files, and complains, in its own way
        msg = f"the tokenizer in {folder} cannot be loaded: {first_line(error)}"
        raise CheckpointError(msg) from error
    if (folder / "config.json").is_file():
        _refuse_unknown_tokens(folder, tokenizer.get_vocab())
    return tokenizer


def _refuse_unknown_tokens(folder: Path, ids: Mapping[str, int]) -> None:
    """Raises `CheckpointError` if a token's id is beyond the embedding, whose rows nobody guards."""
    rows = getattr(read_config(folder).get_text_config(), "vocab_size", None)
    last = max(ids, key=lambda token: ids[token], default="")
    if rows is not None and ids and ids[last] >= rows:
        msg = (
            f"the tokenizer in {folder} gives {shown(last)} the id {ids[last]}, and the model knows ids below {rows}; "
            "take the tokenizer that it was trained with, or resize its embedding"
        )
        raise CheckpointError(msg)
