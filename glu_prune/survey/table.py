"""The table of families: made by `python -m glu_prune.survey.table`, kept with the package, shown by `families`."""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.errors import UnsupportedModelError
from glu_prune.report.table import Column, render

if TYPE_CHECKING:
    from glu_prune.survey.prove import Finding

RECORD = Path(__file__).parent / "families.json"
_COLUMNS = (
    Column("family", lambda row: row["family"]),
    Column("class", lambda row: row["model"]),
    Column("status", lambda row: row["status"]),
    Column("GLU blocks", lambda row: row["layouts"]),
    Column("remark", lambda row: row["why"]),
)
_ORDER = ("proven", "not supported", "no GLU")


def recorded() -> dict[str, object]:
    """The table as it was made with this version of the package."""
    found: dict[str, object] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def prove_families(names: Sequence[str]) -> dict[str, object]:
    """The table for the families in `names`, or for all, proven now; progress goes to standard error.

    Raises:
        UnsupportedModelError: a name is no family of the installed transformers.
    """
    import transformers
    from tqdm import tqdm

    from glu_prune.survey import tiny
    from glu_prune.survey.prove import prove

    unknown = next((name for name in names if name not in tiny.FAMILIES), None)
    if unknown is not None:
        msg = f"{unknown!r} is no model type of transformers {transformers.__version__} that this survey covers"
        raise UnsupportedModelError(msg)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    findings: list[Finding] = [prove(name) for name in tqdm(names or tiny.FAMILIES, disable=None)]
    return {"transformers": transformers.__version__, "families": [asdict(finding) for finding in findings]}


def show(table: dict[str, object], style: str) -> str:
    """The table as text, proven families first, under a line that counts them."""
    rows: list[dict[str, str]] = list(table["families"])  # type: ignore[call-overload]
    counts = Counter(row["status"] for row in rows)
    summary = ", ".join(f"{counts[status]} {status}" for status in _ORDER)
    return f"{summary} (transformers {table['transformers']})\n\n{render(_COLUMNS, _sorted(rows), style)}"


def _sorted(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(rows, key=lambda row: (_ORDER.index(row["status"]), row["family"]))


def main() -> int:
    """Proves every family and writes the table into the package and the documentation."""
    table = prove_families(())
    RECORD.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    page = Path("docs/families.md")
    if page.parent.is_dir():
        page.write_text(f"{_PAGE}\n{show(table, 'pipe')}\n", encoding="utf-8")
    sys.stdout.write(f"{show(table, 'simple')}\n")
    return 0


_PAGE = """# Model families

Every causal language model of the installed transformers, and some others, as a tiny model with random weights: built,
cut, and checked against every property of [the pruning contract](pruning.md#the-contract) in three ways (uniform,
one block alone, and by lot). *Proven* means that all of them held.

GLU blocks are named by the parameters that hold them. Families without a GLU have a plain feed-forward network, or
none. Made by `python -m glu_prune.survey.table`; do not edit.
"""

if __name__ == "__main__":
    sys.exit(main())
