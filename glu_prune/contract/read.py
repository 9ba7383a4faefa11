"""Reads the model that the contract is checked on."""

from pathlib import Path

from glu_prune.contract.subject import Subject, random_inputs
from glu_prune.models.source import load_model, locate


def read(name: str, dtype: str = "float32", device: str = "cpu", **how: str) -> Subject:
    """The model called `name`: an embedded one, a folder, or a Hugging Face id in the local cache.

    `how` it is loaded else is for `load_model`.

    Raises:
        ModelNotFoundError: it is not on this machine.
        CheckpointError: it cannot be loaded.
    """
    model = load_model(locate(name), dtype, device, **how)
    return Subject.of(model, random_inputs(model), name)


def folder_of(name: str) -> Path:
    """Where that model is on disk."""
    return locate(name).folder
