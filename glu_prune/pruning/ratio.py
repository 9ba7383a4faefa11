"""The pruning ratio in exact decimal arithmetic."""

from decimal import Decimal, InvalidOperation

from glu_prune.errors import PlanError

Ratio = Decimal
"""Fraction of neurons removed, 0 <= ratio < 1."""


def parse_ratio(value: object) -> Ratio:
    """`value` as a ratio: 0.29 is 29/100, not its nearest binary fraction.

    Raises:
        PlanError: `value` is no number, or not in [0, 1).
    """
    try:
        ratio = Decimal(str(value))
    except InvalidOperation:
        ratio = Decimal("NaN")
    if isinstance(value, bool) or not ratio.is_finite() or not 0 <= ratio < 1:
        msg = f"ratio {value!r} is not allowed; it is the fraction of neurons removed, 0 <= ratio < 1, such as 0.5"
        raise PlanError(msg)
    return Decimal(0) if ratio == 0 else ratio


def show_ratio(ratio: Ratio) -> str:
    """`ratio` with at least one and no needless decimals: 0.0, 0.5, 0.25."""
    return f"{ratio.normalize():f}" if ratio % Decimal("0.1") else f"{ratio:.1f}"
