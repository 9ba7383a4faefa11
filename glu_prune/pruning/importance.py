"""Criteria: how much a neuron matters. Each is a pure function of one block's weights; higher scores are kept."""

from collections.abc import Callable, Mapping

import torch

from glu_prune.errors import PlanError
from glu_prune.pruning.blocks import GluWeights

Criterion = Callable[[GluWeights, int], torch.Tensor]
"""(weights of a block, seed of that block) -> scores `(width,)`, float32."""


def ppm(weights: GluWeights, seed: int) -> torch.Tensor:
    """Peak-to-peak magnitude: `max + |min|` of a neuron's weights, summed over gate and up.

    For each of gate and up `(width, hidden)`: `max_j w_ij + |min_j w_ij|`; the result is `(width,)`. Deterministic:
    `seed` is not used. The study this project tests first called it MAW.

    Source: arXiv:2512.22671, section 3.
    """
    gate, up = weights.gate.float(), weights.up.float()
    return gate.amax(1) + gate.amin(1).abs() + up.amax(1) + up.amin(1).abs()


def random(weights: GluWeights, seed: int) -> torch.Tensor:
    """A control: uniform scores `(width,)` that know nothing of the weights, the same for the same seed."""
    return torch.rand(weights.gate.shape[0], generator=torch.Generator().manual_seed(seed))


CRITERIA: Mapping[str, Criterion] = {"ppm": ppm, "random": random}


def criterion(name: str) -> Criterion:
    """The criterion called `name`.

    Raises:
        PlanError: there is none of that name.
    """
    if name not in CRITERIA:
        msg = f"unknown criterion {name!r}; allowed: {', '.join(sorted(CRITERIA))}"
        raise PlanError(msg)
    return CRITERIA[name]
