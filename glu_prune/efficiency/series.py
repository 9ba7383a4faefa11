"""What measuring one workload on several arms leaves behind: plain numbers, from which every figure is computed."""

from collections.abc import Mapping
from dataclasses import dataclass

from glu_prune.efficiency.footprint import Footprint
from glu_prune.efficiency.idle import IdlePower
from glu_prune.efficiency.meter import Emissions, Reading
from glu_prune.efficiency.workload import Workload
from glu_prune.units import Seconds

DENSE_LABEL = "dense"
"""Of the arm that others are compared with."""
REPLICATE = "dense again"
"""A copy of the dense model that went through the same surgery and lost nothing: what no difference looks like."""


@dataclass(frozen=True)
class PhaseWindow:
    """Some batches under one meter window; warm-up is not in it."""

    batches: int
    prompt_tokens: int
    """In all, padding left out."""
    new_tokens: int
    """In all."""
    seconds: Seconds
    readings: Mapping[str, Reading]
    """Channel to energy; a channel that does not exist here is absent."""
    emissions: Emissions | None
    note: str = ""
    """Why readings are absent."""
    other_load: float = 0.0
    """Share of the machine's processors that other processes used meanwhile, to about 0.01 / seconds."""


@dataclass(frozen=True)
class Turn:
    """One arm's share of one round."""

    prefill: PhaseWindow
    """Prompts alone: one new token, which is computed with the prompt."""
    generation: PhaseWindow
    """Prompts and all new tokens."""
    first_token: tuple[Seconds, ...]
    """Of each batch of `generation`: from the prompts to the first new token of all of them."""
    last_token: tuple[Seconds, ...]
    """Of each batch of `generation`: from the prompts to the last new token."""


@dataclass(frozen=True)
class ArmSeries:
    """Everything measured of one arm."""

    label: str
    parameter_bytes: int
    width: int
    """Neurons of the first GLU block."""
    turns: tuple[Turn, ...]
    """One per round."""
    footprints: tuple[Footprint, ...] = ()
    """One per process."""


@dataclass(frozen=True)
class Series:
    """Arms that took turns on one workload, in rounds whose order rotates, so that drift falls on all of them."""

    workload: Workload
    prompts: str
    """Where they come from, in words."""
    device: str
    """torch's type of the device that computed, such as `cpu` or `cuda`."""
    clock: str
    """What times were read from."""
    idle: IdlePower
    """Before the first round, with all arms loaded."""
    arms: Mapping[str, ArmSeries]
    """Label to arm, first `dense`, last `dense again` if there is anything to compare."""
