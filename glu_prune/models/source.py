"""Where the weights of a model are, and how they are loaded."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.models import fetchable, gguf, stock
from glu_prune.models.formats import Format, recognised

MODELS = Path(__file__).parent / "embedded"

FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model")
"""What is read of a Hugging Face repository, as patterns."""
NOT_FILES = ("*/*", "consolidated*")
"""What is not, though it looks like it: other formats, in folders of their own or under another name."""
DeviceMap = str | Mapping[str, Any]
"""How accelerate spreads a model: a name, or the device of each module; empty where it is not asked to."""
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*", re.ASCII)
_OF_THE_HUB = "a model fetched from the hub"
_GATED = ("meta-llama/",)
"""Owners whose models are given to those only who asked for them."""


@dataclass(frozen=True)
class ModelSource:
    """A model on this machine."""

    name: str
    """As the user wrote it: an embedded or a fetched model, a Hugging Face id, or a folder or GGUF file, perhaps with
    `$VARIABLE` in its name."""
    path: Path
    """The folder, or the GGUF file."""

    @property
    def folder(self) -> Path:
        """The folder that is read: `path`, or the checkpoint that a GGUF file is converted into, once.

        Raises:
            CheckpointError: the file cannot be converted, or is not the one that was fetched.
        """
        return self.path if (file := self._gguf) is None else gguf.stock_folder(file)

    @property
    def fingerprint(self) -> str:
        """What identifies its weights, configuration and tokenizer; of a GGUF file its SHA-256.

        Raises:
            CheckpointError: a file cannot be read, or is not the one that was fetched.
        """
        return self.format.digest(self.folder) if (file := self._gguf) is None else gguf.digest(file)

    def dequantized(self, dtype: str) -> str:
        """From which quantisation of a GGUF file its weights are read: `Q4_1 -> float32`; empty for other models.

        Raises:
            CheckpointError: as `folder`.
        """
        return "" if (file := self._gguf) is None else f"{gguf.quantization(file)} -> {dtype}"

    @property
    def _gguf(self) -> Path | None:
        file = gguf.gguf_file(self.path)
        if file is not None and file == fetchable.fetched(self.name):
            fetchable.refuse_changed(self.name, file)
        return file

    @property
    def format(self) -> Format:
        """How it lies in its folder; stock where that cannot be told, whose errors say what is missing."""
        return recognised(self.folder) or stock


@cache
def embedded_models() -> tuple[str, ...]:
    """The names of the models that come with this package."""
    return tuple(sorted(path.parent.name for path in MODELS.glob("*/config.json")))


def locate(name: str, revision: str | None = None) -> ModelSource:
    """The model called `name`: an embedded or fetched one, a folder or a GGUF file, or a Hugging Face id in the cache.

    What is written as a path is a folder: `./tiny-base` is never the embedded model. A name that means both a model and
    a folder beside it is refused, so that neither stands for the other unnoticed. See `folder_of` for variables.

    Never opens a connection.

    Raises:
        ModelNotFoundError: it is not on this machine, two models have the name, or a revision is asked of what has
            none; the message says how to mend it.
    """
    folder = folder_of(name)
    here = _is_model(folder)
    kind, named = _named(name, revision)
    if named is not None and here and not named.samefile(folder):
        msg = f"model {name!r} is {kind} and also a folder here; write ./{name} for the folder, or rename it"
        raise ModelNotFoundError(msg)
    if revision and (here or kind != _OF_THE_HUB):
        what = "a folder" if here else kind
        msg = f"model {name!r} is {what}, which has no revisions; leave out the revision {revision!r}"
        raise ModelNotFoundError(msg)
    if named is not None or here:
        return ModelSource(name, named or folder)
    raise ModelNotFoundError(_not_here(name, revision, folder))


def _named(name: str, revision: str | None) -> tuple[str, Path | None]:
    """What kind of model has `name`, unless it is a path, and where it is; None if it is not here."""
    if name in embedded_models():
        return "an embedded model", MODELS / name
    if name in fetchable.FETCHABLE:
        return "a model for `glu-prune fetch`", fetchable.fetched(name)
    return _OF_THE_HUB, _fetched(name, revision)


def _not_here(name: str, revision: str | None, folder: Path) -> str:
    """Says what was looked for, and how to get it."""
    if name in fetchable.FETCHABLE:
        return f"model {name!r} is not on this machine; {how_to_fetch(name)}"
    if several := gguf.gguf_files(folder):
        return f"{folder} holds {len(several)} GGUF files, but a model is one; write the name of one, as {several[0]}"
    unset = f" (set {name.split('/')[0]})" if name.startswith("$") and str(folder) == name else ""
    known = ", ".join((*embedded_models(), *fetchable.FETCHABLE))
    return (
        f"model {name!r} is not on this machine{unset}: it is none of those with a name ({known}), no folder with a "
        "config.json or a whole llama2.c checkpoint, no GGUF file, and not in the Hugging Face cache; "
        f"{how_to_fetch(name, revision)}"
    )


def _is_model(path: Path) -> bool:
    """Whether `path` is a folder of a known format, or a GGUF file, or a folder with one."""
    return recognised(path) is not None or gguf.gguf_file(path) is not None


def identity(name: str, base: Path | None = None) -> str:
    """What is the same for all ways to write a model, whether it is here or not.

    Of a folder or file it is the absolute path, without links; of all others its name. Relative paths begin at `base`;
    None stands for the current folder.
    """
    folder = (base or Path.cwd()) / folder_of(name)
    if name in (*embedded_models(), *fetchable.FETCHABLE) or (is_hub_id(name) and not _is_model(folder)):
        return name
    try:
        return os.path.realpath(gguf.gguf_file(folder) or folder)
    except ValueError:  # a NUL, or half a character: no file has such a name
        return name


def folder_of(name: str) -> Path:
    """The folder that `name` would be; `$VARIABLE` stands for what it holds, `~` for the user's folder."""
    return Path(os.path.expanduser(os.path.expandvars(name)))  # noqa: PTH111 - raises nothing for unknown users


def is_hub_id(name: str) -> bool:
    """Whether `name` has the form of a Hugging Face id: owner and model."""
    return _HUB_ID.fullmatch(name) is not None


def _fetched(name: str, revision: str | None) -> Path | None:
    """The folder of a model of the hub in the local cache; None if it is not there, or `name` is no id of one."""
    if not is_hub_id(name):
        return None
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return snapshot(name, revision, local_files_only=True)
    except (LocalEntryNotFoundError, HFValidationError):
        return None


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
    """What a user does to get a model."""
    if name in fetchable.FETCHABLE:
        return fetchable.how_to_fetch(name)
    at = f" --revision {revision}" if revision else ""
    fetch = f"`hf download {name}{at}` fetches a model from the hub"
    if not name.startswith(_GATED):
        return fetch
    return f"{fetch}; it is gated: ask for access at https://huggingface.co/{name} and log in with `hf auth login`"


def load_model(source: ModelSource, dtype: str, device: str, *, attention: str = "", device_map: DeviceMap = "") -> Any:
    """The model in `dtype` (`auto`: as saved) on `device`, ready for evaluation; remote code is never run.

    `attention` is an implementation as transformers names it; with a `device_map` (a name, or the device of each
    module), accelerate spreads the model, and `device` is not looked at.

    Raises:
        CheckpointError: the folder cannot be loaded, or the device not used.
    """
    options: dict[str, Any] = {"attn_implementation": attention, "device_map": device_map}
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
