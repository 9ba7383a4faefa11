"""Model folders: loaded whatever their widths, identified by their contents, and written whole or not at all."""

import copy
import glob
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from glu_prune.errors import CheckpointError, GluPruneError, first_line, shown
from glu_prune.files import PARTIAL, content_digest, files_below, is_dead, writer

PLAN_FILE = "pruning_plan.json"
_NO_PART = (
    *("*.md", "LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*", "*.pdf", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.svg"),
    *("*.csv", "*.log", "training_args.bin", "trainer_state.json"),
    *("pytorch_model*.bin*", "tf_model*", "flax_model*", "rust_model*", "consolidated*", "*.gguf", "*.onnx", "*.h5"),
)
"""Names of files that no loader of ours reads: texts for people, logs of a training, weights in other formats."""
_NO_FOLDER = (".*", "__pycache__", "original", "onnx", "checkpoint-*", "runs")
"""Names of folders of such files."""
_MANY = re.compile("layer|expert")
"""In names of entries that say how many modules a model has; each of them is built one by one."""
_MOST = 10_000
TELL_ALL = {"output_loading_info": True, "ignore_mismatched_sizes": True}
"""Has transformers say all that does not fit; by itself, it draws weights at random, or drops them, with a warning."""
_LAYER = re.compile(r"^\D*\.(\d+)\.")


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
    refuse_too_many(folder, config)
    return config


def refuse_too_many(where: Path, config: Any) -> None:
    """Raises `CheckpointError` if `config`, which was read from `where`, says more modules than can be built."""
    for name, value in vars(config).items():
        if _MANY.search(name) and isinstance(value, int) and value > _MOST:
            msg = f"{where} has no usable configuration: {name} is {shown(value)}; at most {_MOST:,} are allowed"
            raise CheckpointError(msg)


def model_class(config: Any) -> Any:
    """The class of model that `config` was saved from; else the causal language model of its type.

    Raises:
        CheckpointError: the installed transformers has neither, or the class is of another type of model.
    """
    import transformers

    stock = transformers.AutoModelForCausalLM._model_mapping.get(type(config), None)
    names = getattr(config, "architectures", None)
    for name in names if isinstance(names, list) else ():
        found: Any = getattr(transformers, str(name), None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            kind: Any = found.config_class  # type: ignore[attr-defined]
            # some types, such as internlm3, have a configuration of their own for another type's class
            if isinstance(kind, type) and not isinstance(config, kind) and found is not stock:
                msg = (
                    f"config.json contradicts itself: {name} is not of model type {config.model_type!r}; correct either"
                )
                raise CheckpointError(msg)
            return found
    if stock is None:
        msg = f"architecture {config.architectures} of model type {config.model_type!r} is not in transformers "
        raise CheckpointError(msg + transformers.__version__)
    return stock


def load(folder: Path | str, **options: Any) -> Any:
    """The model in `folder`, also where blocks differ in width, in evaluation mode.

    `options` go to transformers' `from_pretrained`, such as `dtype` and `device_map`. Nothing is downloaded, pickled
    weights are not read, and remote code is never run.

    Raises:
        CheckpointError: the folder cannot be loaded, or its weights are not those of a model of its configuration.
    """
    from glu_prune.pruning.shards import open_shards
    from glu_prune.pruning.width_map import WIDTHS

    folder = Path(folder)
    config = read_config(folder)
    whole = [name for name in open_shards(folder).whole_numbers if name.endswith("weight")]
    if whole and getattr(config, "quantization_config", None) is None:
        msg = (
            f"{folder} holds whole numbers as {whole[0]}, of which config.json says nothing; take the original weights"
        )
        raise CheckpointError(msg)
    kind = model_class(config)
    source = kind if getattr(config, WIDTHS, None) is None else _class_with_widths(kind)
    settings = {"local_files_only": True, "use_safetensors": True, **options, **TELL_ALL}
    try:
        model, found = source.from_pretrained(folder, config=copy.deepcopy(config), **settings)
    except GluPruneError:
        raise
    except Exception as error:  # every family is loaded, and complains, in its own way
        msg = f"{folder} cannot be loaded as {kind.__name__}: {first_line(error)}"
        raise CheckpointError(msg) from error
    model.__class__ = kind
    _refuse_contradiction(folder, model, found)
    return model.eval()


def refuse_contradiction(folder: Path) -> None:
    """Raises `CheckpointError` if the weights in `folder` are not those of a model of its configuration.

    Names and shapes are compared, by transformers' own loader on the meta device; of the weights, only those are read
    that are to be equal. Nothing is compared where there are no weights.
    """
    if any(folder.glob("*.safetensors")):
        with quiet():
            load(folder, device_map="meta")


@contextmanager
def quiet() -> Iterator[None]:
    """Transformers shows no progress inside, and logs errors only."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _refuse_contradiction(folder: Path, model: Any, found: Mapping[str, Any]) -> None:
    """Raises `CheckpointError` unless each tensor of `model` was in the folder, in its shape, and nothing else."""
    kind = f"a {type(model).__name__} of its config.json"
    shapes = {
        name: f"{tuple(weights)}, in {kind} {tuple(wanted)}" for name, weights, wanted in found["mismatched_keys"]
    }
    missing, unexpected = ({*found[f"{how}_keys"]} for how in ("missing", "unexpected"))
    complaints = [
        *(f"{name} is {shapes[name]}{more}" for name, more in _first(shapes)),
        *(f"{kind} has {name}{more}, its weights do not" for name, more in _first(missing)),
        *(f"its weights have {name}{more}, {kind} does not" for name, more in _first(unexpected)),
        *_told_as_tied(folder, model),
    ]
    if not complaints:
        return
    expected = {*model.state_dict()}
    built, stored = map(_last_layer, (expected, expected - missing | unexpected))
    if built != stored:
        complaints.append(f"the layers of config.json are 0 to {built}, those of the weights 0 to {stored}")
    msg = f"{folder} contradicts itself: {'; '.join(complaints)}; correct config.json, or fetch the folder again"
    raise CheckpointError(msg)


def _told_as_tied(folder: Path, model: Any) -> Iterator[str]:
    """Complaints of tensors that config.json ties and the weights hold apart: some loaders keep one, others both."""
    from glu_prune.pruning.shards import open_shards

    shards = open_shards(folder)
    for name, other in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        if not {name, other} <= shards.weight_map.keys():
            continue
        if not shards.read(name).equal(shards.read(other)):
            yield f"config.json has tie_word_embeddings (true, or by default), and {name} is not {other}"


def _first(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The first of `names`, if there is one, and how many are left unnamed."""
    if some := sorted(names):
        yield some[0], f" and {len(some) - 1} more" if len(some) > 1 else ""


def _last_layer(names: Iterable[str]) -> int:
    return max((int(number) for name in names for number in _LAYER.findall(name)), default=0)


def _class_with_widths(kind: Any) -> Any:
    """A class like `kind` whose models are built with the widths in their configuration."""
    # `from_pretrained` compares shapes after building the model and offers no hook in between, so the cut happens in
    # the constructor; `load` sets the stock class afterwards.
    from glu_prune.pruning.surgery import narrow_blocks
    from glu_prune.pruning.width_map import WIDTHS

    def init(self: Any, config: Any, *arguments: Any, **options: Any) -> None:
        kind.__init__(self, config, *arguments, **options)
        if (widths := getattr(config, WIDTHS, None)) is not None:
            narrow_blocks(self, widths)

    return type(kind.__name__, (kind,), {"__init__": init, "__module__": kind.__module__})


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of all files in `folder`, but for those known to have no part in answers.

    So a file that a later transformers reads is in it, too: what is left out is listed, not what is taken.

    Raises:
        CheckpointError: `folder` holds no safetensors weights, or a file of it cannot be read.
    """
    try:
        files = sorted(files_below(folder, _has_no_part), key=lambda path: path.relative_to(folder).as_posix())
    except OSError as error:
        msg = f"{error.filename} cannot be read: {error.strerror}; make it readable, or remove it"
        raise CheckpointError(msg) from error
    if not any(path.suffix == ".safetensors" for path in files):
        msg = f"{folder} holds no .safetensors weights; pickled weights are not read"
        raise CheckpointError(msg)
    digest = hashlib.sha256()
    for path in files:
        name = os.fsencode(path.relative_to(folder).as_posix())
        try:
            content = content_digest(path)
        except OSError as error:
            msg = f"{path} cannot be read: {error.strerror or error}; make it readable, or remove it"
            raise CheckpointError(msg) from error
        digest.update(hashlib.sha256(name).digest() + content)
    return digest.hexdigest()


def _has_no_part(path: Path) -> bool:
    if path.is_dir():  # one with a configuration is a model of its own, such as a pruned one that was written there
        return _matches(path.name, _NO_FOLDER) or (path / "config.json").is_file()
    return _matches(path.name, (*_NO_PART, ".*"))


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
