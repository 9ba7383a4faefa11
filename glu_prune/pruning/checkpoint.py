"""Model folders: loaded whatever their widths, identified by their contents, and written whole or not at all."""

import copy
import glob
import hashlib
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from glu_prune.errors import CheckpointError, shown
from glu_prune.files import PARTIAL, is_dead, writer

PLAN_FILE = "pruning_plan.json"
_IDENTITY = ("*.safetensors", "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json")
_CHUNK = 1 << 22
_MANY = re.compile("layer|expert")
"""In names of entries that say how many modules a model has; each of them is built one by one."""
_MOST = 10_000


def refuse_existing(out: Path) -> None:
    """Raises `CheckpointError` if `out` exists: nothing is ever overwritten."""
    if out.exists() or out.is_symlink():
        msg = f"{out} exists; choose another folder or remove it"
        raise CheckpointError(msg)


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """A folder for a model, to fill; becomes `out` when the block ends well, by renaming, and is removed otherwise.

    What a killed process left behind for the same `out` is removed, too.

    Raises:
        CheckpointError: `out` exists, or cannot be written.
    """
    refuse_existing(out)
    mine = f".{out.name}."
    for old in out.parent.glob(f"{glob.escape(mine)}*{PARTIAL}"):
        if is_dead(old.name.removeprefix(mine).removesuffix(PARTIAL)):
            shutil.rmtree(old, ignore_errors=True)
    partial = out.with_name(f"{mine}{writer()}{PARTIAL}")
    try:
        partial.mkdir(parents=True)
        yield partial
        for weights in partial.glob("*.safetensors"):  # safetensors 0.8 lets nobody but their owner read them
            shutil.copymode(partial / "config.json", weights)
        refuse_existing(out)
        partial.rename(out)
    except OSError as error:
        msg = f"{out} cannot be written: {error}"
        raise CheckpointError(msg) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_config(folder: Path) -> Any:
    """The configuration in `folder`. Remote code is never run.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # every family reads its configuration, and complains, in its own way
        msg = f"{folder} has no usable configuration: {' '.join(str(error).split()) or repr(error)}"
        raise CheckpointError(msg) from error
    for name, value in vars(config).items():
        if _MANY.search(name) and isinstance(value, int) and value > _MOST:
            msg = f"{folder} has no usable configuration: {name} is {shown(value)}; at most {_MOST:,} are allowed"
            raise CheckpointError(msg)
    return config


def model_class(config: Any) -> Any:
    """The class of model that `config` was saved from; else the causal language model of its type.

    Raises:
        CheckpointError: the installed transformers has neither.
    """
    import transformers

    names = getattr(config, "architectures", None)
    for name in names if isinstance(names, list) else ():
        found = getattr(transformers, str(name), None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return found
    try:
        return transformers.AutoModelForCausalLM._model_mapping[type(config)]
    except KeyError as error:
        msg = f"architecture {config.architectures} of model type {config.model_type!r} is not in transformers "
        raise CheckpointError(msg + transformers.__version__) from error


def load(folder: Path | str, **options: Any) -> Any:
    """The model in `folder`, also where blocks differ in width, in evaluation mode.

    `options` go to transformers' `from_pretrained`, such as `dtype` and `device_map`. Nothing is downloaded, pickled
    weights are not read, and remote code is never run.

    Raises:
        CheckpointError: the folder cannot be loaded.
    """
    from safetensors import SafetensorError

    from glu_prune.pruning.width_map import WIDTHS

    folder = Path(folder)
    config = read_config(folder)
    kind = model_class(config)
    uneven = getattr(config, WIDTHS, None)
    source = _class_with_widths(kind) if uneven else kind
    settings = {"local_files_only": True, "use_safetensors": True, **options}
    try:
        model = source.from_pretrained(folder, config=copy.deepcopy(config), **settings)
    except (OSError, ValueError, RuntimeError, KeyError, ImportError, SafetensorError) as error:
        msg = f"{folder} cannot be loaded as {kind.__name__}: {str(error).strip().splitlines()[0]}"
        raise CheckpointError(msg) from error
    model.__class__ = kind
    return model.eval()


def _class_with_widths(kind: Any) -> Any:
    """A class like `kind` whose models are built with the widths in their configuration."""
    # `from_pretrained` compares shapes after building the model and offers no hook in between, so the cut happens in
    # the constructor; `load` sets the stock class afterwards.
    from glu_prune.pruning.surgery import narrow_blocks
    from glu_prune.pruning.width_map import WIDTHS

    def init(self: Any, config: Any, *arguments: Any, **options: Any) -> None:
        kind.__init__(self, config, *arguments, **options)
        if widths := getattr(config, WIDTHS, None):
            narrow_blocks(self, widths)

    return type(kind.__name__, (kind,), {"__init__": init, "__module__": kind.__module__})


def folder_digest(folder: Path) -> str:
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
