"""Units of measurement as types, and the only place where one becomes another."""

from typing import NewType

Joules = NewType("Joules", float)
Seconds = NewType("Seconds", float)
KilowattHours = NewType("KilowattHours", float)

JOULES_PER_KILOWATT_HOUR = 3.6e6
"""Exact: 1000 W x 3600 s."""


def joules(energy: KilowattHours) -> Joules:
    """`energy` in joules."""
    return Joules(energy * JOULES_PER_KILOWATT_HOUR)
