"""From a model to the cost of a workload: the code that measurements depend on, and whatever it imports."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.efficiency.benchmark import measure
from glu_prune.efficiency.series import REPLICATE
from glu_prune.efficiency.workload import prompts
from glu_prune.errors import WorkloadError
from glu_prune.evaluation.third_party import muted
from glu_prune.experiment.cell import DENSE, Arm, SeriesCell
from glu_prune.experiment.code import MEASURING, code_fingerprint, library_versions
from glu_prune.experiment.cost_record import SeriesRecord
from glu_prune.experiment.executors.arms import Arms, dequantized
from glu_prune.experiment.machine import accelerator, machine
from glu_prune.models.source import has_tokenizer

if TYPE_CHECKING:
    from glu_prune.efficiency.benchmark import Steps
    from glu_prune.efficiency.fresh import FreshProcesses
    from glu_prune.efficiency.meter import Meter


def series_of(
    cell: SeriesCell, arms: Arms, meter: "Meter", processes: "FreshProcesses", scratch: Path, steps: "Steps"
) -> SeriesRecord:
    """What the arms of `cell` cost on this machine, measured while nothing else is.

    Memory is measured in `processes`, of models that are saved below `scratch`; `steps` is told after every round.

    Raises:
        MeterError: a reading cannot be true.
        WorkloadError: the model cannot be asked that, or there is too little memory or disk.
        GluPruneError: the model cannot be loaded or pruned.
    """
    with muted():
        encode = arms.encode if has_tokenizer(cell.source) else None
        asked = prompts(cell.workload, arms.model.get_input_embeddings().num_embeddings, encode)
        try:
            series = measure(
                side_by_side(arms, cell.arms),
                asked,
                meter,
                cell.effort,
                processes=processes,
                scratch=scratch,
                progress=steps,
            )
        except (RuntimeError, OSError) as error:
            what = (str(error) or repr(error)).splitlines()[0]
            msg = (
                f"{cell}: {what}; if memory ran out: all arms are held at once, so take fewer ratios, a smaller batch "
                f"or dtype; if the disk is full: a model is saved to {scratch} while its memory is measured"
            )
            raise WorkloadError(msg) from error
    kind = accelerator(cell.settings)
    return SeriesRecord(
        key=cell.key,
        model=cell.source.name,
        settings={
            **cell.settings.facts,
            **({"accelerator": kind} if kind else {}),
            **dequantized(cell.source, cell.settings),
        },
        versions=library_versions(),
        machine=machine(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        code=code_fingerprint(MEASURING),
        series=series,
    )


def side_by_side(arms: Arms, chosen: Sequence[Arm]) -> dict[str, Any]:
    """Label to model of all `chosen` arms at once, of which the first is dense.

    Where there is more than one, they include a copy of the dense model that went the way of the others: copies lie
    elsewhere in memory than what was loaded from a file, which can cost or save time by itself.

    Raises:
        EvaluationError: one is a model of its own, whose tokens are others.
    """
    arms.release()
    first, *pruned = chosen
    models = {first.label: arms.model, **{arm.label: arms.copy(arm) for arm in pruned}}
    if pruned:
        models[REPLICATE] = arms.copy(_uncut(pruned))
    return models


def _uncut(pruned: Sequence[Arm]) -> Arm:
    """The first that is cut, but that all of its neurons stay; where none is, the dense model."""
    cut = next((arm for arm in pruned if arm.criterion is not None), DENSE)
    return replace(cut, ratio=Decimal(0), target=None, adapter=None)
