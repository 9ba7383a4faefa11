"""Where the weights of a model are, and how they are loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.pruning.checkpoint import fingerprint

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
        return fingerprint(self.folder)


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
    if (Path(name) / "config.json").is_file():
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
        f"with a config.json, and not in the Hugging Face cache; `hf download {name}{at}` fetches a model from the hub"
    )
    raise ModelNotFoundError(msg)


def load(source: ModelSource, dtype: str, device: str) -> tuple[Any, Any]:
    """The causal language model in `dtype` (`auto`: as saved) on `device`, ready for evaluation, and its tokenizer.

    Remote code is never run.

    Raises:
        CheckpointError: the folder cannot be loaded.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        model = AutoModelForCausalLM.from_pretrained(
            source.folder, dtype=getattr(torch, dtype, dtype), local_files_only=True, use_safetensors=True
        )
        tokenizer = AutoTokenizer.from_pretrained(source.folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        msg = f"{source.folder} cannot be loaded as a causal language model: {str(error).splitlines()[0]}"
        raise CheckpointError(msg) from error
    return model.to(device).eval(), tokenizer
