"""Where the weights of a model are, and how they are loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.pruning import checkpoint
from glu_prune.zoo import llama2c

MODELS = Path(__file__).parent / "models"


@dataclass(frozen=True)
class ModelSource:
    """A model on this machine."""

    name: str
    """As the user wrote it: an embedded model, a Hugging Face id, or a folder."""
    folder: Path

    @property
    def fingerprint(self) -> str:
        """What identifies its weights, configuration and tokenizer."""
        return (
            llama2c.fingerprint(self.folder) if llama2c.is_llama2c(self.folder) else checkpoint.fingerprint(self.folder)
        )


def embedded_models() -> tuple[str, ...]:
    """The names of the models that come with this package."""
    return tuple(sorted(path.parent.name for path in MODELS.glob("*/config.json")))


def locate(name: str, revision: str | None = None) -> ModelSource:
    """The model called `name`: an embedded model, a folder, or a Hugging Face id in the local cache.

    Never opens a connection.

    Raises:
        ModelNotFoundError: it is not on this machine; the message says how to get it.
    """
    if name in embedded_models():
        return ModelSource(name, MODELS / name)
    if (Path(name) / "config.json").is_file() or llama2c.is_llama2c(Path(name)):
        return ModelSource(name, Path(name))
    if name.count("/") == 1 and not name.startswith(("/", ".", "~")):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            return ModelSource(name, Path(snapshot_download(name, revision=revision, local_files_only=True)))
        except (LocalEntryNotFoundError, HFValidationError):
            pass
    at = f" --revision {revision}" if revision else ""
    msg = (
        f"model {name!r} is not on this machine: it is no embedded model ({', '.join(embedded_models())}), no folder "
        "with a config.json or a whole llama2.c checkpoint, and not in the Hugging Face cache; "
        f"`hf download {name}{at}` fetches a model from the hub"
    )
    raise ModelNotFoundError(msg)


def load_model(source: ModelSource, dtype: str, device: str) -> Any:
    """The model in `dtype` (`auto`: as saved) on `device`, ready for evaluation; remote code is never run.

    Raises:
        CheckpointError: the folder cannot be loaded, or the device not used.
    """
    import torch

    if llama2c.is_llama2c(source.folder):
        model: Any = llama2c.read_model(source.folder, dtype)
    else:
        model = checkpoint.load(source.folder, dtype=getattr(torch, dtype, dtype))
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        msg = f"{source.name} cannot be put on device {device!r}: {str(error).splitlines()[0]}; `cpu` is always there"
        raise CheckpointError(msg) from error


def has_tokenizer(source: ModelSource) -> bool:
    """Whether a tokenizer lies beside the weights; models of a shape with random weights have none."""
    return llama2c.is_llama2c(source.folder) or any(source.folder.glob("tokenizer*.json"))


def load_tokenizer(source: ModelSource, vocabulary: int) -> Any:
    """The tokenizer of a model that knows `vocabulary` token ids.

    Raises:
        CheckpointError: the folder has none that can be loaded.
    """
    from transformers import AutoTokenizer

    if llama2c.is_llama2c(source.folder):
        return llama2c.read_tokenizer(source.folder, vocabulary)
    try:
        return AutoTokenizer.from_pretrained(source.folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        msg = f"the tokenizer in {source.folder} cannot be loaded: {str(error).splitlines()[0]}"
        raise CheckpointError(msg) from error


def load(source: ModelSource, dtype: str, device: str) -> tuple[Any, Any]:
    """The model, as `load_model` gives it, and its tokenizer.

    Raises:
        CheckpointError: the folder cannot be loaded.
    """
    model = load_model(source, dtype, device)
    return model, load_tokenizer(source, model.config.vocab_size)
