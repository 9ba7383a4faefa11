"""The formats in which models lie in folders, and which of them a folder has; each is a module of this package.

A new format is a module that has what `Format` asks for, and a name in `FORMATS`.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from glu_prune.errors import CheckpointError
from glu_prune.models import gguf, llama2c, stock
from glu_prune.pruning.checkpoint import new_folder, refuse_existing

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase


class Format(Protocol):
    """What is known of a format; whatever reads a folder raises `CheckpointError` where it cannot."""

    NAME: str
    """What a folder of this format is called in messages."""

    def refuse(self, folder: Path) -> None:
        """Raises `CheckpointError` if `folder` is not of this format."""

    def digest(self, folder: Path) -> str:
        """What identifies weights, configuration and tokenizer."""

    def read_config(self, folder: Path) -> "PretrainedConfig":
        """The configuration, as transformers has it."""

    def weight_bytes(self, folder: Path) -> int:
        """Bytes of the weights on disk; headers are read, and no weights."""

    def refuse_contradiction(self, folder: Path) -> None:
        """Raises `CheckpointError` if the weights are not those of a model of the configuration; reads headers only."""

    def read_model(self, folder: Path, dtype: str = ..., **options: Any) -> "PreTrainedModel":
        """The model in `dtype` (`auto`: as saved), ready for evaluation; `options` are for `from_pretrained`."""

    def has_tokenizer(self, folder: Path) -> bool:
        """Whether there is a tokenizer."""

    def read_tokenizer(self, folder: Path) -> "PreTrainedTokenizerBase":
        """The tokenizer."""


FORMATS: tuple[Format, ...] = (stock, llama2c)


def recognised(folder: Path) -> Format | None:
    """The format of `folder`; None if it has none of them."""
    return next((each for each in FORMATS if _complaint(each, folder) is None), None)


def is_stock(folder: Path) -> bool:
    """Whether transformers reads `folder` as it is."""
    return recognised(folder) is stock


def write_stock(folder: Path, out: Path) -> None:
    """Writes the checkpoint in `folder`, of another format, or a GGUF file, to `out` as transformers saves models.

    Raises:
        CheckpointError: `folder` cannot be read or is stock already, or `out` exists or cannot be written.
    """
    refuse_existing(out)
    if (file := gguf.gguf_file(folder)) is not None:
        gguf.convert(file, out)
        return
    found = recognised(folder)
    if found is stock:
        msg = f"{folder} is a {stock.NAME} already; use it as it is"
        raise CheckpointError(msg)
    if found is None:
        raise CheckpointError("; ".join(str(_complaint(each, folder)) for each in FORMATS if each is not stock))
    model = found.read_model(folder, "float32")
    tokenizer = found.read_tokenizer(folder)
    with new_folder(out) as partial:
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)


def _complaint(format_: Format, folder: Path) -> CheckpointError | None:
    try:
        format_.refuse(folder)
    except CheckpointError as error:
        return error
    except OSError as error:
        return CheckpointError(f"{folder} cannot be read: {error.strerror}")
    return None
