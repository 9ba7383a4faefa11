"""Each table as LaTeX in the style of booktabs, as it is shown elsewhere: intervals beside their means."""

from collections.abc import Iterator, Sequence
from typing import Any

from glu_prune.clean import one_line
from glu_prune.report.formats import Format
from glu_prune.report.table import Column
from glu_prune.report.tables import filled
from glu_prune.results.base import Row
from glu_prune.results.report import Report

_SPECIAL = str.maketrans({
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
})  # fmt: skip


def _table(columns: Sequence[Column[Any]], rows: Sequence[Row]) -> str:
    names = ["model", *(column.name for column in columns)]
    cells = [[row.model, *(column.show(column.get(row)) for column in columns)] for row in rows]
    head, *body = (
        f"{' & '.join(one_line(text).translate(_SPECIAL) for text in line)} \\\\" for line in (names, *cells)
    )
    lines = (rf"\begin{{tabular}}{{{'l' * len(names)}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule")
    return "\n".join([*lines, r"\end{tabular}", ""])


def _files(report: Report) -> Iterator[tuple[str, str]]:
    for name, columns, rows in filled(report):
        yield f"{name}.tex", _table(columns, rows)


FORMAT = Format(".tex", _table, _files, order=4, always=False)
