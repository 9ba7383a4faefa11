"""The command that measures what models cost."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from glu_prune.commands.arguments import Criterion, CriterionSeed, Device, Model, Offline, Revision, WeightsDtype
from glu_prune.commands.terminal import Answer, connections, interruptible, work_shown
from glu_prune.errors import PlanError, StoreError, WorkloadError

if TYPE_CHECKING:
    from glu_prune.api.measuring import Measured
    from glu_prune.efficiency.workload import Workload
    from glu_prune.experiment.cell import Arm
    from glu_prune.models.source import ModelSource
    from glu_prune.results.report import Report

SEVERAL = ("--ratio", "--batch-size")
"""Options that take several values."""


_Ratios = Annotated[
    list[str] | None, typer.Option("--ratio", metavar="RATIO ...", help="Fractions of neurons to remove, as 0.2 0.4.")
]
_Aligned = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=1, help="Beside each ratio, the nearest width that is a multiple of N, such as 8 or 64."
    ),
]
_PromptTokens = Annotated[int | None, typer.Option(metavar="N", help="Of each prompt.", show_default="64")]
_NewTokens = Annotated[int | None, typer.Option(metavar="N", help="Of each answer.", show_default="32")]
_BatchSizes = Annotated[
    list[int] | None, typer.Option("--batch-size", metavar="N ...", help="Prompts at once.", show_default="1 8")
]
_Suite = Annotated[Literal["embedded", "study"] | None, typer.Option(help="The workloads of a suite instead.")]
_Rounds = Annotated[int, typer.Option(metavar="N", help="Turns of every arm.")]
_Window = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Least length.", show_default="what the energy counters here need"),
]
_Processes = Annotated[int, typer.Option(metavar="N", help="Fresh processes per arm and workload for memory; 0: none.")]
_Grid = Annotated[str, typer.Option(metavar="ISO3", help="Country whose CO2 per kWh is assumed.")]
_Store = Annotated[Path | None, typer.Option(metavar="DIR", help="Keep and reuse finished workloads in this store.")]
_Tables = Annotated[Path | None, typer.Option(metavar="DIR", help="Folder for the tables as CSV, Markdown and JSON.")]


def measure(
    model: Model,
    ratios: _Ratios = None,
    aligned: _Aligned = None,
    criterion: Criterion = "ppm",
    seed: CriterionSeed = 0,
    prompt_tokens: _PromptTokens = None,
    new_tokens: _NewTokens = None,
    batch_sizes: _BatchSizes = None,
    suite: _Suite = None,
    rounds: _Rounds = 8,
    window: _Window = None,
    processes: _Processes = 4,
    device: Device = "cpu",
    dtype: WeightsDtype = "float32",
    grid: _Grid = "USA",
    store: _Store = None,
    out: _Tables = None,
    revision: Revision = None,
    offline: Offline = False,
) -> Answer:
    """Measure time, energy and memory, dense and pruned."""
    from glu_prune.api.measuring import arms_of, measured
    from glu_prune.api.running import Told
    from glu_prune.efficiency.effort import Effort
    from glu_prune.experiment.cell import Settings
    from glu_prune.models.source import locate

    arms = arms_of(criterion, seed, ratios or ())
    workloads = _workloads(suite, prompt_tokens, new_tokens, batch_sizes)
    effort = Effort(rounds, window, processes, grid)
    with connections(refused=offline):
        source = locate(model, revision)
        if aligned is not None:
            arms = _beside_aligned(source, arms, aligned)
        if out is not None:
            _refuse_unwritable(out)
        work, say = work_shown()
        with interruptible(lambda: work.snapshot().kept(store) if store else ""):
            found = measured(source, arms, workloads, Settings(dtype, device), effort, store, Told(work, say))
    return _tables(found, out)


def _beside_aligned(source: "ModelSource", arms: "Sequence[Arm]", multiple_of: int) -> "tuple[Arm, ...]":
    """`arms`, each followed by that with the nearest width that is a multiple, from the model's configuration.

    Raises:
        PlanError: no ratio is given, blocks are not all of one width, or there is no such multiple.
    """
    if len(arms) == 1:
        msg = f"--aligned {multiple_of} is about ratios; name some with --ratio"
        raise PlanError(msg)
    from dataclasses import replace

    from glu_prune.commands.pruning import stock_source
    from glu_prune.pruning.alignment import nearest, ratio_of
    from glu_prune.pruning.disk_model import open_disk_model
    from glu_prune.pruning.target import Target

    blocks = open_disk_model(stock_source(source).folder).width_map
    found = [arms[0]]
    for arm in arms[1:]:
        widths = Target(arm.ratio).widths(blocks)
        pairs = {(block.width, widths[block.name]) for block in blocks.blocks}
        if len(pairs) > 1:
            msg = f"--aligned {multiple_of}: blocks of {source.name} have {len(pairs)} widths; name ratios for them"
            raise PlanError(msg)
        ((before, width),) = pairs
        beside = replace(arm, ratio=ratio_of(before, nearest(before, width, multiple_of)))
        found += [arm, beside] if beside.ratio else [arm]
    return tuple(dict.fromkeys(found))


def _tables(found: "Measured", out: Path | None) -> Answer:
    """The tables of all arms, notes on them, and what they were measured on; complete if the files were written."""
    from glu_prune.experiment.machine import machine
    from glu_prune.report import measured as shown_as

    report, settings = found.report, found.settings
    shown = shown_as.text(report)
    notes = [*_written(report, out)] if out is not None else []
    prompts = ", ".join(dict.fromkeys(series.prompts for series in found.series))
    why = f" ({settings.dtype_why})" if settings.dtype_why else ""
    dtype = found.source.dequantized(settings.dtype) or settings.dtype
    here = f"{machine()}; {dtype}{why} on {settings.device}; prompts: {prompts}"
    return Answer("\n\n".join([*shown, *notes, here]), complete=not notes)


def _refuse_unwritable(folder: Path) -> None:
    """Raises `StoreError` before anything long begins if tables cannot be written to `folder`."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        msg = f"{folder} cannot be written: {there} is no folder that may be written to; choose another with --out DIR"
        raise StoreError(msg)


def _written(report: "Report", folder: Path) -> Iterator[str]:
    """Writes the tables; says so if that fails, as what was measured is still to be shown."""
    from glu_prune.report.files import write

    try:
        write(report, folder)
    except OSError as error:
        yield f"tables were not written to {folder}: {error}"


def _workloads(
    suite: str | None, prompt_tokens: int | None, new_tokens: int | None, batch_sizes: Sequence[int] | None
) -> tuple["Workload", ...]:
    """Those of a suite, or those that lengths and batch sizes make."""
    from glu_prune.efficiency.workload import WORKLOADS, drawn

    if suite is None:
        lengths = (64 if prompt_tokens is None else prompt_tokens), (32 if new_tokens is None else new_tokens)
        return tuple(drawn(*lengths, size) for size in dict.fromkeys(batch_sizes or (1, 8)))
    if batch_sizes or prompt_tokens is not None or new_tokens is not None:
        msg = "--suite has sizes of its own; leave out --batch-size, --prompt-tokens and --new-tokens, or --suite"
        raise WorkloadError(msg)
    return WORKLOADS[suite]
