"""Commands that plan and remove neurons."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.commands.terminal import interruptible, progress
from glu_prune.errors import CheckpointError, PlanError, shown
from glu_prune.units import whole

if TYPE_CHECKING:
    from glu_prune.models.source import ModelSource
    from glu_prune.pruning.disk_model import DiskModel
    from glu_prune.pruning.target import Target

_MOST_TOKENS = 2048
"""Of a line of calibration text."""
_ALIGNED = 16
"""Bytes of which the rows of grouped matrix kernels must be a multiple."""


def plan(options: argparse.Namespace) -> str:
    """What a target means for a model, from its configuration alone."""
    from glu_prune.pruning.disk_model import open_disk_model
    from glu_prune.report.sizes import sizes

    checkpoint = open_disk_model(_locate(options).folder)
    return sizes(checkpoint, _target(options).widths(checkpoint.width_map))


def prune(options: argparse.Namespace) -> str:
    """A pruned model in a new folder, by a plan that is given or made here."""
    from glu_prune.pruning.checkpoint import refuse_existing
    from glu_prune.pruning.criteria import criterion
    from glu_prune.pruning.disk_model import open_disk_model
    from glu_prune.pruning.disk_pruning import rank_on_disk, verify_plan, write_pruned
    from glu_prune.pruning.plan import PruningPlan

    refuse_existing(options.out)
    how = criterion(options.criterion)
    given = None if options.plan is None else PruningPlan.read(options.plan)
    target = None if given is not None else _target(options)
    source = _locate(options)
    checkpoint = open_disk_model(source.folder)
    with interruptible():
        if given is not None:
            with progress("checking") as step:
                verify_plan(checkpoint, given, step)
            plan = given
        else:
            activations = _calibrated(options, source) if how.looks_at == "activations" else None
            with progress("ranking") as step:
                ranking = rank_on_disk(checkpoint, options.criterion, options.seed, activations, step)
            plan = ranking.plan(target)
        with progress("writing") as step:
            write_pruned(
                checkpoint,
                plan,
                options.out,
                pad_to_uniform=options.pad_to_uniform,
                name=options.model,
                progress=step,
            )
    note = _awkward_experts(checkpoint, plan.widths)
    return f"{options.model} -> {options.out}: {plan.criterion} at {plan.target} {_kept(plan.blocks)}{note}"


def _locate(options: argparse.Namespace) -> "ModelSource":
    from glu_prune.models.llama2c import is_llama2c
    from glu_prune.models.source import locate

    source = locate(options.model, options.revision)
    if is_llama2c(source.folder):
        msg = (
            f"{source.folder} is a llama2.c checkpoint; `glu-prune convert {source.folder} --out DIR` makes a stock one"
        )
        raise CheckpointError(msg)
    return source


def _awkward_experts(checkpoint: "DiskModel", widths: Mapping[str, int]) -> str:
    """A warning if experts end up with widths on which transformers' grouped kernels crash."""
    stacked = [block for block in checkpoint.width_map.blocks if block.down.expert is not None]
    size = checkpoint.dtype.itemsize
    if all(widths[block.name] * size % _ALIGNED == 0 for block in stacked):
        return ""
    return (
        f"\nnote: the width of its experts is no multiple of {_ALIGNED} bytes, on which transformers' grouped kernels "
        f'crash; load it with experts_implementation="eager", or prune with --multiple-of {_ALIGNED // size}'
    )


def _kept(blocks: Any) -> str:
    """`keeps 320 of 640 neurons in each of 5 GLU blocks`, or the range where blocks differ."""
    pairs = {(block.width, len(block.kept)) for block in blocks}
    if len(pairs) == 1:
        ((width, kept),) = pairs
        return f"keeps {kept} of {width} neurons in each of {len(blocks)} GLU blocks"
    before, after = sum(block.width for block in blocks), sum(len(block.kept) for block in blocks)
    return f"keeps {after} of {before} neurons in {len(blocks)} GLU blocks of {len(pairs)} kinds"


def _target(options: argparse.Namespace) -> "Target":
    from glu_prune.pruning.target import Target

    return Target.of(
        options.ratio,
        expansion_ratio=options.expansion_ratio,
        width=options.width,
        multiple_of=options.multiple_of,
        layer_ratios=dict(_layer_ratio(text) for text in options.layer_ratio),
        skip=[text if (number := whole(text)) is None else number for text in options.skip],
    )


def _layer_ratio(text: str) -> tuple[int, str]:
    layer, equals, ratio = text.partition("=")
    if not equals or (number := whole(layer)) is None:
        allowed = "write LAYER=RATIO, such as 0=0.1, or -1=0.1 for the last layer"
        msg = f"--layer-ratio {shown(text)} is not allowed; {allowed}"
        raise PlanError(msg)
    return number, ratio


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read: {error}"
        raise PlanError(msg) from error


def _calibrated(options: argparse.Namespace, source: Any) -> Any:
    """Activation norms on the lines of the calibration file; the whole model is in memory while they are taken."""
    from glu_prune.models.source import load
    from glu_prune.pruning.calibration import measure

    if options.calibration is None:
        msg = f"criterion {options.criterion} looks at activations; give it text with --calibration FILE, one per line"
        raise PlanError(msg)
    lines = [line for line in _read(options.calibration).splitlines() if line.strip()]
    model, tokenizer = load(source, "auto", "cpu")
    return measure(model, [tokenizer(line).input_ids[:_MOST_TOKENS] for line in lines])
