"""The pruning ratio in exact decimal arithmetic."""

from decimal import Decimal

from glu_prune.errors import PlanError, shown

Ratio = Decimal
"""Fraction of neurons removed, 0 <= ratio < 1."""
_LEAST = Decimal("1e-12")
"""No model has so many neurons that less would remove one."""


def parse_ratio(value: object) -> Ratio:
    """`value` as a ratio: 0.29 is 29/100, not its nearest binary fraction.

    Raises:
        PlanError: `value` is no number, or not in [0, 1).
    """
    try:
        ratio = Decimal(str(value) if str(value).isascii() else "NaN")  # other scripts have digits, too
    except (
        ArithmeticError,
        ValueError,
    ):  # an exponent that is too large for a Decimal; a ValueError: an integer of thousands of digits
        ratio = Decimal("NaN")
    # Shown in full, a number such as 1e-999999999 would fill the memory.
    if isinstance(value, bool) or not ratio.is_finite() or not 0 <= ratio < 1 or 0 < ratio < _LEAST:
        msg = f"ratio {shown(value)} is not allowed; it is the fraction of neurons removed, 0 <= ratio < 1, such as 0.5"
        raise PlanError(msg)
    return Decimal(0) if ratio == 0 else ratio.normalize()


def show_ratio(ratio: Ratio) -> str:
    """`ratio` with at least one and no needless decimals: 0.0, 0.5, 0.25."""
    return f"{ratio.normalize():f}" if ratio % Decimal("0.1") else f"{ratio:.1f}"
