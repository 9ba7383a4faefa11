"""How lines fit into a window: their columns, what stands below them, and headings."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from glu_prune.report.lines import FAILED, Line

_INDENT = " " * 4


class Layout:
    """The columns of lines: those of the same headings have the same, wherever they stand, and one heading."""

    def __init__(self, every: Iterable[Line], width: int) -> None:
        """For all of `every`, in at most `width` characters."""
        groups: dict[tuple[str, ...], list[Line]] = defaultdict(list)
        for line in every:
            groups[_headings(line)].append(line)
        self._width = width
        self._widths = {headings: _fitting(headings, some, width) for headings, some in groups.items()}
        self._above: set[tuple[str, ...]] = set()
        """Headings that were said."""

    def text(self, found: Sequence[Line], below: Callable[[Line], str]) -> Iterator[Text]:
        """`found`, which have the same headings, below these unless they were said before.

        What does not fit beside the rest of a line is said under it, and what `below` gives.
        """
        headings = _headings(found[0])
        widths = self._widths[headings]
        fit = len(widths)
        shown = headings[:fit]
        if not any(each[:fit] == shown for each in self._above):
            yield Text(_row(shown, widths), style="dim")
        self._above.add(shown)
        for line in found:
            text = Text(_row([said for _, said in line.cells[:fit]], widths))
            text.stylize(line.style, 0, widths[0])
            yield text
            rest = [f"{name} {said}" for name, said in line.cells[fit:] if said != "-"]
            if said := "; ".join(filter(None, (*rest, below(line)))):
                yield from hanging(said, self._width, _INDENT, FAILED if said.startswith("FAILED") else "dim")


def _headings(line: Line) -> tuple[str, ...]:
    return tuple(name for name, _ in line.cells)


def _fitting(headings: Sequence[str], found: Sequence[Line], width: int) -> list[int]:
    """Of the first columns that fit into `width` together; of the first one at least."""
    widths = [
        max(cell_len(text) for text in (name, *(line.cells[place][1] for line in found)))
        for place, name in enumerate(headings)
    ]
    fit = len(widths)
    while fit > 1 and sum(widths[:fit]) + fit - 1 > width:
        fit -= 1
    return widths[:fit] if fit > 1 else [min(widths[0], width)]


def rule(heading: str, width: int) -> Iterator[Text]:
    """`heading` in a line across the window, or in several."""
    said = f"── {heading} "
    if cell_len(said) <= width:
        yield Text(said + "─" * (width - cell_len(said)), "bold")
    else:
        yield from hanging(heading, width, "── ", "bold")


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (set_cell_size(text, width) for text, width in zip(cells, widths, strict=True))
    return " ".join(padded).rstrip()


@cache
def console() -> Console:
    """What wraps text, and writes colours that light and dark terminals show."""
    return Console(force_terminal=True, color_system="standard", width=10_000, legacy_windows=False)


def hanging(text: str, width: int, first: str, style: str = "") -> Iterator[Text]:
    """`text` in lines of at most `width` characters, the first of which begins with `first`, the others as far in."""
    for place, line in enumerate(Text(text, style).wrap(console(), max(width - len(first), 1))):
        line.rstrip()
        yield Text((first if place == 0 else " " * len(first)), style) + line
