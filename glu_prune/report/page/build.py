"""Builds the page: a template, its style, its script with the chart library inside, and the report's own data."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.clean import one_line
from glu_prune.report import lines
from glu_prune.report.matrix import matrices
from glu_prune.report.page.figure import Figure
from glu_prune.report.page.figures import figures
from glu_prune.report.tables import extents, sections
from glu_prune.results.changes import ItemChanges
from glu_prune.results.claims import ClaimResult
from glu_prune.results.report import Report

if TYPE_CHECKING:
    from markupsafe import Markup

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Page:
    """A report as a page."""

    report: Report
    title: str
    sources: Sequence[str]
    """What it was made of, in words."""
    facts: Sequence[Sequence[tuple[str, str]]] = ()
    """(what, which) of where each source comes from, as far as that is known."""
    changes: Sequence[ItemChanges] = ()
    """What changed, item by item, where that is known."""

    @cached_property
    def figures(self) -> tuple[Figure, ...]:
        """Every figure."""
        return tuple(figures(self.report))

    def html(self) -> str:
        """The whole file.

        Raises:
            ModuleNotFoundError: the chart library is not installed.
        """
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader(_HERE),
            undefined=StrictUndefined,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.tests["failed"] = lines.has_failed
        environment.filters |= {"one_line": one_line, "breakable": _breakable}
        style, script = (_HERE / "page.css").read_text(encoding="utf-8"), _bundle()
        return environment.get_template("page.html.j2").render(
            page=self,
            report=self.report,
            matrices=list(matrices(self.report)),
            provenance=list(zip_longest(self.sources, self.facts, fillvalue=())),
            claims=self._claims(),
            signs=lines.SIGNS,
            sections=list(sections(self.report)),
            notes=extents(self.report),
            specs={each.name: _script_safe(each.spec()) for each in self.figures},
            items=_script_safe([_items(each) for each in self.changes]),
            style=style,
            script=script,
            policy=_policy(style, script),
            version=version("glu-prune"),
        )

    def _claims(self) -> list[ClaimResult]:
        """All claims: what failed, what surprises, what held."""
        return sorted(self.report.claims, key=lines.urgency)


def _breakable(name: str) -> "Markup":
    """A name on one line, which may go on in another after an underscore."""
    from markupsafe import Markup

    return Markup("_<wbr>").join(one_line(name).split("_"))


def _items(changes: ItemChanges) -> dict[str, Any]:
    """For the script of the page."""
    about = f"{changes.model}, {changes.capability} at {changes.at}"
    return {"about": about, "found": changes.found, "rows": [each.json_row() for each in changes.shown]}


def _bundle() -> str:
    """The chart library and the script of the page, as one text that no HTML parser ends early."""
    import vl_convert

    text = vl_convert.javascript_bundle((_HERE / "page.js").read_text(encoding="utf-8"))
    return str(text).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _script_safe(data: Any) -> str:
    """`data` as JSON that may stand in a script element of HTML: whatever is in it ends no element."""
    text = json.dumps(data, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(style: str, script: str) -> str:
    """Allows this script, and nothing that is fetched or sent anywhere, or that a text of the report would run."""
    return (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
