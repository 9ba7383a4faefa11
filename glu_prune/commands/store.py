"""Commands about the records that runs have left."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glu_prune.commands.arguments import StoreFolder
from glu_prune.commands.parsing import StrictCommand
from glu_prune.commands.terminal import Answer

if TYPE_CHECKING:
    from typer._click.core import Context

DEFAULT = Path(".glu-prune")


class _OfStore(StrictCommand):
    """A command about a store, which people may name where it is not to be named."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Parses `args`; says how a store is named if there are too many of them."""
        _, more, _ = self.make_parser(ctx).parse_args(args=list(args))
        if more:
            ctx.fail(f"{' '.join(more)} is too much; a store is named by --store DIR")
        return super().parse_args(ctx, args)


app = typer.Typer(help="Look at, check and export the records of runs.", rich_markup_mode=None)


@app.command("ls", cls=_OfStore)
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


@app.command(cls=_OfStore)
def show(
    key: Annotated[str, typer.Argument(metavar="KEY", help="The beginning of its key, as `ls` shows it.")],
    store: StoreFolder = DEFAULT,
) -> Answer:
    """Show what one record says beside its items."""
    from glu_prune.report.stored import shown

    return Answer(shown(store, key))


@app.command(cls=_OfStore)
def verify(store: StoreFolder = DEFAULT) -> Answer:
    """Check every record; exit code 1 if one is damaged."""
    from glu_prune.report.stored import verified

    return Answer(*verified(store))


@app.command("gc", cls=_OfStore)
def collect_garbage(
    store: StoreFolder = DEFAULT,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only name what would be removed.")] = False,
) -> Answer:
    """Remove what no run will ask for again.

    Records of older code or settings, and leftovers of runs that were killed.
    """
    from glu_prune.report.stored import collected

    return Answer(*collected(store, dry_run=dry_run))


@app.command(cls=_OfStore)
def export(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="A new .parquet or .csv file.")],
    store: StoreFolder = DEFAULT,
) -> Answer:
    """Write all items of all cells to one file."""
    from glu_prune.report.stored import exported

    return Answer(*exported(store, out))


@app.command(cls=_OfStore)
def pack(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or a pack, which is brought up to date.")],
    model: Annotated[str, typer.Option(metavar="PATTERN", help="Of models of this name, such as 'smol*'.")] = "*",
    store: StoreFolder = DEFAULT,
) -> Answer:
    """Copy records, to be judged elsewhere.

    By `--glu-evidence DIR`; what models wrote is left out.
    """
    from glu_prune.report.stored import packed

    return Answer(packed(store, out, model))
