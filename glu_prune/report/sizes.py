"""What a target means for a model: widths, expansion ratios, parameters and bytes, from shapes alone."""

import re
from typing import TYPE_CHECKING, Any

from glu_prune.pruning.alignment import MULTIPLES, nearest, ratio_of
from glu_prune.pruning.engines import EngineName, fit
from glu_prune.pruning.ratio import show_ratio
from glu_prune.pruning.target import unaligned_experts
from glu_prune.report.table import Column, render, wrapped
from glu_prune.units import size_of

if TYPE_CHECKING:
    from glu_prune.pruning.disk_model import DiskModel
    from glu_prune.pruning.target import Target


def _change(name: str, digits: int | None = None) -> Column[dict[str, Any]]:
    """A figure before and after."""
    form = ",d" if digits is None else f".{digits}f"
    return Column(name, lambda row: row[name], lambda pair: f"{pair[0]:{form}} -> {pair[1]:{form}}")


_COLUMNS: tuple[Column[dict[str, Any]], ...] = (
    Column("GLU blocks", lambda row: row["name"]),
    Column("count", lambda row: row["count"]),
    Column("hidden", lambda row: row["hidden"], "{:,}".format),
    _change("width"),
    _change("expansion ratio", 2),
    _change("parameters"),
)


def sizes(checkpoint: "DiskModel", target: "Target", engine: EngineName | None = None) -> str:
    """A table of every kind of block in `checkpoint`, and lines about the target and the whole model.

    Widths are told apart by what `engine` takes; without one, by what accelerators compute in whole pieces.

    Raises:
        PlanError: the target does not fit the model.
    """
    widths = target.widths(checkpoint.width_map)
    kinds: dict[tuple[Any, ...], list[Any]] = {}
    for block in checkpoint.width_map.blocks:
        pattern = re.sub(r"(?<=\.)\d+(?=\.|$)", "*", block.name)
        kinds.setdefault((pattern, block.hidden, block.width, widths[block.name]), []).append(block)
    rows = [
        {
            "name": _name(pattern, blocks),
            "count": len(blocks),
            "hidden": hidden,
            "width": (old, new),
            "expansion ratio": (old / hidden, new / hidden),
            "parameters": _parameters(blocks, old, new),
        }
        for (pattern, hidden, old, new), blocks in kinds.items()
    ]
    before = checkpoint.parameters
    after = before - sum(row["parameters"][0] - row["parameters"][1] for row in rows)
    dtype, size = str(checkpoint.dtype).removeprefix("torch."), checkpoint.dtype.itemsize
    total = (
        f"{type(checkpoint.model).__name__}: {before:,} -> {after:,} parameters ({after / before - 1:+.1%}), "
        f"{size_of(before * size)} -> {size_of(after * size)} in {dtype}"
    )
    note = unaligned_experts(checkpoint.width_map, widths)
    lines = (
        target.of_model(checkpoint.width_map),
        total,
        *dict.fromkeys(fit(engine, *row["width"]) if engine else _aligned(*row["width"]) for row in rows),
        note and f"note: {note}",
    )
    return "\n".join([render(_COLUMNS, rows, "simple"), *map(wrapped, filter(None, lines))])


def _aligned(before: int, width: int) -> str:
    """The widths nearest to `width` that accelerators compute in whole pieces; empty where it is one of them."""
    if width == before or not width % MULTIPLES[-1] or before < MULTIPLES[0]:
        return ""
    # Of several multiples at one width the largest is left, of which the others are divisors.
    found = {nearest(before, width, multiple): multiple for multiple in MULTIPLES if multiple <= before}
    shown = ", ".join(
        f"{each:,} (ratio {show_ratio(ratio_of(before, each))}, a multiple of {multiple})"
        for each, multiple in found.items()
    )
    return f"nearest to {width:,} that accelerators compute in whole pieces: {shown}"


def _name(pattern: str, blocks: list[Any]) -> str:
    """The pattern with its layers: `model.layers.*.mlp (layers 1-14)`."""
    layers = sorted({block.layer for block in blocks if block.layer is not None})
    if not layers or len(blocks) == 1:
        return blocks[0].name if len(blocks) == 1 else pattern
    whole = layers == list(range(layers[0], layers[-1] + 1))
    return f"{pattern} ({f'{layers[0]}-{layers[-1]}' if whole else ','.join(map(str, layers))})"


def _parameters(blocks: list[Any], old: int, new: int) -> tuple[int, int]:
    """Parameters of these blocks that belong to neurons, before and after."""
    per_neuron = sum(block.per_neuron for block in blocks)
    return per_neuron * old, per_neuron * new
