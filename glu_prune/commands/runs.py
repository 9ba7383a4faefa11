"""Commands around runs: what they need, and how two of them differ."""

import gc
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from glu_prune.clean import one_line
from glu_prune.commands.arguments import (
    DataFolder,
    Device,
    DeviceMap,
    ExpectationFiles,
    StoreFolder,
    WeightsDtype,
    positive,
    store_folder,
    use,
)
from glu_prune.commands.terminal import Answer, connections, interruptible
from glu_prune.units import fraction


def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where.", show_default="this folder")] = Path(),
    model: Annotated[
        str, typer.Option(metavar="NAME", help="What to make claims about; see `glu-prune models`.")
    ] = "tiny-base",
) -> Answer:
    """Write tests, claims and a CI workflow into a repository."""
    from glu_prune.models.fetchable import FETCHABLE
    from glu_prune.project.write import is_here, write_project

    with interruptible():
        names = write_project(folder, model)
    fetch = "" if is_here(model) else f"hf download {model} && "
    there = "" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && "
    asked = f" --glu-model {model}" if model in FETCHABLE else ""  # else it is left out
    written = "\n".join(f"  {one_line(name)}" for name in names)
    return Answer(f"{one_line(str(folder))}:\n{written}\nnext: {fetch}{there}pytest benchmarks{asked} -k ratio_0.5")


def lint(files: ExpectationFiles = None) -> Answer:
    """Check expectation files; no model and no data is needed.

    Each is read as a run reads it, which imports modules that `criterion:` names. A line for each that cannot be used.
    """
    with _uncollected():
        return _linted(files)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Looks for no garbage meanwhile: what imports make stays, and looking through it takes an eighth of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _linted(files: Sequence[Path] | None) -> Answer:
    from glu_prune.errors import ExpectationError
    from glu_prune.judgement.expectation import Case, read, told_apart

    complaints: list[str] = []
    cases: list[Case] = []
    every = _expectations(files, None)
    for file in every:
        try:
            cases += read(file)
        except ExpectationError as error:
            complaints.append(str(error))
    try:
        cases = list(told_apart(cases))
    except ExpectationError as error:
        complaints.append(str(error))
    counts = ((len(every), "file"), (len(cases), "case"), (len(complaints), "error"))
    shown = (f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts)
    said = [*complaints, "{}: {}, {}".format(*shown)]
    return Answer("\n".join(said), not complaints)


def doctor(
    files: ExpectationFiles = None,
    data: DataFolder = None,
    store: StoreFolder = Path(".glu-prune"),
    device: Device = "cpu",
    dtype: WeightsDtype = "float32",
    batch_size: Annotated[int, typer.Option(parser=positive, metavar="N", help="Sequences at once.")] = 64,
    attention: Annotated[
        str,
        typer.Option(metavar="NAME", help="Such as sdpa or eager.", show_default="what transformers chooses"),
    ] = "",
    device_map: Annotated[
        DeviceMap | None, typer.Option(help="How accelerate spreads models over devices.", show_default="all on one")
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            metavar="NAME[,key=value,...]",
            help="Which of lm-eval's models answers.",
            show_default="this project's own scoring",
        ),
    ] = "",
) -> Answer:
    """Check that all is here that a run needs.

    Options are those that the run will have.
    """
    from glu_prune.experiment.cell import Settings
    from glu_prune.readiness.check import Run
    from glu_prune.readiness.doctor import doctor
    from glu_prune.readiness.requirements import requirements_of_files

    settings = Settings(dtype, device, batch_size, backend=backend, attention=attention, device_map=device_map or "")
    with connections(refused=True):
        return Answer(
            *doctor(Run(requirements_of_files(_expectations(files, data), named=bool(files)), settings, store))
        )


def prefetch(files: ExpectationFiles = None, data: DataFolder = None) -> Answer:
    """Download what is missing for a run."""
    from glu_prune.readiness.prefetch import prefetch

    with interruptible(lambda: "what was fetched stays"):
        return Answer(*prefetch(_expectations(files, data)))


def _share(given: str | float) -> float:
    if (share := fraction(str(given))) is None:
        msg = f"{given!r} is not allowed; it is a share of items from 0 to 1, such as 0.2"
        raise typer.BadParameter(msg)
    return share


def power(
    files: ExpectationFiles = None,
    store: StoreFolder = Path(".glu-prune"),
    data: DataFolder = None,
    limit: Annotated[
        int | None,
        typer.Option(
            parser=positive, metavar="N", help="Items of each task, as --glu-limit has it.", show_default="all"
        ),
    ] = None,
    changed: Annotated[
        float,
        typer.Option(parser=_share, metavar="SHARE", help="Right-or-wrong items assumed to change, without a record."),
    ] = 0.2,
    require: Annotated[
        bool, typer.Option("--require", help="Exit code 1 if the run cannot answer some claim, or that is unknown.")
    ] = False,
) -> Answer:
    """Say before a run which effects it will find.

    That is, the smallest one of each claim; no model is loaded.
    """
    from glu_prune.judgement.expectation import read, told_apart
    from glu_prune.report.power import text
    from glu_prune.sources.pilots import Pilots

    cases = told_apart([case for file in _expectations(files, data) for case in read(file)])
    with connections(refused=True):
        rows, left_out = Pilots(store, limit).plan(cases, changed)
    return Answer(text(rows, left_out), not require or all(row.answerable for row in rows))


def _expectations(places: Sequence[Path] | None, data: Path | None) -> tuple[Path, ...]:
    """The files that were named; also makes the data folder that was named the one that is used."""
    from glu_prune.judgement.expectation import files

    use(data)
    return tuple(dict.fromkeys(file for place in places or (Path("expectations"),) for file in files(place)))


def _margin(given: str | float) -> float:
    try:
        margin = float(given)
    except ValueError:
        margin = float("nan")
    if not 0 <= margin < float("inf"):
        msg = f"{given!r} is not allowed; it is a number of at least 0, in units of the metric"
        raise typer.BadParameter(msg)
    return margin


_PLACE = "a store, a baseline's JSON file, or logs of lm-eval, inspect or lighteval: a file, or a folder."


def compare(
    before: Annotated[Path, typer.Argument(metavar="A", parser=store_folder, help=f"What was: {_PLACE}")],
    after: Annotated[Path, typer.Argument(metavar="B", parser=store_folder, help=f"What is: {_PLACE}")],
    fail_on: Annotated[
        Literal["regressed", "incomparable", "change"],
        typer.Option(help="What exit code 1 is for: regressions, also what cannot be compared, or any change."),
    ] = "regressed",
    margin: Annotated[
        float,
        typer.Option(parser=_margin, metavar="X", help="Changes up to this, in units of the metric, are none."),
    ] = 0.0,
    allow_missing: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="What A has of this model, arm, capability or task, B may lack; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all rows to this .json, .csv or .md file.")
    ] = None,
) -> Answer:
    """Compare one run with another, item by item."""
    from glu_prune.baseline.compare import FAIL_ON
    from glu_prune.baseline.log import unsaid
    from glu_prune.baseline.sources import compared
    from glu_prune.experiment.shared import address_of
    from glu_prune.report.against import compared_rows, refuse_file, text, write

    if out is not None:
        refuse_file(out)
    found = compared(before, after, margin, allow_missing or ())
    rows = compared_rows(found, address_of(before) or str(before))
    if out is not None:
        write(out, rows)
    said = text(rows, unsaid(each.about for each in found))
    return Answer(said, not any(each.outcome in FAIL_ON[fail_on] for each in found))
