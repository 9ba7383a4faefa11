"""GGUF files, as llama.cpp has them: each is converted once into a stock checkpoint, which then stands for it.

transformers takes half a minute to read a file of 135 million parameters, minutes with a large vocabulary; and what
prunes from disk to disk reads safetensors. So a file is read once. Its checkpoint lies in the cache folder, under the
SHA-256 of the file and the versions of the libraries that read it.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from importlib.metadata import version
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from glu_prune.errors import CheckpointError, GluPruneError, first_line, shown
from glu_prune.files import content_digest, regular
from glu_prune.models.cache import VARIABLE, alone, cache_folder
from glu_prune.pruning.checkpoint import (
    TELL_ALL,
    folder_digest,
    new_folder,
    quiet,
    refuse_contradiction,
    refuse_too_many,
)
from glu_prune.units import size_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NAME = "GGUF file"
_MAGIC = b"GGUF"
_FLOAT32 = 4
"""Bytes of a weight once it is dequantised: float32 holds the values of every quantisation exactly."""
_SCALING = ".rope.scaling.type"
"""Ends the name of the field that says how positions are scaled."""
_CHECKPOINT, _ORIGIN = "checkpoint", "origin.json"
"""What lies in the folder of a converted file."""


class Origin(BaseModel):
    """What a converted checkpoint was made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    """The file, where it lay."""
    quantization: str
    """How its weights are kept, as GGUF calls it."""
    digest: str
    """Of the checkpoint, as `folder_digest` gives it."""


class _Header(NamedTuple):
    """What a file says of its weights."""

    elements: int
    quantization: str
    rope_scaling: str
    """How positions are scaled; empty if they are not."""


def gguf_files(path: Path) -> tuple[Path, ...]:
    """The GGUF file that `path` is, or those in it, if it is a folder without a config.json."""
    try:
        if path.suffix == ".gguf" and path.is_file():
            return (path,)
        if not path.is_dir() or (path / "config.json").exists():
            return ()
        return tuple(each for each in sorted(path.glob("*.gguf")) if each.is_file())
    except OSError:  # no file has such a name, or it may not be looked at
        return ()


def gguf_file(path: Path) -> Path | None:
    """The only GGUF file that `path` is or holds; None if there is none, or several."""
    found = gguf_files(path)
    return found[0] if len(found) == 1 else None


def digest(file: Path) -> str:
    """SHA-256 of the file, which says all of a model: weights, configuration, tokenizer.

    Raises:
        CheckpointError: it cannot be read.
    """
    try:
        return content_digest(file).hex()
    except OSError as error:
        raise _unreadable(file, error) from error


def stock_folder(file: Path) -> Path:
    """The stock checkpoint, in float32, that `file` was converted into; it is converted if it was not.

    Raises:
        CheckpointError: as `convert`; or the checkpoint was changed afterwards.
    """
    folder = _place(file)
    if not folder.is_dir():
        with alone(folder):
            if not folder.is_dir():
                _convert_into(folder, file)
    if folder_digest(folder / _CHECKPOINT) != _origin(folder, file).digest:
        msg = f"{folder} was changed since {file} was converted into it; remove it, and it is written again"
        raise CheckpointError(msg)
    return folder / _CHECKPOINT


def quantization(file: Path) -> str:
    """How the weights of `file` are kept, as GGUF calls it: `Q4_1`, `Q4_K_M`, `F16`.

    Raises:
        CheckpointError: as `stock_folder`.
    """
    return _origin(stock_folder(file).parent, file).quantization


def convert(file: Path, out: Path) -> str:
    """Writes the model in `file` to the new folder `out` as transformers saves it, in float32, with its tokenizer.

    Returns:
        How its weights are kept in the file, as GGUF calls it: `Q4_1`.

    Raises:
        CheckpointError: the file is broken, or transformers does not read its architecture, or not all of it; gguf is
            not installed; or `out` exists or cannot be written.
    """
    header = _read_header(file)
    with new_folder(out) as partial:
        _refuse_full_disk(out, header.elements * _FLOAT32, shutil.disk_usage(partial).free)
        with _silent(f"converting {file.name} into a stock checkpoint"):
            _read_model(file, header).save_pretrained(partial)
            _read_tokenizer(file).save_pretrained(partial)
            refuse_contradiction(partial)
    return header.quantization


def _convert_into(folder: Path, file: Path) -> None:
    with new_folder(folder) as partial:
        kept_as = convert(file, partial / _CHECKPOINT)
        made = Origin(file=str(file), quantization=kept_as, digest=folder_digest(partial / _CHECKPOINT))
        (partial / _ORIGIN).write_text(made.model_dump_json(), "utf-8")


def _origin(folder: Path, file: Path) -> Origin:
    """What the checkpoint in `folder` was made of.

    Raises:
        CheckpointError: that was changed since.
    """
    try:
        return Origin.model_validate_json((folder / _ORIGIN).read_bytes())
    except (OSError, ValidationError) as error:
        msg = f"{folder} was changed since {file} was converted into it; remove it, and it is written again"
        raise CheckpointError(msg) from error


def _place(file: Path) -> Path:
    """Where `file` is converted to: another place once it, or a library that reads it, is another one."""
    _refuse_without_reader(file)
    return cache_folder() / "converted" / "-".join((digest(file), *map(version, ("gguf", "transformers"))))


def _refuse_without_reader(file: Path) -> None:
    """Raises `CheckpointError` unless gguf is installed."""
    if find_spec("gguf") is None:
        msg = f"{file} is a {NAME}, and what reads it is not installed; `pip install 'glu-prune[gguf]'` does that"
        raise CheckpointError(msg)


def _read_header(file: Path) -> _Header:
    """What `file` says of its weights, which are not read.

    Raises:
        CheckpointError: it is broken, or not whole.
    """
    _refuse_without_reader(file)
    _refuse_other(file)
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        elements: Counter[str] = Counter()
        for tensor in reader.tensors:
            elements[tensor.tensor_type.name] += int(tensor.n_elements)
        scalings = [str(field.contents()) for name, field in reader.fields.items() if name.endswith(_SCALING)]
        kept_as = _kept_as(reader.fields)
    except Exception as error:  # a broken file makes the reader raise whatever it stumbles over
        raise _unreadable(file, error) from error
    if not elements.total():
        msg = f"{file} has no weights"
        raise CheckpointError(msg)
    scaled = [each for each in scalings if each != "none"]
    return _Header(elements.total(), kept_as or elements.most_common(1)[0][0], ", ".join(scaled))


def _kept_as(fields: Mapping[str, Any]) -> str:
    """What `general.file_type` says: `Q4_K_M` for weights of which most, and not all, are in Q4_K."""
    from gguf import LlamaFileType

    said = fields["general.file_type"].contents() if "general.file_type" in fields else None
    names: dict[object, str] = {kind.value: kind.name for kind in LlamaFileType}
    return names.get(said, "").removeprefix("MOSTLY_").removeprefix("ALL_")


def _refuse_other(file: Path) -> None:
    """Raises `CheckpointError` unless `file` begins as GGUF files do."""
    try:
        with regular(file).open("rb") as stream:
            found = stream.read(len(_MAGIC))
    except OSError as error:
        raise _unreadable(file, error) from error
    if found != _MAGIC:
        msg = f"{file} is no {NAME}: it begins with {found!r}, not with {_MAGIC!r}; fetch it again"
        raise CheckpointError(msg)


def _refuse_full_disk(out: Path, wanted: int, free: int) -> None:
    if free < wanted:
        msg = (
            f"{size_of(free)} are free at {out.parent}, too few for a checkpoint of {size_of(wanted)} in float32; make "
            f"room there (what GGUF files are converted into lies where {VARIABLE} says)"
        )
        raise CheckpointError(msg)


def _read_model(file: Path, header: _Header) -> "PreTrainedModel":
    """The model, dequantised to float32, which transformers then saves as one that never was quantised.

    Raises:
        CheckpointError: transformers cannot read all of it.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, GgufConfig

    what: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    settings = {"dtype": torch.float32, "quantization_config": GgufConfig(dequantize=True), **TELL_ALL}
    try:
        config = AutoConfig.from_pretrained(file.parent, **what)
        refuse_too_many(file, config)
        with torch.device("meta"):
            built: PreTrainedModel = AutoModelForCausalLM.from_config(config)
        _refuse_other_size(file, built, header.elements)
        _refuse_unread_scaling(file, config, header.rope_scaling)
        # Its own class takes the configuration as it is; `Auto` would read the file once more, which takes seconds.
        model, found = type(built).from_pretrained(file.parent, config=config, **what, **settings)
    except GluPruneError:
        raise
    except Exception as error:  # every architecture complains in its own way
        raise _unreadable(file, error) from error
    for how in ("missing", "unexpected", "mismatched"):
        if keys := sorted(map(str, found[f"{how}_keys"])):
            msg = f"{file} contradicts itself: {keys[0]} is {how}; fetch it again"
            raise CheckpointError(msg)
    read: PreTrainedModel = model
    return read


def _refuse_other_size(file: Path, model: "PreTrainedModel", elements: int) -> None:
    """Raises `CheckpointError` unless `model`, on the meta device, has as many weights as `file`.

    transformers draws what is missing at random, and drops what it does not know, such as the factors by which Llama 3
    scales its positions.
    """
    parameters = {id(each): each.numel() for each in model.state_dict(keep_vars=True).values()}
    if (wanted := sum(parameters.values())) != elements:
        msg = (
            f"{file} holds {elements:,} weights, and the {type(model).__name__} that transformers makes of its header "
            f"{wanted:,}, so it would be another model; take its safetensors"
        )
        raise CheckpointError(msg)


def _refuse_unread_scaling(file: Path, config: Any, scaling: str) -> None:
    """Raises `CheckpointError` if the file scales positions, and `config` does not."""
    said = getattr(config, "rope_parameters", None) or {}
    kinds = {each.get("rope_type", "default") for each in (said, *said.values()) if isinstance(each, dict)}
    if scaling and kinds <= {"default"}:
        msg = f"{file} scales positions ({shown(scaling)}), which transformers does not read; take its safetensors"
        raise CheckpointError(msg)


def _read_tokenizer(file: Path) -> "PreTrainedTokenizerBase":
    """The tokenizer in the file, with its chat template.

    Raises:
        CheckpointError: transformers cannot read it.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name, local_files_only=True)
    except Exception as error:  # every kind of tokenizer complains in its own way
        raise _unreadable(file, error) from error


@contextmanager
def _silent(doing: str) -> Iterator[None]:
    """Inside, libraries show nothing; a terminal shows what is being done."""
    from tqdm import tqdm

    with (
        tqdm(desc=doing, bar_format="{desc}", total=1, disable=None, leave=False, file=sys.stderr),
        redirect_stderr(StringIO()),
        quiet(),
    ):
        yield


def _unreadable(file: Path, error: Exception) -> CheckpointError:
    said = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
    return CheckpointError(f"{file} cannot be read as a {NAME}: {said}")
