"""`glu-prune`: one command line for all commands; what they do is in `glu_prune.commands`."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from glu_prune.commands import (
    choosing,
    costs,
    judging,
    models,
    pruning,
    publishing,
    reporting,
    runs,
    sensitivity,
    store,
)
from glu_prune.commands.parsing import StrictCommand
from glu_prune.commands.terminal import Answer, CommandInterruptedError
from glu_prune.errors import BaselineError, ExpectationError
from glu_prune.traces import told

if TYPE_CHECKING:
    from typer._click.core import Context

_UNUSABLE = 2
_INTERRUPTED = 130
_COMPLETION = "_GLU_PRUNE_COMPLETE"
"""Where a shell asks what a line may go on with; typer answers, and ends Python."""

app = typer.Typer(
    help="Prune GLU language models, and find out what that does to them.",
    rich_markup_mode=None,  # help and errors stay plain text, as scripts and tests read them
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


class _SeveralValues(StrictCommand):
    """A command of which some options take all values that follow: `--ratio 0.2 0.4`."""

    def parse_args(self, ctx: "Context", args: list[str]) -> list[str]:
        """Parses `args`, in which such an option is repeated before each of its values, as click wants it."""
        return super().parse_args(ctx, _repeated(args, (*costs.SEVERAL, *choosing.SEVERAL)))


def _repeated(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    found: list[str] = []
    current = None
    for text in arguments:
        if text.startswith("-") and not text[1:2].isdigit():
            current = text if text in options else None
        elif current is not None and found[-1] != current:
            found.append(current)
        found.append(text)
    return found


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"glu-prune {version('glu-prune')}")
        raise typer.Exit


@app.callback()
def _glu_prune(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Prune GLU language models, and find out what that does to them; `pytest benchmarks` runs experiments."""


_COMMANDS: tuple[Callable[..., Answer], ...] = (
    *(pruning.plan, pruning.prune, sensitivity.sensitivity),
    *(runs.init, runs.lint, runs.doctor, runs.prefetch, runs.power, judging.judge, runs.compare),
    *(reporting.report, reporting.comment, publishing.card),
    *(models.convert, models.fetch, models.shape, models.criteria, models.families, models.models),
)
for _command in _COMMANDS:
    app.command(cls=StrictCommand)(_command)
for _command in (costs.measure, choosing.choose):
    app.command(cls=_SeveralValues)(_command)
app.add_typer(store.app, name="store")


def main(arguments: list[str] | None = None) -> int:
    """Runs one command.

    Returns 0 on success, 1 on an error, if something is missing, or if a comparison fails, 2 on unusable arguments,
    expectation files or things to compare, 130 when interrupted.
    """
    try:
        # Not in click's standalone mode, which words and prints errors in its own way, and exits.
        answer = typer.main.get_command(app).main(arguments, prog_name="glu-prune", standalone_mode=False)
    except typer.TyperException as error:
        return _fail(f"{error.format_message().rstrip('.')}; see `{_path(error)} --help`", _UNUSABLE)
    except CommandInterruptedError as error:
        return _fail(str(error), _INTERRUPTED)
    except KeyboardInterrupt:
        raise
    except SystemExit as left:  # by typer, with another code than 0, or by code of the user's in the middle of its work
        if left.code or _COMPLETION in os.environ:
            raise
        return _fail("code that the command ran ended Python (SystemExit), so that the command is not done", 1)
    except BaseException as error:  # noqa: BLE001  whatever it is, users get one line; libraries in Rust raise more than Exception
        code = _UNUSABLE if isinstance(error, ExpectationError | BaselineError) else 1
        # What typer itself writes, such as help, may be what failed: then, nothing more can be written either.
        of_no_file = isinstance(error, OSError) and error.filename is None
        return (of_no_file and _put("\n")) or _fail(told(error), code)
    if not isinstance(answer, Answer):  # but an exit code: of --help, --version, or Ctrl-C while nothing is written
        return _fail("interrupted", answer) if answer == _INTERRUPTED else int(answer or 0)
    return _say(answer.text) or (0 if answer.complete else 1)


def _say(text: str) -> int:
    """Writes what a command found, which only shows, whatever names are in it; 1 if it cannot be written, else 0."""
    from glu_prune.clean import encodable, one_line

    encoding = sys.stdout.encoding or "utf-8"
    lines = (encodable(one_line(line), encoding) for line in text.split("\n"))
    return _put("\n".join(lines) + "\n")


def _put(text: str) -> int:
    """Writes `text`; 1, and a line, if that cannot be, else 0."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would be written, and fail, once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A reader that has read enough, such as `head`, is no failure.
        return 0 if isinstance(error, BrokenPipeError) else _fail(f"standard output: {error.strerror}", 1)
    return 0


def _path(error: typer.TyperException) -> str:
    """The command that was given wrong arguments."""
    return str(getattr(getattr(error, "ctx", None), "command_path", "glu-prune"))


def _fail(message: str, code: int) -> int:
    """Says what is wrong in one line, and gives the exit code back."""
    from glu_prune.clean import one_line

    sys.stderr.write(f"glu-prune: {one_line(message)}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
