"""Writes docs/options.md: every option of pytest, command and column of tables, as the code declares them.

python -m tools.reference
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from glu_prune.cli import app
from glu_prune.files import write_whole
from glu_prune.option_list import OPTIONS
from glu_prune.report.column_notes import documented
from glu_prune.report.tables import TABLES

PAGE = Path(__file__).parent.parent / "docs" / "options.md"
_HEAD = """\
# Options, commands and tables

Written by `python -m tools.reference` from the code.

## pytest

Write folders as `--glu-store=DIR`, with the equals sign: pytest would take a separate path for a folder of tests.

| option | what it does |
|---|---|
"""

_TABLES = """
## Tables

Columns of the files that a session writes, of `glu-prune report --format csv`, and of `glu_prune.load_results(SOURCE)`.
`report.json` has the same rows under names of its own: [report.schema.json](report.schema.json).
"""


def page() -> str:
    """The page."""
    options = "".join(
        f"| `{_named(each.name, each.settings)}` | {_cell(each.settings['help'])} |\n" for each in OPTIONS
    )
    commands = "".join(_commands(typer.main.get_command(app), "glu-prune"))
    return f"{_HEAD}{options}\n## glu-prune\n{commands}{_TABLES}{''.join(map(_table, TABLES))}"


def _table(name: str) -> str:
    rows = "".join(f"| {_cell(heading)} | {_cell(meaning)} |\n" for heading, meaning in documented(name))
    heading = TABLES[name].heading.format_map({"against": "a baseline"})
    return f"\n### {name}: {heading}\n\n| column | meaning |\n|---|---|\n{rows}"


def _named(name: str, settings: Any) -> str:
    value = settings.get("metavar") or "|".join(settings.get("choices", ()))
    return f"{name} {value}".strip().replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _commands(command: Any, path: str) -> Iterator[str]:
    if hasattr(command, "commands"):
        for name, each in command.commands.items():
            yield from _commands(each, f"{path} {name}")
        return
    yield f"\n### {path}\n\n{command.help}\n"
    records = [record for each in command.params if (record := _record(each))]
    if records:
        yield "\n| | |\n|---|---|\n"
        yield from (f"| `{name}` | {_cell(text)} |\n" for name, text in records)


def _record(parameter: Any) -> tuple[str, str] | None:
    """An argument or option and its help."""
    if getattr(parameter, "hidden", False):
        return None
    found = parameter.get_help_record(typer.Context(typer.main.get_command(app)))
    return None if found is None else (_cell(found[0]), found[1])


def main() -> int:
    """Writes the page."""
    write_whole(PAGE, page())
    sys.stdout.write(f"{PAGE}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
