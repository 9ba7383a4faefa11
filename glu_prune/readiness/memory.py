"""Whether models fit into memory."""

from collections.abc import Iterator
from typing import Any

from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.evaluation.memory import Memory, free_memory
from glu_prune.models.source import ModelSource, locate
from glu_prune.readiness.check import CheckResult, Run
from glu_prune.readiness.requirements import RequiredModel
from glu_prune.units import size_of

_SCORED, _WRITTEN = 4096, 2048
"""About the tokens of the longest request: MMLU with five worked examples, and an IFEval prompt with its answer.

A page of WikiText may have four times as many, but they are computed in parts: only their cache is larger.
"""


def memory(required: RequiredModel, run: Run) -> Iterator[CheckResult]:
    """Room for the copies of its weights that are in memory at once, and for answering.

    Batches are halved where they do not fit, so that room for one request at a time is all that must be there. Nothing
    where a backend or accelerate decides where the weights are, or where other rows tell of the model or the device.
    """
    settings = run.settings
    if settings.backend or settings.device_map:
        return
    try:
        source = locate(required.name, required.revision)
        weights = required.copies * weights_in(source, run.dtype)
        least, most = (weights + _answering(source, run, size) for size in (1, settings.batch_size))
        free = free_memory(settings.device)
    except (ModelNotFoundError, CheckpointError, RuntimeError, AssertionError):
        return
    what = f"memory for {required.name}"
    found = f"{size_of(free)} free on {settings.device}"
    copies = f"{required.copies} x weights in {run.dtype}"
    wanted = f"at most {size_of(most)} for {copies} and batches of {settings.batch_size}"
    if free >= most:
        yield CheckResult(what, "ready", f"{found}; {wanted}")
    elif free >= least:
        remedy = "batches are halved where they do not fit; or --glu-batch-size N"
        yield CheckResult(what, "note", f"{found}; {wanted}", remedy)
    else:
        remedy = "close other programs, or take --glu-dtype bfloat16, fewer controls, or a larger machine"
        yield CheckResult(what, "missing", f"{found}; {size_of(least)} even in batches of 1", remedy)


def weights_in(source: ModelSource, dtype: str) -> int:
    """Bytes of the weights once they are loaded in `dtype`.

    Raises:
        CheckpointError: the folder cannot be read.
    """
    import torch

    saved = getattr(source.format.read_config(source.folder), "dtype", None) or "float32"
    itemsize = (saved if isinstance(saved, torch.dtype) else getattr(torch, saved)).itemsize
    return int(source.format.weight_bytes(source.folder) * getattr(torch, dtype).itemsize // itemsize)


def _answering(source: ModelSource, run: Run, batch_size: int) -> int:
    """Bytes beside the weights, at the most; 0 for a model of which that is not known."""
    import torch

    config: Any = source.format.read_config(source.folder).get_text_config()
    room = getattr(config, "max_position_embeddings", None) or _SCORED
    sizes = torch.device(run.settings.device).type, getattr(torch, run.dtype).itemsize
    scoring, writing = (Memory(config, batch_size, min(room, longest), *sizes) for longest in (_SCORED, _WRITTEN))
    try:
        return max(scoring.scoring, writing.generating)
    except AttributeError:
        return 0
