"""Commands around runs: what they need, what they left, and how two of them differ."""

import argparse
import os
import shlex
from pathlib import Path

from glu_prune.commands.terminal import interruptible


def init(options: argparse.Namespace) -> str:
    """Tests, claims and a CI workflow in the user's own repository, and what to do next."""
    from glu_prune.project.write import is_here, write_project

    with interruptible():
        names = write_project(options.folder, options.model)
    fetch = "" if is_here(options.model) else f"hf download {options.model} && "
    there = "" if options.folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(options.folder))} && "
    written = "\n".join(f"  {name}" for name in names)
    return f"{options.folder}:\n{written}\nnext: {fetch}{there}pytest benchmarks -k ratio_0.5"


def doctor(options: argparse.Namespace) -> tuple[str, bool]:
    """What runs of expectation files need, and whether all of it is here."""
    from glu_prune.experiment.cell import Settings
    from glu_prune.readiness.needs import Run, doctor

    settings = Settings(options.dtype, options.device, options.batch_size)
    return doctor(Run(_expectations(options), settings, options.store))


def prefetch(options: argparse.Namespace) -> tuple[str, bool]:
    """What was downloaded for runs of expectation files, and whether nothing is missing now."""
    from glu_prune.readiness.prefetch import prefetch

    return prefetch(_expectations(options))


def _expectations(options: argparse.Namespace) -> tuple[Path, ...]:
    """The files that were named; also makes the data folder that was named the one that is used."""
    from glu_prune.evaluation.local_data import VARIABLE
    from glu_prune.judgement.expectation import files

    if options.data is not None:
        os.environ[VARIABLE] = str(options.data.absolute())
    return tuple(dict.fromkeys(file for place in options.files for file in files(place)))


def compare(options: argparse.Namespace) -> tuple[str, bool]:
    """Two runs, outcome by outcome, and whether nothing that the user wants to hear of differs."""
    from glu_prune.baseline.compare import FAIL_ON, compare, paired, refuse_incomparable
    from glu_prune.baseline.sources import outcomes
    from glu_prune.report.against import compared_rows, refuse_file, text, write

    if options.out is not None:
        refuse_file(options.out)
    found = compare(paired(outcomes(options.before), outcomes(options.after)), options.margin)
    refuse_incomparable(found)
    rows = compared_rows(found, str(options.before))
    if options.out is not None:
        write(options.out, rows)
    return text(rows), not any(each.outcome in FAIL_ON[options.fail_on] for each in found)


def store(options: argparse.Namespace) -> str | tuple[str, bool]:
    """What one of the commands about a store says."""
    from glu_prune.report import stored

    found: str | tuple[str, bool] = options.act(stored, options)
    return found
