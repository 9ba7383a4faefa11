"""Lines about which weights answered, and what they were shown: items that were left out, prompts that were cut."""

from collections.abc import Iterator, Sequence

from glu_prune.results.costs import CellResult
from glu_prune.results.report import CaseOutcome


def limits(cells: Sequence[CellResult]) -> Iterator[str]:
    """That only some items were asked, where so."""
    for limit in dict.fromkeys(cell.limit for cell in cells if cell.limit):
        yield f"A quick look: at most {limit} items of each task."


def left_out(cases: Sequence[CaseOutcome]) -> Iterator[str]:
    """That claims were not judged, where so."""
    if skipped := sum(case.result == "skipped" for case in cases):
        yield f"{skipped} of {len(cases)} claims were not judged; pytest -rs says why of each."


def dequantizations(cells: Sequence[CellResult]) -> Iterator[str]:
    """Which models were read from quantised weights."""
    read = ((cell.model.removesuffix(" (chat)"), cell.dequantized) for cell in cells if cell.dequantized)
    for model, how in dict.fromkeys(read):
        yield f"Weights of {model}, dense and pruned, are those of a GGUF file, dequantised: {how}."


def truncations(cells: Sequence[CellResult]) -> Iterator[str]:
    """Where prompts were too long for a model and lost their beginning, which is the same in all its arms."""
    found: dict[str, dict[str, str]] = {}
    for cell in cells:
        if cell.truncated:
            found.setdefault(cell.model, {})[cell.task] = f"{cell.task} {cell.truncated} of {cell.prompts}"
    for model, tasks in found.items():
        yield f"Prompts that lost their beginning, as they are too long for {model}: {', '.join(tasks.values())}."


def near_ties(cells: Sequence[CellResult]) -> Iterator[str]:
    """Where other rounding, as of another machine, may write other texts."""
    found: dict[tuple[str, str], list[str]] = {}
    for cell in cells:
        if cell.near_ties:
            found.setdefault((cell.model, cell.task), []).append(f"{cell.arm} {cell.near_ties}")
    for (model, task), arms in found.items():
        yield (
            f"Texts of {model} on {task} that another machine or batch may write otherwise, as two tokens are equally "
            f"likely but for rounding: {', '.join(arms)}."
        )
