"""Adapters of PEFT, such as LoRA, in a folder: merged into the model that they were trained on."""

import hashlib
import json
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

from glu_prune.errors import CheckpointError, first_line

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def refuse_unusable(folder: Path) -> None:
    """Raises `CheckpointError` unless `folder` holds an adapter whose weights need no unpickling."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            msg = f"{folder} has no {name}; name a folder that PEFT's save_pretrained wrote, with safetensors"
            raise CheckpointError(msg)
    try:
        kind = json.loads((folder / CONFIG).read_bytes())["peft_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{folder / CONFIG} is no configuration of an adapter"
        raise CheckpointError(msg) from error
    if not isinstance(kind, str):
        msg = f"{folder / CONFIG} names no kind of adapter"
        raise CheckpointError(msg)


def digest(folder: Path) -> str:
    """SHA-256 over configuration and weights; raises `CheckpointError` if they cannot be read."""
    try:
        return _digest(folder, *((folder / name).stat().st_mtime_ns for name in (CONFIG, WEIGHTS)))
    except OSError as error:
        msg = f"{folder} cannot be read: {error.strerror or error}"
        raise CheckpointError(msg) from error


@lru_cache(maxsize=64)
def _digest(folder: Path, *_: int) -> str:
    found = hashlib.sha256()
    for name in (CONFIG, WEIGHTS):
        found.update((folder / name).read_bytes())
    return found.hexdigest()


def merged(model: Any, folder: Path) -> Any:
    """`model` with the adapter merged into its weights; `model` itself is used up.

    Raises:
        CheckpointError: the adapter does not fit the model, or cannot be merged.
    """
    from peft import PeftModel

    refuse_unusable(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of names that PEFT still uses
            found = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    except (RuntimeError, ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        msg = f"{folder} does not fit the model: {first_line(error)}"
        raise CheckpointError(msg) from error
    found.eval()
    return found
