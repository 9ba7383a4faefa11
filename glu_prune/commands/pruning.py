"""Commands that plan and remove neurons."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glu_prune.commands.arguments import (
    Allocation,
    Calibration,
    CalibrationTokens,
    Criterion,
    CriterionSeed,
    Engine,
    ExpansionRatio,
    LayerRatio,
    Model,
    MultipleOf,
    NewFolder,
    Offline,
    Ratio,
    Revision,
    Skip,
    Width,
)
from glu_prune.commands.parsing import refuse_beside
from glu_prune.commands.terminal import Answer, connections, interruptible, progress
from glu_prune.errors import CheckpointError, PlanError, shown
from glu_prune.pruning.allocation import BY_SCORE, UNIFORM
from glu_prune.units import whole

if TYPE_CHECKING:
    from glu_prune.models.source import ModelSource
    from glu_prune.pruning.calibration_text import CalibrationText
    from glu_prune.pruning.criteria import Activations
    from glu_prune.pruning.plan import BlockPlan
    from glu_prune.pruning.target import Target

_Plan = Annotated[Path | None, typer.Option(metavar="FILE", help="Apply this plan instead of ranking.")]
_PadToUniform = Annotated[
    bool,
    typer.Option(
        "--pad-to-uniform", help="Fill unequal widths up with neurons of zeros, so that stock loaders read the result."
    ),
]

_BESIDE_A_PLAN = ("model", "out", "plan", "pad_to_uniform", "revision", "offline")
"""What a plan does not say."""
_TiesOf = Annotated[
    str | None, typer.Option("--criterion", metavar="NAME", help="Read the weights, too, and count ties at the cut.")
]


def plan(
    model: Model,
    ratio: Ratio = None,
    expansion_ratio: ExpansionRatio = None,
    width: Width = None,
    multiple_of: MultipleOf = None,
    layer_ratio: LayerRatio = None,
    skip: Skip = None,
    engine: Engine = None,
    criterion: _TiesOf = None,
    seed: CriterionSeed = 0,
    revision: Revision = None,
    offline: Offline = False,
) -> Answer:
    """Show what a target means for a model.

    From its configuration; weights are read only to count ties.
    """
    target = _target(ratio, expansion_ratio, width, multiple_of, layer_ratio or (), skip or ())
    from glu_prune.models.source import locate
    from glu_prune.pruning.disk_model import open_disk_model  # takes seconds, and a mistyped target is told at once
    from glu_prune.pruning.disk_pruning import rank_on_disk
    from glu_prune.report.sizes import sizes

    with connections(refused=offline):
        source = stock_source(locate(model, revision))
        checkpoint = open_disk_model(source.folder)
        shown = "\n".join([sizes(checkpoint, target, engine), *_dequantized(source)])
        if criterion is None:
            return Answer(shown)
        with interruptible(), progress("ranking") as step:
            chosen = rank_on_disk(checkpoint, criterion, seed, progress=step).plan(target)
    return Answer(f"{shown}\n{chosen.criterion}: {chosen.about_ties or 'no ties at the cut'}")


def prune(
    ctx: typer.Context,
    model: Model,
    out: NewFolder,
    ratio: Ratio = None,
    expansion_ratio: ExpansionRatio = None,
    width: Width = None,
    multiple_of: MultipleOf = None,
    layer_ratio: LayerRatio = None,
    skip: Skip = None,
    allocation: Allocation = UNIFORM,
    criterion: Criterion = "ppm",
    seed: CriterionSeed = 0,
    calibration: Calibration = None,
    calibration_tokens: CalibrationTokens = None,
    plan: _Plan = None,
    pad_to_uniform: _PadToUniform = False,
    revision: Revision = None,
    offline: Offline = False,
) -> Answer:
    """Remove neurons from a model, into a new folder."""
    from glu_prune.clean import one_line
    from glu_prune.models.source import locate
    from glu_prune.pruning.checkpoint import refuse_existing
    from glu_prune.pruning.disk_model import open_disk_model
    from glu_prune.pruning.disk_pruning import rank_on_disk, verify_plan, write_pruned
    from glu_prune.pruning.plan import PruningPlan
    from glu_prune.pruning.target import unaligned_experts
    from glu_prune.report.card import pruned_card

    if plan is not None:
        refuse_beside(ctx, "--plan", _BESIDE_A_PLAN)
    with connections(refused=offline), interruptible():
        refuse_existing(out)
        text = _text(criterion, calibration, calibration_tokens, seed)
        given, target = None if plan is None else PruningPlan.read(plan), None
        if given is None:
            target = _target(ratio, expansion_ratio, width, multiple_of, layer_ratio or (), skip or ())
            target = _allocated(target, allocation, criterion)
        source = stock_source(locate(model, revision))
        checkpoint = open_disk_model(source.folder)
        if given is None:
            seen = activations(source, text) if text else None
            with progress("ranking") as step:
                chosen = rank_on_disk(checkpoint, criterion, seed, seen, step).plan(target)
        else:
            chosen = given
            with progress("checking") as step:
                verify_plan(checkpoint, chosen, step)
        with progress("writing") as step:
            card = pruned_card(source, checkpoint, chosen)
            written = write_pruned(checkpoint, chosen, out, pad_to_uniform=pad_to_uniform, card=card, progress=step)
    done = f"{one_line(model)} -> {one_line(str(out))}: {chosen.criterion} at {chosen.target} {_kept(chosen.blocks)}"
    notes = filter(None, (chosen.about_ties, unaligned_experts(checkpoint.width_map, written), *_dequantized(source)))
    return Answer("\n".join([done, *(f"note: {note}" for note in notes)]))


def stock_source(source: "ModelSource") -> "ModelSource":
    """`source`, which must be a stock checkpoint; raises `CheckpointError` if it has another format."""
    from glu_prune.models import stock

    if (found := source.format) is not stock:
        msg = f"{source.path} is a {found.NAME}; `glu-prune convert {source.path} --out DIR` makes a stock one"
        raise CheckpointError(msg)
    return source


def _dequantized(source: "ModelSource") -> list[str]:
    """What is to be known of weights that come from a GGUF file."""
    read = source.dequantized("float32")
    return [f"weights are those of a GGUF file, dequantised: {read}"] if read else []


def _kept(blocks: "Sequence[BlockPlan]") -> str:
    """`keeps 320 of 640 neurons in each of 5 GLU blocks`, or the range where blocks differ."""
    pairs = {(block.width, len(block.kept)) for block in blocks}
    if len(pairs) == 1:
        ((width, kept),) = pairs
        return f"keeps {kept} of {width} neurons in each of {len(blocks)} GLU blocks"
    before, after = sum(block.width for block in blocks), sum(len(block.kept) for block in blocks)
    return f"keeps {after} of {before} neurons in {len(blocks)} GLU blocks of {len(pairs)} kinds"


def _target(
    ratio: str | None,
    expansion_ratio: str | None,
    width: str | None,
    multiple_of: str | None,
    layer_ratios: Sequence[str],
    skip: Sequence[str],
) -> "Target":
    from glu_prune.pruning.target import Target

    return Target.of(
        ratio,
        expansion_ratio=expansion_ratio,
        width=width,
        multiple_of=multiple_of,
        layer_ratios=_layer_ratios(layer_ratios),
        skip=[text if (number := whole(text)) is None else number for text in skip],
    )


def _allocated(target: "Target", how: str, criterion: str) -> "Target":
    """`target`, and how neurons are allocated to layers; raises `PlanError` for what does not go together."""
    from glu_prune.pruning.sensitivity import Sensitivity

    if how == UNIFORM:
        return target
    if target.layer_ratios:
        msg = "--layer-ratio gives layers a ratio of their own, and --allocation allocates neurons to them; give one"
        raise PlanError(msg)
    if how != BY_SCORE and (found := Sensitivity.read(Path(how)).criterion) != criterion:
        msg = f"{how} is about criterion {found}, and --criterion is {criterion}; measure it by that"
        raise PlanError(msg)
    return target.allocating(how)


def _layer_ratios(texts: Sequence[str]) -> dict[int, str]:
    found: dict[int, str] = {}
    for layer, ratio in map(_layer_ratio, texts):
        if layer in found:
            msg = f"--layer-ratio gives layer {layer} the ratios {shown(found[layer])} and {shown(ratio)}; give it one"
            raise PlanError(msg)
        found[layer] = ratio
    return found


def _layer_ratio(text: str) -> tuple[int, str]:
    layer, equals, ratio = text.partition("=")
    if not equals or (number := whole(layer)) is None:
        allowed = "write LAYER=RATIO, such as 0=0.1, or -1=0.1 for the last layer"
        msg = f"--layer-ratio {shown(text)} is not allowed; {allowed}"
        raise PlanError(msg)
    return number, ratio


def _text(criterion: str, calibration: Path | None, tokens: int | None, seed: int) -> "CalibrationText | None":
    """What a criterion is shown, if it looks at activations.

    Raises:
        PlanError: there is no such criterion; text is given to one that looks at none, or none to one that does; or a
            number of tokens is given without text.
    """
    from glu_prune.pruning.calibration_text import CalibrationText, text_file
    from glu_prune.pruning.criteria import criterion as criterion_called

    looks_at = criterion_called(criterion).looks_at
    if calibration is not None and looks_at != "activations":
        msg = f"criterion {criterion} looks at {looks_at}, not at text; leave out --calibration"
        raise PlanError(msg)
    if calibration is not None:
        return CalibrationText(text_file(str(calibration), Path.cwd()), tokens, seed if tokens else 0)
    if tokens is not None:
        msg = "--calibration-tokens is about the text of --calibration FILE; give both"
        raise PlanError(msg)
    if looks_at == "activations":
        msg = f"criterion {criterion} looks at activations; give it text with --calibration FILE, or `everyday`"
        raise PlanError(msg)
    return None


def activations(source: "ModelSource", text: "CalibrationText") -> "dict[str, Activations]":
    """What neurons put out on calibration text, for which the whole model is in memory."""
    from glu_prune.evaluation.third_party import muted
    from glu_prune.models.source import load
    from glu_prune.pruning.calibration import measure_on

    with muted():
        return measure_on(*load(source, "auto", "cpu"), text)
