"""Results in a notebook: tables as data frames, figures as pictures."""

from collections.abc import Mapping
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.clean import one_line
from glu_prune.report.column_notes import documented
from glu_prune.report.tables import data_frame, filled
from glu_prune.results.report import Report
from glu_prune.sources.judged import opened

if TYPE_CHECKING:
    import pandas as pd

    from glu_prune.report.page.figure import Figure

_SHOWN = ("ratio", "capability", "metric", "items", "floor", "dense", "pruned", "delta", "low", "high", "verdict")


class Results:
    """What a session, a pack, a store or the published figures say, as tidy data frames, one row per observation.

    In a notebook it displays as the table of its claims and its first figure.
    """

    def __init__(self, report: Report) -> None:
        """Of a report."""
        self.report = report

    @cached_property
    def tables(self) -> "Mapping[str, pd.DataFrame]":
        """Each table that has rows, by the name of its file; numbers are plain, and `columns` says their units."""
        return {name: data_frame(columns, rows) for name, columns, rows in filled(self.report)}

    def __getitem__(self, table: str) -> "pd.DataFrame":
        """A table; raises `KeyError` that names those that there are."""
        if table not in self.tables:
            msg = f"no table {table!r}; there are: {', '.join(self.tables)}"
            raise KeyError(msg)
        return self.tables[table]

    @staticmethod
    def columns(table: str) -> "pd.DataFrame":
        """What the columns of a table mean, and their units."""
        import pandas as pd

        return pd.DataFrame(documented(table), columns=["column", "meaning"])

    @cached_property
    def figures(self) -> "Mapping[str, Figure]":
        """Each figure by its name; `draw(rows)` gives the Altair chart."""
        from glu_prune.report.page.figures import figures

        return {figure.name: figure for figure in figures(self.report)}

    def __repr__(self) -> str:
        """What there is."""
        return f"Results({', '.join(f'{name}: {len(data)} rows' for name, data in self.tables.items()) or 'nothing'})"

    def _repr_html_(self) -> str:
        """The claims and the first figure, of texts that only show."""
        if "scores" not in self.tables:
            return f"<p>{escape(repr(self))}</p>"
        data = self["scores"][["model", *_SHOWN]].map(
            lambda value: one_line(value) if isinstance(value, str) else value
        )
        table = data.to_html(index=False, float_format="{:.3f}".format, na_rep="")
        return table + "".join(_picture(figure) for figure in [*self.figures.values()][:1])


def _picture(figure: "Figure") -> str:
    """A figure below the table; nothing where the chart library is not installed."""
    try:
        from glu_prune.report.page.figure import written

        svg = written(figure, "svg")
    except ModuleNotFoundError:
        return ""
    return f"<figure>{svg!s}<figcaption>{escape(one_line(f'{figure.title}. {figure.caption}'))}</figcaption></figure>"


def load_results(source: str | Path, expectations: str | Path = "expectations") -> Results:
    """The results of `source`: a results folder or `report.json`, a store, a pack, or `published`.

    Records and published figures are judged by the claims in `expectations`.

    Raises:
        GluPruneError: there is no such thing, or it cannot be read.
    """
    return Results(opened(str(source), Path(expectations), Path.cwd()).report)
