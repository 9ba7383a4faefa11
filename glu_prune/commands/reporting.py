"""Commands that show what was found."""

from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from glu_prune.commands.arguments import store_folder
from glu_prune.commands.terminal import Answer
from glu_prune.report.page.saved import FileFormat


def report(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE ...",
            help="A results folder or its report.json, a store or a pack of records, or `published`; with --against "
            "also a baseline.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="PATH", help="The page, named *.html; with --format, the folder of the files.")
    ] = Path("report.html"),
    form: Annotated[
        FileFormat | None, typer.Option("--format", help="Figures or tables as files.", show_default="a page")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            parser=store_folder,
            metavar="BEFORE",
            help="A store, a pack or a baseline's file: show what changed since, item by item.",
        ),
    ] = None,
    expectations: Annotated[
        Path, typer.Option(metavar="PATH", help="The claims that records and published figures are judged by.")
    ] = Path("expectations"),
) -> Answer:
    """Make a page of what was found, or files for a paper.

    The page has every verdict, figure and table.
    """
    from glu_prune.report.page.saved import refuse_page, save_files, save_page
    from glu_prune.sources.judged import merged, opened

    if form is None:
        refuse_page(out)
    every = [opened(source, expectations, Path.cwd(), against) for source in dict.fromkeys(sources)]
    found = merged(zip(dict.fromkeys(sources), (each.report for each in every), strict=True))
    if form is None:
        items = list(chain(*(each.changes for each in every)))
        save_page(found, out, list(dict.fromkeys(sources)), items, [each.facts for each in every])
        return Answer(f"{out}: {len(found.cases)} claims of {', '.join(sources)}")
    return Answer("\n".join(f"{out / name}" for name in save_files(found, out, form)))


def comment(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A results folder, or its report.json.")] = Path(
        "results"
    ),
) -> Answer:
    """Print a comment on a pull request, in Markdown.

    Verdicts and what to look at first; all tables are folded.
    """
    from glu_prune.report.summary import comment
    from glu_prune.sources.written import read_report

    return Answer(comment(read_report(report)).rstrip("\n"))
