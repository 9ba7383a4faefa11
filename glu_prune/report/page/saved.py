"""Writes a report where it is wanted: as a page, as figures, or as tables."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from glu_prune.errors import ReportError
from glu_prune.files import write_whole

if TYPE_CHECKING:
    from glu_prune.results.changes import ItemChanges
    from glu_prune.results.report import Report

FileFormat: TypeAlias = Literal["svg", "pdf", "png", "csv", "parquet", "latex", "markdown"]
_PICTURES = ("svg", "pdf", "png")
_NEEDED = ("altair", "vl_convert", "jinja2")
"""What draws, which is not installed with the package itself."""
_SUFFIXES = {"csv": ".csv", "parquet": ".parquet", "latex": ".tex", "markdown": ".md"}


def refuse_page(path: Path) -> None:
    """Raises `ReportError` if no page can be written to `path`: by its name, or as what draws it is missing."""
    if path.suffix != ".html":
        msg = f"{path} is not allowed: a page is named *.html"
        raise ReportError(msg)
    _refuse_missing()


def _refuse_missing() -> None:
    for name in _NEEDED:
        if find_spec(name) is None:
            msg = f"{name} is not installed: pip install 'glu-prune[report]'"
            raise ReportError(msg)


def save_page(
    report: "Report",
    path: Path,
    sources: Sequence[str],
    changes: "Sequence[ItemChanges]" = (),
    facts: Sequence[Sequence[tuple[str, str]]] = (),
) -> None:
    """Writes a report as one HTML file, whole or not at all, with what changed item by item.

    `facts` are those of each source, in their order.

    Raises:
        ReportError: the chart library is missing, or the file cannot be written.
    """
    from glu_prune.report.page.build import Page

    models = dict.fromkeys(row.model for row in report.claims)
    compared = dict.fromkeys(row.model for row in report.baseline)
    title = (
        f"What pruning does to {', '.join(models)}" if models else f"What changed in {', '.join(compared) or 'nothing'}"
    )
    page = Page(report, title, sources, facts, changes)
    refuse_page(path)
    _write(path, page.html())


def save_files(report: "Report", folder: Path, form: FileFormat) -> list[str]:
    """Writes figures, each with its caption in a text file, or tables to `folder`; gives the names of the files.

    Raises:
        ReportError: the report has nothing to show, the chart library is missing, or a file cannot be written.
    """
    from glu_prune.report.formats import formats

    if form in _PICTURES:
        _refuse_missing()
        found: list[tuple[str, str | bytes]] = list(_figures(report, form))
    else:
        found = list(formats()[_SUFFIXES[form]].files(report))
    if not found:
        msg = f"there is nothing to write as {form}: no claim was judged"
        raise ReportError(msg)
    for name, content in found:
        _write(folder / name, content)
    return [name for name, _ in found]


def _figures(report: "Report", form: str) -> Iterator[tuple[str, str | bytes]]:
    from glu_prune.report.page.figure import written
    from glu_prune.report.page.figures import figures

    for figure in figures(report):
        yield f"{figure.name}.{form}", written(figure, form)
        yield f"{figure.name}.txt", f"{figure.title}. {figure.caption}\n"


def _write(path: Path, content: str | bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content)
    except OSError as error:
        msg = f"{path} cannot be written: {error.strerror or error}; choose another place"
        raise ReportError(msg) from error
