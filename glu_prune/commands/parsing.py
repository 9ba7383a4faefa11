"""How command lines are read: what is said twice, or excludes another, is refused, where click takes the last."""

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer import Context
    from typer._click.core import Context as ClickContext


class StrictCommand(TyperCommand):
    """A command that is given every option once, unless it takes several values."""

    def parse_args(self, ctx: "ClickContext", args: list[str]) -> list[str]:
        """Parses `args`; refuses an option that is given twice."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for param, count in Counter(given).items():
            if count > 1 and not param.multiple and not getattr(param, "is_flag", False):
                ctx.fail(f"{param.opts[0]} is given {count} times; give it once")
        return super().parse_args(ctx, args)


def refuse_beside(ctx: "Context", option: str, allowed: Collection[str]) -> None:
    """Refuses whatever is given on the command line beside `option`, but for the parameters that are `allowed`."""
    given = [
        param.opts[0]
        for param in ctx.command.params
        if param.name not in allowed
        and (source := ctx.get_parameter_source(str(param.name)))
        and source.name == "COMMANDLINE"
    ]
    if others := [name for name in given if name != option]:
        ctx.fail(f"{option} says all that {', '.join(others)} would; leave out one or the other")
