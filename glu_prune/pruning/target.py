"""How narrow blocks are to become, and the single rounding rule."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatchcase
from fractions import Fraction
from math import floor, gcd, lcm
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.errors import PlanError, shown
from glu_prune.pruning.allocation import BY_SCORE, UNIFORM, allocated
from glu_prune.pruning.ratio import Ratio, parse_ratio, show_ratio
from glu_prune.pruning.sensitivity import Curves, Sensitivity, digest, one_block_each
from glu_prune.units import whole

if TYPE_CHECKING:
    from glu_prune.pruning.glu_block import GluBlock
    from glu_prune.pruning.width_map import WidthMap

_THOUSAND = 1000
_NARROWEST, _WIDEST = Decimal("1e-9"), Decimal("1e9")
"""Bounds of expansion ratios; as exact fractions, numbers such as 1e-999999999 would fill the memory."""


def round_width(width: int, removed: Fraction, multiple_of: int = 1) -> int:
    """How many of `width` neurons stay when `removed` of them, a fraction perhaps, are to go.

    `width - floor(removed)`, then the nearest multiple of `multiple_of` (of two equally near ones the larger), but
    never above `width` and never zero.

    Raises:
        PlanError: there is no multiple of `multiple_of` from 1 to `width`.
    """
    if multiple_of > width:
        msg = (
            f"multiple_of {multiple_of} is not allowed for a width of {width}; it is a whole number from 1 to the width"
        )
        raise PlanError(msg)
    # To the nearest multiple, not down: else every claim about a ratio would really be about a somewhat larger one.
    kept = min(width, width - floor(removed))
    nearest = (2 * kept + multiple_of) // (2 * multiple_of) * multiple_of
    return max(multiple_of, min(nearest, width // multiple_of * multiple_of))


@dataclass(frozen=True)
class Target:
    """What a pruning aims at: one of ratio, expansion ratio and width, and how it applies to layers."""

    ratio: Ratio | None = None
    """Fraction of neurons removed."""
    expansion_ratio: Decimal | None = None
    """Width over hidden size, afterwards."""
    width: int | None = None
    """Neurons per block, afterwards; blocks that are narrower stay as they are."""
    parameters: int | None = None
    """Of the whole model, afterwards, at most: the smallest ratio that leaves no more."""
    bytes: int | None = None
    """The same in bytes, at the size that weights have before."""
    multiple_of: int | None = None
    """Widths are rounded to a multiple of this; if it is not given, only those of experts are, see `WidthMap.step`."""
    layer_ratios: tuple[tuple[int, Ratio], ...] = ()
    """Layers with a ratio of their own; negative layers count from the end."""
    skip: tuple[int | str, ...] = ()
    """Layers, or patterns of block names such as `encoder.*`, that are not cut."""
    by_score: bool = False
    """Whether layers may lose more or less than others, as the scores of their neurons say; see `Ranking.plan`."""
    curves: Curves = ()
    """Or as these say: what cutting each layer alone does, at some ratios; see `allocation`."""

    @classmethod
    def of(
        cls,
        ratio: object = None,
        *,
        expansion_ratio: object = None,
        width: object = None,
        parameters: object = None,
        bytes: object = None,
        multiple_of: object = None,
        layer_ratios: Mapping[int, object] | None = None,
        skip: Iterable[int | str] = (),
    ) -> "Target":
        """The target from what users write; a `Target` given as ratio is returned as it is.

        Raises:
            PlanError: not exactly one of ratio, expansion ratio and width is given, or a value is not allowed.
        """
        if isinstance(ratio, Target):
            return ratio
        given = {"ratio": ratio, "expansion_ratio": expansion_ratio, "width": width}
        given |= {name: value for name, value in (("parameters", parameters), ("bytes", bytes)) if value is not None}
        if sum(value is not None for value in given.values()) != 1:
            found = ", ".join(f"{name}={value}" for name, value in given.items() if value is not None) or "none"
            msg = f"exactly one of ratio, expansion_ratio and width must be given; found {found}"
            raise PlanError(msg)
        return cls(
            None if ratio is None else parse_ratio(ratio),
            None if expansion_ratio is None else _expansion(expansion_ratio),
            None if width is None else _whole("width", width),
            None if parameters is None else _whole("parameters", parameters),
            None if bytes is None else _whole("bytes", bytes),
            None if multiple_of is None else _whole("multiple_of", multiple_of),
            tuple(sorted((int(layer), parse_ratio(value)) for layer, value in (layer_ratios or {}).items())),
            tuple(skip),
        )

    def allocating(self, how: str) -> "Target":
        """The same size, allocated to layers: `uniform`, `by_score`, or as the file of a sensitivity says.

        Raises:
            PlanError: there is no such file, or it is no sensitivity.
        """
        if how == UNIFORM:
            return self
        if how == BY_SCORE:
            return replace(self, by_score=True)
        return replace(self, curves=Sensitivity.read(Path(how)).curves)

    def __str__(self) -> str:
        """As tables and plans say it."""
        if self.ratio is not None:
            said = [f"ratio {show_ratio(self.ratio)}"]
        elif self.expansion_ratio is not None:
            said = [f"expansion ratio {self.expansion_ratio:f}"]
        elif self.width is not None:
            said = [f"width {self.width}"]
        else:
            said = [f"at most {self.parameters:,} parameters" if self.parameters else f"at most {self.bytes:,} bytes"]
        if self.multiple_of is not None:
            said.append(f"multiple of {self.multiple_of}")
        said += [f"layer {layer} ratio {show_ratio(ratio)}" for layer, ratio in self.layer_ratios]
        if self.skip:
            said.append(f"without {' '.join(map(str, self.skip))}")
        if self.by_score or self.curves:
            said.append("allocated by score" if self.by_score else f"allocated by sensitivity {digest(self.curves)}")
        return ", ".join(said)

    def of_model(self, width_map: "WidthMap") -> str:
        """As tables and plans say it of one model: with what experts' widths are rounded to."""
        steps = {step for block in width_map.blocks if (step := width_map.step(block)) > 1}
        if self.multiple_of is not None or not steps:
            return str(self)
        return f"{self}, experts a multiple of {' or '.join(map(str, sorted(steps)))} (rows of 16 bytes)"

    def widths(self, width_map: "WidthMap") -> dict[str, int]:
        """Block name to width afterwards; blocks whose widths one configuration entry sets are rounded together.

        Raises:
            PlanError: a layer or pattern matches no block, or the target is above the width of every block.
        """
        if self.by_score and not self.curves:
            msg = f"{self}: scores are of weights, which a ranking has read; rank the model, and plan by that"
            raise PlanError(msg)
        if self.parameters is not None or self.bytes is not None:
            return self._within(width_map).widths(width_map)
        blocks = width_map.blocks
        skipped = {block.name for item in self.skip for block in _matching(item, blocks)}
        own = self._own_ratios(blocks, skipped)
        found = {block.name: block.width for block in blocks}
        rest = [block for block in blocks if block.name not in skipped]
        for ratio in {own.get(block.name) for block in rest}:
            for members in _together(width_map, [block for block in rest if own.get(block.name) == ratio]):
                found |= self._group(width_map, members, ratio)
        if self.ratio is None and rest and all(self._goal(block) > block.width for block in blocks):
            msg = f"{self} is above the original, which is {max(block.width for block in blocks)} neurons at the most"
            raise PlanError(msg)
        return found | self._allocated(rest, found) if self.curves else found

    def _within(self, width_map: "WidthMap") -> "Target":
        """The target with the smallest ratio, in thousandths, that meets the budget.

        Raises:
            PlanError: none does.
        """
        budget = self.parameters or (self.bytes or 0) // width_map.itemsize
        asked = replace(self, parameters=None, bytes=None, curves=())

        def left(thousandths: int) -> int:
            widths = replace(asked, ratio=Decimal(thousandths) / 1000).widths(width_map)
            gone = sum((block.width - widths[block.name]) * block.per_neuron for block in width_map.blocks)
            return width_map.parameters - gone

        if (least := left(_THOUSAND - 1)) > budget:
            size = "" if self.parameters else f", that is {least * width_map.itemsize:,} bytes"
            msg = f"{self}: the budget cannot be met; {least:,} parameters stay at the least{size}"
            raise PlanError(msg)
        found = bisect_left(range(_THOUSAND), -budget, key=lambda thousandths: -left(thousandths))
        return replace(asked, ratio=Decimal(found) / 1000, curves=self.curves)

    def _allocated(self, blocks: list["GluBlock"], uniform: Mapping[str, int]) -> dict[str, int]:
        """Widths that cost no more than the `uniform` ones, and do least damage."""
        layers = one_block_each(blocks)
        found = allocated(
            self.curves,
            {layer: block.width for layer, block in layers.items()},
            {layer: uniform[block.name] for layer, block in layers.items()},
            {layer: block.hidden for layer, block in layers.items()},
            self.multiple_of or 1,
        )
        return {block.name: found[layer] for layer, block in layers.items()}

    def _own_ratios(self, blocks: tuple["GluBlock", ...], skipped: set[str]) -> dict[str, Ratio]:
        """Block name to the ratio of its layer.

        Raises:
            PlanError: a layer matches no block, has two ratios, or is left out.
        """
        found: dict[str, Ratio] = {}
        for layer, ratio in self.layer_ratios:
            names = {block.name for block in _matching(layer, blocks)}
            if names <= skipped or names & found.keys():
                why = "skip leaves it out" if names <= skipped else "it has another under another number"
                msg = f"layer_ratios gives layer {layer} the ratio {show_ratio(ratio)}, and {why}; remove one of them"
                raise PlanError(msg)
            found |= dict.fromkeys(names, ratio)
        return found

    @staticmethod
    def largest_multiple(width_map: "WidthMap") -> int:
        """The largest `multiple_of` that every block of a model can be rounded to."""
        return min(_unit(width_map, members)[0] for members in _together(width_map, width_map.blocks))

    def _goal(self, block: "GluBlock") -> Fraction:
        """The exact width that `block` is to have where the target is no ratio."""
        if self.expansion_ratio is not None:
            return Fraction(self.expansion_ratio) * block.hidden
        return Fraction(self.width or block.width)

    def _group(self, width_map: "WidthMap", blocks: list["GluBlock"], ratio: Ratio | None) -> dict[str, int]:
        """Widths of blocks that follow one entry: the unit is rounded, and each is some whole number of units."""
        unit, times = _unit(width_map, blocks)
        chosen = self.ratio if ratio is None else ratio
        if chosen is None:
            removed = max(Fraction(0), unit - self._goal(blocks[0]) / min(times.values()))
        else:
            removed = Fraction(chosen) * unit
        kept = round_width(unit, removed, self.multiple_of or 1)
        step = lcm(*(width_map.step(block) // gcd(width_map.step(block), times[block.name]) for block in blocks))
        if self.multiple_of is None and kept < unit and kept % step:
            kept = self._aligned(blocks[0].name, unit, removed, step)
        return {name: kept * count for name, count in times.items()}

    def _aligned(self, name: str, unit: int, removed: Fraction, step: int) -> int:
        """The nearest width on which experts run; a width that was asked for itself is not exchanged for another.

        Raises:
            PlanError: there is none, or the width was asked for.
        """
        below = round_width(unit, removed) // step * step
        if self.width is None and step <= unit:
            return round_width(unit, removed, step)
        near = " and ".join(str(each) for each in (below, below + step) if 0 < each <= unit) or f"{unit}, all of it"
        msg = (
            f"{name}: width {unit - floor(removed)} is not allowed: transformers' grouped kernels crash on experts "
            f"whose rows are not of whole 16 bytes; the nearest that run: {near}; multiple_of 1 cuts them all the same"
        )
        raise PlanError(msg)


def unaligned_experts(width_map: "WidthMap", widths: Mapping[str, int]) -> str:
    """What must be known of a model with these widths (by block) whose experts crash transformers' default kernels.

    Empty if they do not.
    """
    for block in width_map.blocks:
        step, width = width_map.step(block), widths[block.name]
        if width % step:
            return (
                f"experts of width {width} crash transformers' grouped kernels, whose rows are of whole 16 bytes: load "
                f'it with experts_implementation="eager", or prune to a multiple of {step}'
            )
    return ""


def _together(width_map: "WidthMap", blocks: Iterable["GluBlock"]) -> list[list["GluBlock"]]:
    """Blocks that are rounded together: those of one owner, or that follow one entry and its present value."""
    groups: dict[object, list[GluBlock]] = defaultdict(list)
    for block in blocks:
        groups[width_map.group(block), block.width / width_map.factor(block)].append(block)
    return list(groups.values())


def _unit(width_map: "WidthMap", blocks: list["GluBlock"]) -> tuple[int, dict[str, int]]:
    """The unit of widths that follow one entry, and how many units wide each block is."""
    # Rounding blocks one by one could give widths that no value of their common entry expresses (shared experts are a
    # multiple of it). So one unit that divides all of them is rounded, and the blocks follow.
    factors = {block.name: width_map.factor(block) for block in blocks}
    whole = lcm(*(factor.denominator for factor in factors.values()))
    times = {name: int(factor * whole) for name, factor in factors.items()}
    return blocks[0].width // times[blocks[0].name], times


def _matching(item: int | str, blocks: tuple["GluBlock", ...]) -> list["GluBlock"]:
    """The blocks of a layer (negative: from the end), or whose name or owner matches a pattern."""
    layers = sorted({block.layer for block in blocks if block.layer is not None})
    if isinstance(item, int):
        layer = item if item >= 0 else (layers[item] if -item <= len(layers) else None)
        found = [block for block in blocks if block.layer == layer and layer is not None]
    else:
        found = [block for block in blocks if fnmatchcase(block.name, item) or fnmatchcase(block.owner, item)]
    if not found:
        known = f"layers {layers[0]} to {layers[-1]}" if layers else ", ".join(block.name for block in blocks[:3])
        msg = f"{item!r} matches no GLU block; there are {known}"
        raise PlanError(msg)
    return found


def _whole(name: str, value: object) -> int:
    try:
        found = whole(str(value))
    except ValueError:  # an integer of thousands of digits
        found = None
    if isinstance(value, bool) or found is None or found < 1:
        msg = f"{name} {shown(value)} is not allowed; it is a whole number of at least 1"
        raise PlanError(msg)
    return found


def _expansion(value: object) -> Decimal:
    try:
        found = Decimal(str(value))
    except (ArithmeticError, ValueError):
        found = Decimal("NaN")
    if isinstance(value, bool) or not found.is_finite() or not _NARROWEST <= found <= _WIDEST:
        msg = f"expansion_ratio {shown(value)} is not allowed; it is width over hidden size, above 0, such as 2.4"
        raise PlanError(msg)
    return found
