"""What is cut: a frozen, serialisable list of kept neurons per block, made whole before any weight moves."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from operator import index
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import nn

from glu_prune.errors import PlanError, shown
from glu_prune.files import regular
from glu_prune.pruning.blocks import by_owner
from glu_prune.pruning.checksums import checksum
from glu_prune.pruning.criteria import Criterion, Neurons, criterion
from glu_prune.pruning.glu_block import GluWeights
from glu_prune.pruning.scoring import refuse_nonfinite, scores_of
from glu_prune.pruning.target import Target
from glu_prune.pruning.width_map import WidthMap, map_widths

_FORMAT = 2
_SHOWN = 8
"""Blocks with ties that are named in one line; the plan has all."""
_LARGE = 1 << 22
"""Bytes from which matrices are summed up in threads."""


@dataclass(frozen=True)
class BlockPlan:
    """Which neurons of one block stay."""

    name: str
    width: int
    """Neurons before."""
    kept: tuple[int, ...]
    """Indices that stay, ascending."""
    checksum: str = ""
    """Of the weights that the plan was made for; empty if it was made without weights. `fingerprint` in JSON."""
    tied: tuple[int, int] | None = None
    """Of the neurons with the score at which the cut lies, how many stay and how many go; (0, 0) if the cut parts no
    equals, None if that is not known."""

    def __post_init__(self) -> None:
        """Raises `PlanError` unless `kept` is ascending, unique, in range and not empty, and `tied` fits it."""
        ascending = all(a < b for a, b in zip(self.kept, self.kept[1:], strict=False))
        if not self.kept or not ascending or self.kept[0] < 0 or self.kept[-1] >= self.width:
            msg = f"{self.name}: kept must be ascending, unique, within 0..{self.width - 1} and not empty"
            raise PlanError(msg)
        stay, go = self.tied or (0, 0)
        if not (0 <= stay <= len(self.kept) and 0 <= go <= self.width - len(self.kept)):
            most = f"{len(self.kept)} that stay and {self.width - len(self.kept)} that go"
            msg = f"{self.name}: tied must be at most {most}"
            raise PlanError(msg)

    def within(self, earlier: "BlockPlan") -> "BlockPlan":
        """What this keeps, as indices into what `earlier` kept.

        Raises:
            PlanError: `earlier` is about another block, or kept less.
        """
        places = {neuron: place for place, neuron in enumerate(earlier.kept)}
        if (self.name, self.width) != (earlier.name, earlier.width) or not places.keys() >= set(self.kept):
            msg = f"{self.name} cannot be cut further: what was cut before lacks neurons that are to stay"
            raise PlanError(msg)
        return BlockPlan(self.name, len(places), tuple(places[neuron] for neuron in self.kept))


@dataclass(frozen=True)
class PruningPlan:
    """A criterion, a target, and the neurons that stay in every block."""

    criterion: str
    target: str
    """As `Target` says it, such as `ratio 0.4, multiple of 64`."""
    seed: int
    """Used by criteria that draw, and, if it is not 0, to break ties."""
    blocks: tuple[BlockPlan, ...]

    @property
    def widths(self) -> dict[str, int]:
        """Block name to width afterwards."""
        return {block.name: len(block.kept) for block in self.blocks}

    @property
    def ties(self) -> int | None:
        """How many neurons go, of all blocks, whose score is that of one that stays; None if that is not known."""
        removed = [block.tied and block.tied[1] for block in self.blocks]
        return None if None in removed else sum(filter(None, removed))

    @property
    def about_ties(self) -> str:
        """In which blocks it was arbitrary which neurons stay, as one line; empty if in none, or if nobody knows."""
        some = {block.name: block.tied for block in self.blocks if block.tied and block.tied[1]}
        if not some:
            return ""
        rule = "drawn by the seed" if self.seed else "the first; another seed draws others"
        counts = [f"{name} {kept} of {kept + removed}" for name, (kept, removed) in some.items()]
        more = f", and {len(counts) - _SHOWN} blocks more" if len(counts) > _SHOWN else ""
        return f"neurons of equal score at the cut, of which some stay ({rule}): {', '.join(counts[:_SHOWN])}{more}"

    def check(self, width_map: WidthMap) -> None:
        """Raises `PlanError` unless this plan was made for the blocks in `width_map`, with the weights they hold.

        Weights on the meta device, which holds none, are not compared.
        """
        found = {block.name: block.width for block in width_map.blocks}
        wanted = {block.name: block.width for block in self.blocks}
        if found != wanted:
            wrong = next(name for name in (*found, *wanted) if found.get(name) != wanted.get(name))
            msg = (
                f"the plan is for another model: {wrong} has width {found.get(wrong, 'none')} here "
                f"and {wanted.get(wrong, 'none')} in the plan"
            )
            raise PlanError(msg)
        # Experts of one layer are slices of one tensor, which has one width.
        widths = self.widths
        for owner, blocks in by_owner(width_map.blocks).items():
            if len(sizes := {widths[block.name] for block in blocks}) > 1:
                msg = f"the plan keeps different widths in {owner}: {sorted(sizes)}; experts of one layer share a width"
                raise PlanError(msg)
        for block in width_map.blocks:
            if not block.weights.gate.is_meta:
                self.check_weights(block.name, block.weights)

    def check_weights(self, name: str, weights: GluWeights) -> None:
        """Raises `PlanError` unless this plan was made for these weights of block `name`, or without weights."""
        expected = self._checksums[name]
        if expected and block_checksum(weights) != expected:
            msg = (
                f"the plan is for other weights: those of {name} differ from the ones it was made for; another "
                "revision, dtype or training of the model needs a plan of its own"
            )
            raise PlanError(msg)

    @cached_property
    def _checksums(self) -> dict[str, str]:
        return {block.name: block.checksum for block in self.blocks}

    def after(self, earlier: "PruningPlan") -> "PruningPlan":
        """The rest of this plan for a model that `earlier` has been applied to, which kept all that this plan keeps.

        Applied in turn, both leave the same bits as this plan alone. The plan holds no checksums, as the weights in
        between have none.

        Raises:
            PlanError: `earlier` is for other blocks, or cut what this plan keeps.
        """
        if len(earlier.blocks) != len(self.blocks):
            msg = f"the earlier plan has {len(earlier.blocks)} blocks, this one {len(self.blocks)}"
            raise PlanError(msg)
        pairs = zip(self.blocks, earlier.blocks, strict=True)
        return replace(self, blocks=tuple(block.within(cut) for block, cut in pairs))

    def to_json(self) -> str:
        """One line of JSON; `from_json` reads it back."""
        blocks = [
            {"name": each.name, "width": each.width, "kept": each.kept, "fingerprint": each.checksum, "tied": each.tied}
            for each in self.blocks
        ]
        return json.dumps(
            {
                "format": _FORMAT,
                "criterion": self.criterion,
                "target": self.target,
                "seed": self.seed,
                "blocks": blocks,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "PruningPlan":
        """The plan that `to_json` wrote.

        Raises:
            PlanError: `text` is not such a plan.
        """
        try:
            data = json.loads(text, object_pairs_hook=_said_once)
            if data["format"] != _FORMAT:
                msg = f"a pruning plan of format {shown(data['format'])}; this version reads format {_FORMAT}"
                raise PlanError(msg)
            blocks = tuple(
                BlockPlan(b["name"], index(b["width"]), tuple(map(index, b["kept"])), str(b["fingerprint"]), _tied(b))
                for b in data["blocks"]
            )
            return cls(str(data["criterion"]), str(data["target"]), index(data["seed"]), blocks)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            msg = f"not a pruning plan: {shown(error)}"
            raise PlanError(msg) from error

    @classmethod
    def read(cls, path: Path) -> "PruningPlan":
        """The plan in the file `path`.

        Raises:
            PlanError: it cannot be read, or is no plan.
        """
        try:
            return cls.from_json(regular(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, PlanError) as error:
            msg = f"{path} cannot be read: {error}"
            raise PlanError(msg) from error


def _tied(block: Mapping[str, Any]) -> tuple[int, int] | None:
    """What a block in JSON says of ties; plans of earlier versions say nothing."""
    if block.get("tied") is None:
        return None
    kept, removed = block["tied"]
    if not type(kept) is type(removed) is int:
        raise TypeError(kept)
    return kept, removed


@dataclass(frozen=True)
class RankedBlock:
    """The neurons of one block from most to least important."""

    order: torch.Tensor
    """Neuron indices `(width,)`."""
    scores: torch.Tensor
    """What the criterion says of them `(width,)`, descending."""
    checksum: str

    def plan(self, name: str, width: int) -> BlockPlan:
        """Keeps the first `width` of them."""
        return BlockPlan(name, len(self.order), _first(self.order, width), self.checksum, self._tied(width))

    def _tied(self, width: int) -> tuple[int, int]:
        if width == len(self.scores) or bool(self.scores[width - 1] != self.scores[width]):
            return 0, 0
        equal = self.scores == self.scores[width]
        return int(equal[:width].sum()), int(equal[width:].sum())


@dataclass(frozen=True)
class Ranking:
    """The neurons of every block from most to least important; plans that keep more hold those that keep less."""

    criterion: str
    seed: int
    """Of criteria that draw; where another one gives equal scores, which of these neurons come first, see `rank`."""
    width_map: WidthMap
    blocks: Mapping[str, RankedBlock]

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
        blocks = tuple(self.blocks[name].plan(name, width) for name, width in goal.widths(self.width_map).items())
        return PruningPlan(self.criterion, goal.of_model(self.width_map), self.seed, blocks)


def _said_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; raises `ValueError` for a key that is there twice, of which JSON takes the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        msg = f"{twice} is said twice"
        raise ValueError(msg)
    return found


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
    activations: Mapping[str, torch.Tensor] | None = None,
) -> Ranking:
    """Ranks the neurons of every block of `model` by a criterion.

    Of neurons with equal scores those of lower index come first; with a `seed` other than 0, in an order drawn by it.
    `activations` are what `calibration.measure` gives: block name to `(width,)` norms.

    Raises:
        UnsupportedModelError: `model` has no GLU block, or cannot be pruned.
        PlanError: the criterion does not exist or lacks what it needs, or weights or scores are not finite.
    """
    how = criterion(criterion_name)
    width_map = map_widths(model)
    ranked = {}
    for block in width_map.blocks:
        norms = activations.get(block.name) if activations else None
        ranked[block.name] = rank_block(block.name, block.weights, how, seed, norms)
    return Ranking(how.name, seed, width_map, ranked)


def rank_block(
    name: str, weights: GluWeights, how: Criterion, seed: int, activations: torch.Tensor | None
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
    if how.looks_at == "activations" and activations is not None and not bool(activations.any()):
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


def block_checksum(weights: GluWeights) -> str:
    """One checksum over gate, up and down."""
    matrices = (weights.gate, weights.up, weights.down)
    # Below some megabytes, starting threads takes longer than they save.
    if weights.gate.nbytes < _LARGE:
        parts = [checksum(matrix) for matrix in matrices]
    else:
        with ThreadPoolExecutor(len(matrices)) as pool:
            parts = list(pool.map(checksum, matrices))
    return xxhash.xxh3_64("".join(parts).encode()).hexdigest()
