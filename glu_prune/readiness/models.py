"""Whether models are here, whole, and fit into memory."""

from pathlib import Path
from typing import Any

from glu_prune.errors import CheckpointError, ModelNotFoundError, PlanError, UnsupportedModelError, first_line
from glu_prune.evaluation.memory import Memory
from glu_prune.experiment.cell import Settings
from glu_prune.models.llama2c import is_llama2c
from glu_prune.models.source import ModelSource, embedded_models, has_tokenizer, how_to_fetch, locate, on_hub
from glu_prune.readiness.asked import Model
from glu_prune.readiness.need import Need, size_of

_SCORED, _WRITTEN = 4096, 2048
"""About the tokens of the longest request: MMLU with five worked examples, and an IFEval prompt with its answer.

A page of WikiText may have four times as many, but they are computed in parts: only their cache is larger.
"""


def model(asked: Model, *, answers: bool = True) -> Need:
    """Its weights and, if it `answers` tasks, its tokenizer."""
    what = f"model {asked.name}"
    try:
        source = locate(asked.name, asked.revision)
    except ModelNotFoundError as error:
        remedy = how_to_fetch(asked.name, asked.revision) if from_hub(asked.name) else str(error)
        return Need(what, "missing", "not on this machine", remedy)
    again = _again(asked)
    try:
        size = _bytes(source)
    except CheckpointError as error:
        return Need(what, "missing", f"not whole: {error}", again)
    if answers and not has_tokenizer(source):
        return Need(what, "missing", f"{source.folder} has no tokenizer", again)
    place = "in this package" if asked.name in embedded_models() else str(source.folder)
    return Need(what, "ready", f"weights ({size_of(size)}) and tokenizer, {place}")


def attention(asked: Model, name: str) -> Need:
    """Whether transformers has this implementation of attention for a model that is here."""
    import torch
    from transformers import AutoModelForCausalLM

    from glu_prune.pruning.checkpoint import read_config

    what = f"attention {name} for {asked.name}"
    folder = locate(asked.name, asked.revision).folder
    if is_llama2c(folder):
        return Need(what, "missing", "a llama2.c checkpoint has one way only", "`glu-prune convert` makes a stock one")
    try:
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(read_config(folder), attn_implementation=name)
    except (ValueError, ImportError) as error:
        return Need(what, "missing", first_line(error), "leave out --glu-attention for what transformers chooses")
    return Need(what, "ready", "in transformers")


def pruning(asked: Model, dtype: str) -> Need | None:
    """Whether a model that is here can be pruned as is asked; each criterion is tried on the first block.

    None where weights cannot be followed from disk, and only loading the model tells.
    """
    import torch

    from glu_prune.pruning.criteria import criterion
    from glu_prune.pruning.disk_model import open_disk_model, read_blocks
    from glu_prune.pruning.glu_block import GluWeights
    from glu_prune.pruning.plan import rank_block
    from glu_prune.pruning.target import Target

    what = f"pruning of {asked.name}"
    try:
        opened = open_disk_model(locate(asked.name, asked.revision).folder)
        for ratio in dict.fromkeys(arm.ratio for arm in asked.arms):
            Target.of(ratio).widths(opened.width_map)
        name, saved = next(read_blocks(opened))
        cast = GluWeights(*(part.to(getattr(torch, dtype)) for part in (saved.gate, saved.up, saved.down)))
        for how, seed in dict.fromkeys((str(arm.criterion), arm.seed) for arm in asked.arms):
            rank_block(name, cast, criterion(how), seed, None)
    except CheckpointError:
        return None
    except (PlanError, UnsupportedModelError) as error:
        return Need(what, "missing", str(error))
    return Need(what, "ready", f"{len(asked.arms)} ways")


def from_hub(name: str) -> bool:
    """Whether the hub may have a model of that name, and no folder has it."""
    return on_hub(name) and not Path(name).is_dir()


def _again(asked: Model) -> str:
    if from_hub(asked.name):
        return how_to_fetch(asked.name, asked.revision)
    return "complete the folder, as transformers' save_pretrained writes it"


def _bytes(source: ModelSource) -> int:
    """Of the weights on disk; their headers are read, and the configuration.

    Raises:
        CheckpointError: the folder lacks either, or they cannot be read.
    """
    from glu_prune.pruning.checkpoint import read_config
    from glu_prune.pruning.shards import open_shards

    if is_llama2c(source.folder):
        return sum(path.stat().st_size for path in source.folder.glob("*.bin"))
    read_config(source.folder)
    return open_shards(source.folder).nbytes


def memory(asked: Model, settings: Settings) -> Need | None:
    """Room for the copies of its weights that are in memory at once, and for answering; None if it is not here.

    Batches are halved where they do not fit, so that room for one request at a time is all that must be there.
    """
    try:
        source = locate(asked.name, asked.revision)
        weights = asked.copies * weights_in(source, settings.dtype)
        least, most = (weights + _answering(source, settings, size) for size in (1, settings.batch_size))
        free = free_memory(settings.device)
    except (ModelNotFoundError, CheckpointError, RuntimeError, AssertionError):
        return None  # another row says what is wrong with the model or the device
    what = f"memory for {asked.name}"
    found = f"{size_of(free)} free on {settings.device}"
    copies = f"{asked.copies} x weights in {settings.dtype}"
    wants = f"at most {size_of(most)} for {copies} and batches of {settings.batch_size}"
    if free >= most:
        return Need(what, "ready", f"{found}; {wants}")
    if free >= least:
        return Need(
            what, "note", f"{found}; {wants}", "batches are halved where they do not fit; or --glu-batch-size N"
        )
    return Need(
        what,
        "missing",
        f"{found}; {size_of(least)} even in batches of 1",
        "close other programs, or take --glu-dtype bfloat16, fewer controls, or a larger machine",
    )


def weights_in(source: ModelSource, dtype: str) -> int:
    """Bytes of the weights once they are loaded in `dtype`.

    Raises:
        CheckpointError: the folder cannot be read.
    """
    import torch

    from glu_prune.pruning.checkpoint import read_config

    saved = "float32" if is_llama2c(source.folder) else getattr(read_config(source.folder), "dtype", None) or "float32"
    itemsize = (saved if isinstance(saved, torch.dtype) else getattr(torch, saved)).itemsize
    return int(_bytes(source) * getattr(torch, dtype).itemsize // itemsize)


def _answering(source: ModelSource, settings: Settings, batch_size: int) -> int:
    """Bytes beside the weights, at the most; 0 for a model of which that is not known."""
    import torch

    from glu_prune.pruning.checkpoint import read_config

    if is_llama2c(source.folder):
        return 0
    config: Any = read_config(source.folder).get_text_config()
    room = getattr(config, "max_position_embeddings", None) or _SCORED
    sizes = torch.device(settings.device).type, getattr(torch, settings.dtype).itemsize
    scoring, writing = (Memory(config, batch_size, min(room, longest), *sizes) for longest in (_SCORED, _WRITTEN))
    try:
        return max(scoring.scoring, writing.generating)
    except AttributeError:
        return 0


def free_memory(device: str) -> int:
    """Bytes that are free on `device`; of a processor, as far as this process may use them.

    Raises:
        RuntimeError, AssertionError: torch cannot use it.
    """
    import psutil
    import torch

    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = int(psutil.virtual_memory().available)
    return min((free, *_container()))


def _container(group: Path = Path("/sys/fs/cgroup")) -> tuple[int, ...]:
    """What a container still has of its memory, which the system's own figures do not tell; nothing without a limit."""
    try:
        limit, used = ((group / name).read_text().strip() for name in ("memory.max", "memory.current"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except OSError:
        return ()
    cached = int(counts.get("inactive_file", 0))  # given back as soon as it is wanted
    return (int(limit) - int(used) + cached,) if limit.isdecimal() else ()
