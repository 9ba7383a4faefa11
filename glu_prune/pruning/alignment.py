"""Widths that accelerators compute in whole pieces, near those that a ratio gives."""

from decimal import ROUND_CEILING, Decimal
from fractions import Fraction
from math import floor

from glu_prune.pruning.ratio import Ratio
from glu_prune.pruning.target import round_width

ALIGNED = 8
"""Widths are multiples of it where rows of 16-bit numbers are of whole 16 bytes, as tensor cores take them.

Source: NVIDIA, Matrix Multiplication Background User's Guide, section 4.
"""
MULTIPLES = (ALIGNED, 64, 128)
"""That, and usual tiles of kernels."""


def nearest(before: int, width: int, multiple_of: int) -> int:
    """The multiple of `multiple_of` nearest to `width`, of a block that was `before` neurons wide.

    Raises:
        PlanError: there is none up to `before`.
    """
    return round_width(before, Fraction(before - width), multiple_of)


def ratio_of(before: int, width: int) -> Ratio:
    """The ratio of fewest digits that leaves `width` of `before` neurons, by the rounding rule of `round_width`."""
    removed = Fraction(before - width)
    for digits in range(1, 2 + len(str(before))):
        step = Decimal(1).scaleb(-digits)
        ratio = (Decimal(before - width) / before).quantize(step, ROUND_CEILING)
        if floor(Fraction(ratio) * before) == removed:
            return ratio.normalize() if ratio else Decimal(0)
    msg = f"no ratio leaves {width} of {before} neurons"
    raise ValueError(msg)
