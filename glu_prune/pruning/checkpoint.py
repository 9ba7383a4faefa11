"""Pruned models on disk: stock Hugging Face folders, written whole or not at all, and recognised by what they hold."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.errors import CheckpointError

if TYPE_CHECKING:
    from glu_prune.pruning.plan import PruningPlan

PLAN_FILE = "pruning_plan.json"
_IDENTITY = ("*.safetensors", "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json")
_CHUNK = 1 << 22


def refuse_existing(out: Path) -> None:
    """Raises `CheckpointError` if `out` exists: nothing is ever overwritten."""
    if out.exists():
        msg = f"{out} exists; choose another folder or remove it"
        raise CheckpointError(msg)


def save(model: Any, tokenizer: Any, plan: "PruningPlan", out: Path) -> None:
    """Writes weights, configuration, tokenizer and plan to the new folder `out`.

    The folder appears complete, by renaming, or not at all.

    Raises:
        CheckpointError: `out` exists, or cannot be written.
    """
    refuse_existing(out)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        partial.mkdir(parents=True)
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
        (partial / PLAN_FILE).write_text(plan.to_json() + "\n")
        partial.rename(out)
    except OSError as error:
        msg = f"{out} cannot be written: {error}"
        raise CheckpointError(msg) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of everything in `folder` that determines what the model answers.

    Raises:
        CheckpointError: `folder` holds no safetensors weights.
    """
    files = sorted({path for pattern in _IDENTITY for path in folder.glob(pattern)})
    if not any(path.suffix == ".safetensors" for path in files):
        msg = f"{folder} holds no .safetensors weights; pickled weights are not read"
        raise CheckpointError(msg)
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.name}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    return digest.hexdigest()
