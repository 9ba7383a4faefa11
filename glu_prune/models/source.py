"""Where the weights of a model are, and how they are loaded."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.models import stock
from glu_prune.models.formats import Format, recognised

MODELS = Path(__file__).parent / "embedded"

FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model")
"""What is read of a Hugging Face repository, as patterns."""
NOT_FILES = ("*/*", "consolidated*")
"""What is not, though it looks like it: other formats, in folders of their own or under another name."""
_GATED = ("meta-llama/",)
"""Owners whose models are given to those only who asked for them."""


@dataclass(frozen=True)
class ModelSource:
    """A model on this machine."""

    name: str
    """As the user wrote it: an embedded model, a Hugging Face id, or a folder, perhaps with `$VARIABLE` in its name."""
    folder: Path

    @property
    def fingerprint(self) -> str:
        """What identifies its weights, configuration and tokenizer."""
        return self.format.digest(self.folder)

    @property
    def format(self) -> Format:
        """How it lies in its folder; stock where that cannot be told, whose errors say what is missing."""
        return recognised(self.folder) or stock


def embedded_models() -> tuple[str, ...]:
    """The names of the models that come with this package."""
    return tuple(sorted(path.parent.name for path in MODELS.glob("*/config.json")))


def locate(name: str, revision: str | None = None) -> ModelSource:
    """The model called `name`: an embedded model, a folder, or a Hugging Face id in the local cache.

    Environment variables in a folder's name (`$GLU_PRUNE_DATA/stories260K`) stand for what they hold.

    Never opens a connection.

    Raises:
        ModelNotFoundError: it is not on this machine; the message says how to get it.
    """
    if name in embedded_models():
        return ModelSource(name, MODELS / name)
    folder = Path(os.path.expandvars(name))
    if recognised(folder) is not None:
        return ModelSource(name, folder)
    if is_hub_id(name):
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            return ModelSource(name, snapshot(name, revision, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError):
            pass
    unset = f" (set {name.split('/')[0]})" if name.startswith("$") and str(folder) == name else ""
    msg = (
        f"model {name!r} is not on this machine{unset}: it is no embedded model ({', '.join(embedded_models())}), no "
        "folder with a config.json or a whole llama2.c checkpoint, and not in the Hugging Face cache; "
        f"{how_to_fetch(name, revision)}"
    )
    raise ModelNotFoundError(msg)


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a Hugging Face id: owner and model."""
    return name.count("/") == 1 and not name.startswith(("/", ".", "~", "$"))


def snapshot(name: str, revision: str | None, **how: Any) -> Path:
    """The folder of a Hugging Face model in the local cache; `how` goes to `snapshot_download`.

    What a snapshot must hold to be whole is what is read of it: without these patterns, one that was fetched by them
    would be refused.
    """
    from huggingface_hub import snapshot_download

    return Path(
        snapshot_download(name, revision=revision, allow_patterns=list(FILES), ignore_patterns=list(NOT_FILES), **how)
    )


def how_to_fetch(name: str, revision: str | None = None) -> str:
    """What a user does to get a model from the hub."""
    at = f" --revision {revision}" if revision else ""
    fetch = f"`hf download {name}{at}` fetches a model from the hub"
    if not name.startswith(_GATED):
        return fetch
    return f"{fetch}; it is gated: ask for access at https://huggingface.co/{name} and log in with `hf auth login`"


def load_model(source: ModelSource, dtype: str, device: str, *, attention: str = "", device_map: str = "") -> Any:
    """The model in `dtype` (`auto`: as saved) on `device`, ready for evaluation; remote code is never run.

    `attention` is an implementation as transformers names it; with a `device_map`, accelerate spreads the model, and
    `device` is not looked at.

    Raises:
        CheckpointError: the folder cannot be loaded, or the device not used.
    """
    options = {"attn_implementation": attention, "device_map": device_map}
    given = {name: value for name, value in options.items() if value}
    model: Any = source.format.read_model(source.folder, dtype, **given)
    if device_map:
        return model
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        msg = f"{source.name} cannot be put on device {device!r}: {str(error).splitlines()[0]}; `cpu` is always there"
        raise CheckpointError(msg) from error


def has_tokenizer(source: ModelSource) -> bool:
    """Whether a tokenizer lies beside the weights; models of a shape with random weights have none."""
    return source.format.has_tokenizer(source.folder)


def load_tokenizer(source: ModelSource) -> Any:
    """The tokenizer of a model.

    Raises:
        CheckpointError: the folder has none that can be loaded.
    """
    return source.format.read_tokenizer(source.folder)


def load(source: ModelSource, dtype: str, device: str) -> tuple[Any, Any]:
    """The model, as `load_model` gives it, and its tokenizer.

    Raises:
        CheckpointError: the folder cannot be loaded.
    """
    return load_model(source, dtype, device), load_tokenizer(source)
