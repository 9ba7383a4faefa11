"""The command that measures what models cost."""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.commands.terminal import interruptible, rounds
from glu_prune.errors import PlanError, StoreError, WorkloadError

if TYPE_CHECKING:
    from glu_prune.efficiency.workload import Workload
    from glu_prune.results.report import Report


def measure(options: argparse.Namespace) -> str:
    """What a model costs, dense and pruned: tables, and what they were measured on."""
    import tempfile

    from glu_prune.efficiency.benchmark import Effort
    from glu_prune.efficiency.tracking import CodeCarbonMeter
    from glu_prune.experiment.cell import DENSE, Arm, SeriesCell, Settings
    from glu_prune.experiment.engine import Engine
    from glu_prune.experiment.machine import machine
    from glu_prune.experiment.store import Store
    from glu_prune.judgement.conclusion import conclude
    from glu_prune.judgement.cost_runs import findings
    from glu_prune.judgement.cost_tables import cost_tables
    from glu_prune.models.source import locate
    from glu_prune.pruning.criteria import criterion
    from glu_prune.pruning.ratio import parse_ratio
    from glu_prune.report.formats import terminal

    how = criterion(options.criterion)
    if how.looks_at == "activations":
        msg = f"criterion {how.name} needs calibration text; cost does not depend on which neurons go, so take another"
        raise PlanError(msg)
    pruned = [Arm(how.name, parse_ratio(text), options.seed) for text in options.ratio]
    arms = tuple(dict.fromkeys((DENSE, *(arm for arm in pruned if arm.ratio))))
    workloads = _workloads(options)
    effort = Effort(options.rounds, options.window, options.processes, options.grid)
    source, settings = locate(options.model, options.revision), Settings(options.dtype, options.device)
    if options.out is not None:
        _refuse_unwritable(options.out)
    with interruptible(), tempfile.TemporaryDirectory(prefix="glu-prune-") as scratch, rounds() as (steps, say):
        engine = Engine(Store(options.store or Path(scratch)), CodeCarbonMeter(options.grid), say, steps)
        cells = [SeriesCell(source, arms, each, settings, effort) for each in workloads]
        for cell in cells:
            engine.check(cell)
        measured = [engine.series(cell).series for cell in cells]
    abouts = [(options.model, arm.ratio, measured, arm.label) for arm in arms[1:] or arms]
    report = conclude([cost_tables(*about, findings(*about)) for about in abouts])
    shown = terminal.text(report)
    notes = [*(_written(report, options.out) if options.out is not None else ())]
    asked = ", ".join(dict.fromkeys(series.prompts for series in measured))
    here = f"{machine()}; {options.dtype} on {options.device}; prompts: {asked}"
    return "\n\n".join([*shown, *notes, here])


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


def _workloads(options: argparse.Namespace) -> tuple["Workload", ...]:
    """Those of a suite, or those that lengths and batch sizes make."""
    from glu_prune.efficiency.workload import WORKLOADS, drawn

    sizes = options.batch_size, options.prompt_tokens, options.new_tokens
    if options.suite is None:
        prompt_tokens, new_tokens = (64 if sizes[1] is None else sizes[1]), (32 if sizes[2] is None else sizes[2])
        return tuple(drawn(prompt_tokens, new_tokens, size) for size in dict.fromkeys(sizes[0] or (1, 8)))
    if any(size is not None for size in sizes):
        msg = "--suite has sizes of its own; leave out --batch-size, --prompt-tokens and --new-tokens, or --suite"
        raise WorkloadError(msg)
    return WORKLOADS[options.suite]
