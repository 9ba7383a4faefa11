"""Units of measurement as types, the only place where one becomes another, and numbers as people write them."""

import re
from typing import NewType

Joules = NewType("Joules", float)
Seconds = NewType("Seconds", float)
Watts = NewType("Watts", float)
KilowattHours = NewType("KilowattHours", float)
KilogramsCO2e = NewType("KilogramsCO2e", float)
"""Mass of CO2 with the warming of all gases emitted; never an energy."""

JOULES_PER_KILOWATT_HOUR = 3.6e6
"""Exact: 1000 W x 3600 s."""


def joules(energy: KilowattHours) -> Joules:
    """`energy` in joules."""
    return Joules(energy * JOULES_PER_KILOWATT_HOUR)


def mean_power(energy: Joules, time: Seconds) -> Watts:
    """The power that gives `energy` when it is drawn for `time`."""
    return Watts(energy / time)


def energy_over(power: Watts, time: Seconds) -> Joules:
    """The energy of `power` drawn for `time`."""
    return Joules(power * time)


def size_of(size: int) -> str:
    """Bytes in words: `4.8 MB`, `2.5 GB`, `12.3 KB`; in full where that would round most of them away."""
    for unit, least in (("GB", 1e9), ("MB", 1e6), ("KB", 1e4)):
        if size >= least:
            return f"{size / (1e3 if unit == 'KB' else least):,.1f} {unit}"
    return f"{size:,} bytes"


def whole(text: str) -> int | None:
    """The whole number that `text` is, with a minus or not; None if it is none, or of more than 18 digits."""
    return int(text) if re.fullmatch(r"-?\d{1,18}", text, re.ASCII) else None


def fraction(text: str) -> float | None:
    """The number from 0 to 1 that `text` is; None if it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 <= number <= 1 else None


def positive_number(text: str) -> float | None:
    """The number above 0 that `text` is; None if it is none, or infinite."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None
