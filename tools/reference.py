"""Writes docs/options.md: every option of pytest and every command, as the code declares them.

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

PAGE = Path(__file__).parent.parent / "docs" / "options.md"
_HEAD = """\
# Options and commands

Written by `python -m tools.reference` from the code.

## pytest

Write folders as `--glu-store=DIR`, with the equals sign: pytest would take a separate path for a folder of tests.

| option | what it does |
|---|---|
"""


def page() -> str:
    """The page."""
    options = "".join(
        f"| `{_named(each.name, each.settings)}` | {_cell(each.settings['help'])} |\n" for each in OPTIONS
    )
    return f"{_HEAD}{options}\n## glu-prune\n{''.join(_commands(typer.main.get_command(app), 'glu-prune'))}"


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
