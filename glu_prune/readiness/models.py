"""Whether models are here, whole, and able to do what is asked of them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from glu_prune.errors import (
    CheckpointError,
    EvaluationError,
    ModelNotFoundError,
    PlanError,
    UnsupportedModelError,
    WorkloadError,
    first_line,
)
from glu_prune.models import stock
from glu_prune.models.fetchable import FETCHABLE
from glu_prune.models.source import (
    ModelSource,
    embedded_models,
    has_tokenizer,
    how_to_fetch,
    is_hub_id,
    load_tokenizer,
    locate,
)
from glu_prune.readiness.check import CheckResult, Run
from glu_prune.readiness.requirements import RequiredModel, is_here
from glu_prune.units import size_of


def models(run: Run) -> Iterator[CheckResult]:
    """Every model: its weights and, if tasks are to be answered, its tokenizer."""
    return (model(each, answers=bool(run.requirements.tasks)) for each in run.requirements.models)


def left_out(run: Run) -> Iterator[CheckResult]:
    """Models of the files that a run leaves out."""
    for name in run.requirements.left_out:
        if is_here(name):
            where, remedy = "here", f"--glu-model {name}"
        else:
            where, remedy = "not on this machine", how_to_fetch(name) if is_fetchable(name) else "set the variable"
        found = f"{where}; run only if --glu-model, or here its file, asks for it"
        yield CheckResult(f"left out: {name}", "note", found, remedy)


def model(required: RequiredModel, *, answers: bool = True) -> CheckResult:
    """The weights of one model and, if it `answers` tasks, its tokenizer."""
    what = f"model {required.name}"
    try:
        source = locate(required.name, required.revision)
    except ModelNotFoundError as error:
        remedy = how_to_fetch(required.name, required.revision) if is_fetchable(required.name) else str(error)
        return CheckResult(what, "missing", "not on this machine", remedy)
    remedy = _how_to_complete(required)
    try:
        size = source.format.weight_bytes(source.folder)
    except CheckpointError as error:
        return CheckResult(what, "missing", f"not whole: {error}", remedy)
    if answers and not has_tokenizer(source):
        return CheckResult(what, "missing", f"{source.folder} has no tokenizer", remedy)
    try:
        source.format.refuse_contradiction(source.folder)
        if answers:
            load_tokenizer(source)
    except CheckpointError as error:
        return CheckResult(what, "missing", str(error))
    place = "in this package" if required.name in embedded_models() else str(source.path)
    read = source.dequantized("float32")
    return CheckResult(what, "ready", f"weights ({size_of(size)}{read and f', {read}'}) and tokenizer, {place}")


def located(required: RequiredModel) -> ModelSource | None:
    """Where a model is whose weights are whole; None otherwise: its own row says why."""
    try:
        source = locate(required.name, required.revision)
        source.format.weight_bytes(source.folder)
    except (ModelNotFoundError, CheckpointError):
        return None
    return source


def chat_template(required: RequiredModel, _: Run) -> Iterator[CheckResult]:
    """The chat template, where prompts are put into one."""
    if not required.chat_template or (source := located(required)) is None or not has_tokenizer(source):
        return
    from glu_prune.evaluation.chat import ChatTemplate

    what = f"chat template of {required.name}"
    try:
        ChatTemplate(source)
    except (EvaluationError, CheckpointError) as error:
        yield CheckResult(what, "missing", str(error))
    else:
        yield CheckResult(what, "ready", "beside its tokenizer")


def positions(required: RequiredModel, _: Run) -> Iterator[CheckResult]:
    """Whether the longest workload on which costs are measured fits into the model's context."""
    if not required.workloads or (source := located(required)) is None:
        return
    from glu_prune.efficiency.benchmark import refuse_too_long

    what, config = f"context of {required.name}", source.format.read_config(source.folder)
    try:
        for each in required.workloads:
            refuse_too_long(required.name, config, each)
    except WorkloadError as error:
        yield CheckResult(what, "missing", str(error))
    else:
        yield CheckResult(what, "ready", f"holds the prompts and answers of {len(required.workloads)} workloads")


def attention(required: RequiredModel, run: Run) -> Iterator[CheckResult]:
    """Whether transformers has the implementation of attention for this model."""
    name = run.settings.attention
    if not name or (source := located(required)) is None:
        return
    import torch
    from transformers import AutoModelForCausalLM

    what = f"attention {name} for {required.name}"
    if (found := source.format) is not stock:
        remedy = "`glu-prune convert` makes a stock one"
        yield CheckResult(what, "missing", f"a {found.NAME} has one implementation only", remedy)
        return
    try:
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(found.read_config(source.folder), attn_implementation=name)
    except (ValueError, ImportError) as error:
        remedy = "leave out --glu-attention for what transformers chooses"
        yield CheckResult(what, "missing", first_line(error), remedy)
    else:
        yield CheckResult(what, "ready", "in transformers")


def pruning(required: RequiredModel, run: Run) -> Iterator[CheckResult]:
    """Whether a model can be pruned as is asked; each criterion is tried on the first block.

    Nothing where weights cannot be followed from disk, and only loading the model tells.
    """
    if not required.arms or (source := located(required)) is None:
        return
    what = f"pruning of {required.name}"
    try:
        _try_pruning(source, required, run.dtype)
    except CheckpointError:
        return
    except (PlanError, UnsupportedModelError) as error:
        yield CheckResult(what, "missing", str(error))
    else:
        criteria = ", ".join(sorted({str(arm.criterion) for arm in required.arms}))
        yield CheckResult(what, "ready", f"tried on its first block: {criteria}")


def _try_pruning(source: ModelSource, required: RequiredModel, dtype: str) -> None:
    import torch

    from glu_prune.models.source import load_tokenizer
    from glu_prune.pruning.calibration import token_rows
    from glu_prune.pruning.criteria import Activations, criterion
    from glu_prune.pruning.disk_model import open_disk_model, read_blocks
    from glu_prune.pruning.glu_block import GluWeights
    from glu_prune.pruning.ranking import rank_block, staying
    from glu_prune.pruning.target import Target

    opened = open_disk_model(source.folder)
    for aim in dict.fromkeys(arm.aim for arm in required.arms):
        # Scores, too, take the whole model; any allocation starts from widths that are alike.
        replace(Target.of(aim), by_score=False).widths(opened.width_map)
    name, saved = next(read_blocks(opened))
    cast = GluWeights(*(part.to(getattr(torch, dtype)) for part in (saved.gate, saved.up, saved.down)))
    if texts := dict.fromkeys(arm.calibration for arm in required.arms if arm.calibration is not None):
        tokenizer = load_tokenizer(source)
        for text in texts:
            token_rows(tokenizer, text)
    # Calibration takes a pass of the whole model; that a formula can be computed shows with any activations.
    seen = Activations(*(torch.ones(len(cast.gate)),) * 3)
    for called, seed in dict.fromkeys((str(arm.criterion), arm.seed) for arm in required.arms):
        how = criterion(called)
        staying(how, opened.width_map)
        rank_block(name, cast, how, seed, seen if how.looks_at == "activations" else None)


def from_hub(name: str) -> bool:
    """Whether the hub may have a model of that name, and no folder or file has it."""
    return is_hub_id(name) and not Path(name).exists()


def is_fetchable(name: str) -> bool:
    """Whether a command fetches a model of that name."""
    return name in FETCHABLE or from_hub(name)


def _how_to_complete(required: RequiredModel) -> str:
    if is_fetchable(required.name):
        return how_to_fetch(required.name, required.revision)
    return "complete the folder, as transformers' save_pretrained writes it"
