"""The command that measures what cutting each layer alone does."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from glu_prune.commands.arguments import (
    Calibration,
    CalibrationTokens,
    Criterion,
    CriterionSeed,
    Model,
    Offline,
    Revision,
)
from glu_prune.commands.terminal import Answer, connections, interruptible, work_shown
from glu_prune.errors import PlanError


def sensitivity(
    model: Model,
    out: Annotated[Path, typer.Option(metavar="FILE", help="The new file, which an arm's `allocation` names.")],
    criterion: Criterion = "ppm",
    seed: CriterionSeed = 0,
    calibration: Calibration = Path("everyday"),
    calibration_tokens: CalibrationTokens = None,
    ratios: Annotated[
        str, typer.Option(metavar="A,B,C", help="Of the neurons of one layer; between them straight lines are taken.")
    ] = "0.05,0.1,0.25,0.5,0.75",
    revision: Revision = None,
    offline: Offline = False,
) -> Answer:
    """Measure what a cut of each single layer costs.

    That is, how much worse the model then predicts text: to allocate neurons by.
    """
    from glu_prune.experiment.layers import sensitivity_of
    from glu_prune.files import write_whole
    from glu_prune.models.source import locate
    from glu_prune.pruning.calibration_text import CalibrationText, text_file
    from glu_prune.pruning.criteria import criterion as criterion_called

    shares = _ratios(ratios)
    how = criterion_called(criterion)
    file = text_file(str(calibration), Path.cwd())
    text = CalibrationText(file, calibration_tokens, seed if calibration_tokens else 0)
    if not out.absolute().parent.is_dir():
        msg = f"{out} cannot be written: there is no folder {out.parent}"
        raise PlanError(msg)
    work, _ = work_shown()
    with connections(refused=offline), interruptible(), work.running(f"layers of {model}"):
        source = locate(model, revision)
        found = sensitivity_of(source, how.name, seed, text, shares, lambda done, total: work.step("cuts", done, total))
    write_whole(out, found.to_json())
    worst = sorted(found.curves, key=lambda each: -each[1][-1][1])
    shown = ", ".join(f"{layer} ({curve[-1][1]:.3g})" for layer, curve in worst[:3])
    return Answer(
        f"{out}: {len(found.curves)} layers of {model} at {len(shares)} ratios, KL to the dense model over "
        f"{int(dict(found.about)['tokens']):,} tokens; most sensitive at {shares[-1]}: {shown} nats per token"
    )


def _ratios(text: str) -> list[Decimal]:
    from glu_prune.pruning.ratio import parse_ratio

    found = sorted({parse_ratio(each.strip()) for each in text.split(",") if each.strip()} - {Decimal(0)})
    if not found:
        msg = f"--ratios {text!r} names none above 0; write some, as 0.1,0.25,0.5"
        raise PlanError(msg)
    return found
