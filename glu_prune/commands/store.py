"""Commands about the records that runs have left."""

from pathlib import Path
from typing import Annotated

import typer

from glu_prune.commands.arguments import StoreFolder
from glu_prune.commands.parsing import StrictCommand
from glu_prune.commands.terminal import Answer

DEFAULT = Path(".glu-prune")

app = typer.Typer(help="Look at, check, clean and export the records that runs have left.", rich_markup_mode=None)


@app.command("ls", cls=StrictCommand)
def list_cells(
    model: Annotated[str, typer.Option(metavar="PATTERN", help="Only of models of this name, such as 'tiny-*'.")] = "*",
    task: Annotated[str, typer.Option(metavar="PATTERN", help="Only of tasks of this name.")] = "*",
    store: StoreFolder = DEFAULT,
) -> Answer:
    """List the cells."""
    from glu_prune.report.stored import listed

    if store == DEFAULT and not store.exists():
        return Answer(f"{DEFAULT}: there is no store yet; a run makes it")
    return Answer(listed(store, model, task))


@app.command(cls=StrictCommand)
def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The beginning of its key, as `ls` shows it.")],
    store: StoreFolder = DEFAULT,
) -> Answer:
    """Show what one record says beside its items."""
    from glu_prune.report.stored import shown

    return Answer(shown(store, key))


@app.command(cls=StrictCommand)
def verify(store: StoreFolder = DEFAULT) -> Answer:
    """Check every record; exit code 1 if one is damaged."""
    from glu_prune.report.stored import verified

    return Answer(*verified(store))


@app.command("gc", cls=StrictCommand)
def collect_garbage(
    store: StoreFolder = DEFAULT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name what would be removed.")] = False,
) -> Answer:
    """Remove records that no run will ask for again, and leftovers of runs that were killed."""
    from glu_prune.report.stored import collected

    return Answer(*collected(store, dry_run=dry_run))


@app.command(cls=StrictCommand)
def export(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="A new .parquet or .csv file.")],
    store: StoreFolder = DEFAULT,
) -> Answer:
    """Write all items of all cells to one file."""
    from glu_prune.report.stored import exported

    return Answer(*exported(store, out))


@app.command(cls=StrictCommand)
def pack(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or a pack, which is brought up to date.")],
    model: Annotated[str, typer.Option(metavar="PATTERN", help="Of models of this name, such as 'smol*'.")] = "*",
    store: StoreFolder = DEFAULT,
) -> Answer:
    """Copy records, without what models wrote, to be judged elsewhere by --glu-evidence DIR."""
    from glu_prune.report.stored import packed

    return Answer(packed(store, out, model))
