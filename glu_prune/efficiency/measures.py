"""Figures of cost that a claim can be about."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One figure."""

    name: str
    unit: str
    what: str


MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("joules_per_token", "J", "energy over tokens generated"),
        Measure("tokens_per_second", "tokens/s", "tokens generated over the time it took"),
        Measure("time_to_first_token", "ms", "from the prompt to the first token of the answer"),
    )
}
