"""The neurons of every block from most to least important, by a criterion."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

import torch
from torch import nn

from glu_prune.errors import PlanError
from glu_prune.pruning.criteria import Activations, Criterion, Neurons, criterion
from glu_prune.pruning.glu_block import GluWeights
from glu_prune.pruning.plan import BlockPlan, PruningPlan, block_checksum
from glu_prune.pruning.scoring import refuse_nonfinite, scores_of
from glu_prune.pruning.sensitivity import Curves, one_block_each
from glu_prune.pruning.target import Target
from glu_prune.pruning.width_map import WidthMap, map_widths

_SHARES = tuple(Decimal(number) / 20 for number in range(1, 20))
"""Ratios at which scores are added up where layers are cut by them."""


@dataclass(frozen=True)
class RankedBlock:
    """The neurons of one block from most to least important."""

    order: torch.Tensor
    """Neuron indices `(width,)`."""
    scores: torch.Tensor
    """What the criterion says of them `(width,)`, descending."""
    checksum: str
    stay: int = 0
    """How many stay whatever the criterion says; they come first."""

    def keeping(self, neurons: tuple[int, ...]) -> "RankedBlock":
        """The same, with these neurons first."""
        first = torch.isin(self.order, torch.tensor(neurons, dtype=self.order.dtype))
        places = torch.argsort(first.int(), descending=True, stable=True)
        return RankedBlock(self.order[places], self.scores[places], self.checksum, len(neurons))

    def plan(self, name: str, width: int) -> BlockPlan:
        """Keeps the first `width` of them; raises `PlanError` if more are to stay."""
        if width < self.stay:
            msg = f"{name}: {self.stay} neurons are to stay, and the target leaves {width}; keep fewer, or cut less"
            raise PlanError(msg)
        return BlockPlan(name, len(self.order), _first(self.order, width), self.checksum, self._tied(width))

    def _tied(self, width: int) -> tuple[int, int]:
        if width == len(self.scores) or width == self.stay or bool(self.scores[width - 1] != self.scores[width]):
            return 0, 0
        equal = self.scores == self.scores[width]
        equal[: self.stay] = False
        return int(equal[:width].sum()), int(equal[width:].sum())


@dataclass(frozen=True)
class Ranking:
    """The neurons of every block from most to least important; plans that keep more hold those that keep less."""

    criterion: str
    seed: int
    """Of criteria that draw; where another one gives equal scores, which of these neurons come first, see `rank`."""
    width_map: WidthMap
    blocks: Mapping[str, RankedBlock]

    @classmethod
    def of(cls, how: Criterion, seed: int, width_map: WidthMap, ranked: Mapping[str, RankedBlock]) -> "Ranking":
        """What a criterion says of each block, with the neurons first that stay whatever it says.

        Raises:
            PlanError: there are no such neurons.
        """
        blocks = dict(ranked)
        for name, neurons in staying(how, width_map).items():
            blocks[name] = blocks[name].keeping(neurons)
        return cls(how.name, seed, width_map, blocks)

    @property
    def orders(self) -> Mapping[str, torch.Tensor]:
        """Block name to neuron indices `(width,)`, most important first."""
        return {name: block.order for name, block in self.blocks.items()}

    def plan(self, target: object) -> PruningPlan:
        """The plan that keeps the most important neurons of every block, as many as `target` says (a ratio will do).

        Raises:
            PlanError: the target is not allowed, or does not fit the model.
        """
        goal = Target.of(target)
        if goal.by_score:
            goal = replace(goal, curves=self._curves())
        blocks = tuple(self.blocks[name].plan(name, width) for name, width in goal.widths(self.width_map).items())
        return PruningPlan(self.criterion, goal.of_model(self.width_map), self.seed, blocks)

    def _curves(self) -> Curves:
        """What goes of each layer's scores at each of some ratios, in units of its mean score.

        So neurons of all layers compete by how far they are below the mean of their own.
        """
        layers = one_block_each(self.width_map.blocks)
        return tuple((layer, _lost(self.blocks[block.name].scores)) for layer, block in layers.items())


def _lost(scores: torch.Tensor) -> tuple[tuple[Decimal, float], ...]:
    """(ratio, sum of the lowest scores over their mean) at each of `_SHARES`."""
    values = scores.double().clamp(min=0)
    mean = float(values.mean()) or 1.0
    lowest = values.flip(0).cumsum(0)
    counts = [max(1, int(ratio * len(values))) for ratio in _SHARES]
    return tuple((ratio, float(lowest[count - 1]) / mean) for ratio, count in zip(_SHARES, counts, strict=True))


def _first(order: torch.Tensor, count: int) -> tuple[int, ...]:
    return tuple(order[:count].sort().values.tolist())


def block_seed(seed: int, name: str) -> int:
    """The seed of one block, different for each."""
    # From the name, not from the block's number: skipping a block must not change what is drawn for the others.
    return int.from_bytes(hashlib.sha256(f"{seed}|{name}".encode()).digest()[:7], "big")


def rank(
    model: nn.Module,
    criterion_name: str = "ppm",
    seed: int = 0,
    activations: Mapping[str, Activations] | None = None,
) -> Ranking:
    """Ranks the neurons of every block of `model` by a criterion.

    Of neurons with equal scores those of lower index come first; with a `seed` other than 0, in an order drawn by it.
    `activations` are what `calibration.measure` gives, by block name.

    Raises:
        UnsupportedModelError: `model` has no GLU block, or cannot be pruned.
        PlanError: the criterion does not exist or lacks what it needs, or weights or scores are not finite.
    """
    how = criterion(criterion_name)
    width_map = map_widths(model)
    ranked = {}
    for block in width_map.blocks:
        seen = activations.get(block.name) if activations else None
        ranked[block.name] = rank_block(block.name, block.weights, how, seed, seen)
    return Ranking.of(how, seed, width_map, ranked)


def staying(how: Criterion, width_map: WidthMap) -> dict[str, tuple[int, ...]]:
    """Block name to the neurons that stay whatever a criterion says.

    Raises:
        PlanError: there are no such neurons.
    """
    found = {}
    for layer, neurons in how.keep.items():
        blocks = [block for block in width_map.blocks if block.layer == layer]
        if len(blocks) != 1 or neurons[-1] >= blocks[0].width:
            counted = f"layer {layer} has {len(blocks) or 'no'} GLU block{'s' if blocks else ''}"
            there = f"{blocks[0].name} has {blocks[0].width} neurons" if len(blocks) == 1 else counted
            msg = f"criterion {how.name}: {there}; neurons that stay are those of a layer's only block, from 0 on"
            raise PlanError(msg)
        found[blocks[0].name] = neurons
    return found


def rank_block(
    name: str, weights: GluWeights, how: Criterion, seed: int, activations: Activations | None
) -> RankedBlock:
    """One block's neurons, ranked.

    Raises:
        PlanError: the weights are not there, weights or scores are not finite, or the criterion fails.
    """
    if weights.gate.is_meta:
        if how.looks_at != "nothing":  # random scores can be planned for models that exist as a configuration only
            msg = f"{name}: criterion {how.name} needs weights, which a model on the meta device does not have"
            raise PlanError(msg)
        weights_checksum = ""
    else:
        weights_checksum = block_checksum(weights)
    if how.looks_at == "activations" and activations is not None and not bool(activations.norm.any()):
        msg = f"{name}: no calibration token reaches it, so its neurons are all alike; give more text, or skip it"
        raise PlanError(msg)
    drawn = block_seed(seed, name)
    scores = scores_of(name, how, Neurons(weights, drawn, activations))
    if weights_checksum:
        refuse_nonfinite(name, weights, scores)
    if scores.shape != weights.gate.shape[:1] or not bool(scores.isfinite().all()):
        msg = f"{name}: {how.name} gives scores {tuple(scores.shape)} that are not finite, one per neuron"
        raise PlanError(msg)
    scores = scores.detach().cpu()
    first = _drawn_order(len(scores), drawn) if seed else torch.arange(len(scores))
    # Stable, so that ties stay in that order on every machine; 4-bit weights have many neurons of equal score.
    order = first[torch.argsort(scores[first], descending=True, stable=True)]
    return RankedBlock(order, scores[order], weights_checksum)


def _drawn_order(width: int, seed: int) -> torch.Tensor:
    """All neurons `(width,)`, in an order that depends on the seed alone."""
    return torch.randperm(width, generator=torch.Generator().manual_seed(seed))
