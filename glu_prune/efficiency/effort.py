"""How much is measured; apart from what measures, which needs torch."""

import math
from dataclasses import dataclass

from glu_prune.errors import WorkloadError


@dataclass(frozen=True)
class Effort:
    """How often, how long, and for which grid is measured."""

    rounds: int = 8
    """In each of them every arm has its turn."""
    seconds: float | None = None
    """Least length of a window, to a fifth of a batch; None for as long as the energy counters of the machine need."""
    processes: int = 4
    """Fresh processes per arm in which memory is measured."""
    grid: str = "USA"
    """ISO 3166 alpha-3 code of the country whose CO2 per kWh is assumed."""

    def __post_init__(self) -> None:
        """Raises `WorkloadError` for numbers that measure nothing."""
        for what, found, least in (
            ("rounds", self.rounds, 2),
            ("processes for memory", self.processes, 0),
            ("seconds per window", 0.1 if self.seconds is None else self.seconds, 0.1),
        ):
            if not least <= found < math.inf:
                msg = f"a measurement needs at least {least} {what}; found {found}"
                raise WorkloadError(msg)
