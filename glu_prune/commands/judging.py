"""The command that judges any two models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glu_prune.commands.arguments import Chat, DataFolder, Device, Limit, Offline, StoreFolder, WeightsDtype, use
from glu_prune.commands.store import DEFAULT
from glu_prune.commands.terminal import Answer, connections, interruptible, work_shown
from glu_prune.units import positive_number

if TYPE_CHECKING:
    from glu_prune.results.report import Report


def _margin(given: str | float) -> float:
    if (margin := positive_number(str(given))) is None:
        msg = f"{given!r} is not allowed; it is a number above 0, in units of the metric (nats for perplexities)"
        raise typer.BadParameter(msg)
    return margin


def judge(
    pruned: Annotated[
        str, typer.Argument(metavar="PRUNED", help="Any model that answers: a name, a folder, a GGUF file, an id.")
    ],
    dense: Annotated[str, typer.Option("--against", metavar="DENSE", help="The model that it came from.")],
    tasks: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="Capabilities, or tasks of lm-eval, each perhaps as TASK:METRIC.",
            show_default="all of the suite",
        ),
    ] = None,
    claims: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Judge the claims of this expectation file instead.")
    ] = None,
    margin: Annotated[
        float, typer.Option(parser=_margin, metavar="X", help="Loss that does not matter, in units of the metric.")
    ] = 0.05,
    limit: Limit = None,
    chat: Chat = False,
    device: Device = "cpu",
    dtype: WeightsDtype = "float32",
    data: DataFolder = None,
    store: StoreFolder = DEFAULT,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the tables; `glu-prune report DIR` makes the page.")
    ] = None,
    offline: Offline = False,
) -> Answer:
    """Judge what one model lost of another.

    With floors, verdicts and flips; exit code 1 if a loss is shown.
    """
    from glu_prune.api.running import Told, run
    from glu_prune.experiment.cell import Settings
    from glu_prune.judgement.two_models import cases_about_two

    if claims is not None and (tasks is not None or chat):
        msg = "--claims names a file that says what is asked; leave out --tasks and --chat"
        raise typer.BadParameter(msg)
    use(data)
    names = [each.strip() for each in tasks.split(",") if each.strip()] if tasks else []
    cases = cases_about_two(pruned, dense, names, margin, claims, chat=chat)
    work, say = work_shown()
    with connections(refused=offline), interruptible(lambda: work.snapshot().kept(store)):
        report = run(cases, Settings(dtype, device), store, limit, Told(work, say))
    return _shown(report, out)


def _shown(report: "Report", out: Path | None) -> Answer:
    """As a session shows it; complete unless something else was found than is claimed."""
    from glu_prune.report import files
    from glu_prune.report.formats import terminal

    shape = terminal.Shape(declared=False, more="" if out else "--out DIR writes more")
    said = [line.plain for line in terminal.lines_of(report, shape)]
    if out is not None:
        written = files.write(report, out)
        said.append(f"tables: {out}/ ({len(written.names)} files)")
    failed = [each for each in report.cases if each.result == "failed"]
    return Answer("\n".join(said), not failed)
