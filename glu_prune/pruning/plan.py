"""What is cut: a frozen, serialisable list of kept neurons per block, made whole before any weight moves."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import torch
from torch import nn

from glu_prune.errors import PlanError
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.importance import criterion
from glu_prune.pruning.ratio import kept_width, parse_ratio, show_ratio


@dataclass(frozen=True)
class BlockPlan:
    """Which neurons of one block stay."""

    name: str
    width: int
    """Neurons before."""
    kept: tuple[int, ...]
    """Indices that stay, ascending."""

    def __post_init__(self) -> None:
        """Raises `PlanError` unless `kept` is ascending, unique, in range and not empty."""
        ascending = all(a < b for a, b in zip(self.kept, self.kept[1:], strict=False))
        if not self.kept or not ascending or self.kept[0] < 0 or self.kept[-1] >= self.width:
            msg = f"{self.name}: kept must be ascending, unique, within 0..{self.width - 1} and not empty"
            raise PlanError(msg)


@dataclass(frozen=True)
class PruningPlan:
    """A criterion, a ratio, and the neurons that stay in every block."""

    criterion: str
    ratio: str
    """As `show_ratio` writes it."""
    seed: int
    """Used by seeded criteria."""
    blocks: tuple[BlockPlan, ...]

    def to_json(self) -> str:
        """One line of JSON; `from_json` reads it back."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "PruningPlan":
        """The plan that `to_json` wrote.

        Raises:
            PlanError: `text` is not such a plan.
        """
        try:
            data = json.loads(text)
            blocks = tuple(BlockPlan(b["name"], int(b["width"]), tuple(map(int, b["kept"]))) for b in data["blocks"])
            return cls(str(data["criterion"]), show_ratio(parse_ratio(data["ratio"])), int(data["seed"]), blocks)
        except (KeyError, TypeError, ValueError) as error:
            msg = f"not a pruning plan: {error!r}"
            raise PlanError(msg) from error


@dataclass(frozen=True)
class Ranking:
    """The neurons of every block from most to least important; plans of rising ratio are nested by construction."""

    criterion: str
    seed: int
    orders: Mapping[str, torch.Tensor]
    """Block name to neuron indices `(width,)`, most important first; ties in index order."""

    def plan(self, ratio: object) -> PruningPlan:
        """The plan that removes the least important `floor(ratio * width)` neurons of every block.

        Raises:
            PlanError: `ratio` is not in [0, 1).
        """
        exact = parse_ratio(ratio)
        blocks = tuple(
            BlockPlan(name, len(order), tuple(sorted(order[: kept_width(len(order), exact)].tolist())))
            for name, order in self.orders.items()
        )
        return PruningPlan(self.criterion, show_ratio(exact), self.seed, blocks)


def _block_seed(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}|{name}".encode()).digest()[:7], "big")


def rank(model: nn.Module, criterion_name: str = "ppm", seed: int = 0) -> Ranking:
    """Ranks the neurons of every block of `model` by a criterion.

    Raises:
        UnsupportedModelError: `model` has no GLU block.
        PlanError: the criterion does not exist, or a block's weights give a score that is not finite.
    """
    score = criterion(criterion_name)
    orders = {}
    for block in find_blocks(model):
        scores = score(block.weights, _block_seed(seed, block.name))
        if not bool(scores.isfinite().all()):
            msg = f"{block.name}: {criterion_name} gives scores that are not finite; the weights hold NaN or infinity"
            raise PlanError(msg)
        orders[block.name] = torch.argsort(scores, descending=True, stable=True).cpu()
    return Ranking(criterion_name, seed, orders)
