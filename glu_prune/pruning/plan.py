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

import torch
import xxhash
from torch import nn

from glu_prune.errors import PlanError, first_line, shown
from glu_prune.files import regular
from glu_prune.pruning.blocks import by_owner
from glu_prune.pruning.checksums import checksum
from glu_prune.pruning.criteria import Criterion, Neurons, criterion
from glu_prune.pruning.glu_block import GluWeights
from glu_prune.pruning.target import Target
from glu_prune.pruning.width_map import WidthMap, map_widths

_FORMAT = 2
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

    def __post_init__(self) -> None:
        """Raises `PlanError` unless `kept` is ascending, unique, in range and not empty."""
        ascending = all(a < b for a, b in zip(self.kept, self.kept[1:], strict=False))
        if not self.kept or not ascending or self.kept[0] < 0 or self.kept[-1] >= self.width:
            msg = f"{self.name}: kept must be ascending, unique, within 0..{self.width - 1} and not empty"
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
    """Used by seeded criteria."""
    blocks: tuple[BlockPlan, ...]

    @property
    def widths(self) -> dict[str, int]:
        """Block name to width afterwards."""
        return {block.name: len(block.kept) for block in self.blocks}

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
            {"name": block.name, "width": block.width, "kept": block.kept, "fingerprint": block.checksum}
            for block in self.blocks
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
                BlockPlan(b["name"], index(b["width"]), tuple(map(index, b["kept"])), str(b["fingerprint"]))
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


@dataclass(frozen=True)
class Ranking:
    """The neurons of every block from most to least important; plans that keep more hold those that keep less."""

    criterion: str
    seed: int
    width_map: WidthMap
    orders: Mapping[str, torch.Tensor]
    """Block name to neuron indices `(width,)`, most important first; ties in index order."""
    checksums: Mapping[str, str]

    def plan(self, target: object) -> PruningPlan:
        """The plan that keeps the most important neurons of every block, as many as `target` says (a ratio will do).

        Raises:
            PlanError: the target is not allowed, or does not fit the model.
        """
        goal = Target.of(target)
        blocks = tuple(
            BlockPlan(name, len(self.orders[name]), _first(self.orders[name], width), self.checksums[name])
            for name, width in goal.widths(self.width_map).items()
        )
        return PruningPlan(self.criterion, str(goal), self.seed, blocks)


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

    `activations` are what `calibration.measure` gives: block name to `(width,)` norms.

    Raises:
        UnsupportedModelError: `model` has no GLU block, or cannot be pruned.
        PlanError: the criterion does not exist or lacks what it needs, or weights or scores are not finite.
    """
    how = criterion(criterion_name)
    width_map = map_widths(model)
    orders, checksums = {}, {}
    for block in width_map.blocks:
        norms = activations.get(block.name) if activations else None
        orders[block.name], checksums[block.name] = rank_block(block.name, block.weights, how, seed, norms)
    return Ranking(how.name, seed, width_map, orders, checksums)


def rank_block(
    name: str, weights: GluWeights, how: Criterion, seed: int, activations: torch.Tensor | None
) -> tuple[torch.Tensor, str]:
    """The order of one block's neurons `(width,)`, most important first, and the checksum of its weights.

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
    scores = _scores(name, how, Neurons(weights, block_seed(seed, name), activations))
    if weights_checksum:
        _refuse_nonfinite(name, weights, scores)
    if scores.shape != weights.gate.shape[:1] or not bool(scores.isfinite().all()):
        msg = f"{name}: {how.name} gives scores {tuple(scores.shape)} that are not finite, one per neuron"
        raise PlanError(msg)
    # Stable, so that ties go to the lower index on every machine; 4-bit weights have many neurons of equal score.
    return torch.argsort(scores, descending=True, stable=True).cpu(), weights_checksum


def _scores(name: str, how: Criterion, neurons: Neurons) -> torch.Tensor:
    """What the criterion says, which may be anybody's code.

    Raises:
        PlanError: it fails, gives no tensor, or writes into the weights.
    """
    shown_weights = (neurons.weights.gate, neurons.weights.up, neurons.weights.down)
    before = [_writes(each) for each in shown_weights]
    try:
        scores = how.score(neurons)
    except PlanError:
        raise
    except Exception as error:
        msg = f"{name}: criterion {how.name} fails{how.place(error)}: {first_line(error)}"
        raise PlanError(msg) from error
    if [_writes(each) for each in shown_weights] != before:
        msg = f"{name}: criterion {how.name} writes into the weights that it is shown; let it work on a `.clone()`"
        raise PlanError(msg)
    if not isinstance(scores, torch.Tensor):
        msg = f"{name}: criterion {how.name} gives {shown(scores)}, not a tensor of scores, one per neuron"
        raise PlanError(msg)
    return scores


def _writes(tensor: torch.Tensor) -> int:
    """How often its memory was written to, as far as torch counts."""
    # Autograd's version counter notices any in-place write without a copy of the weights to compare with.
    return 0 if tensor.is_inference() else int(tensor._version)


def _refuse_nonfinite(name: str, weights: GluWeights, scores: torch.Tensor) -> None:
    """Raises `PlanError` if a weight is NaN or infinite."""
    # NaN and infinity survive any sum, and a sum takes a fraction of the time of `isfinite` over whole matrices. A sum
    # may overflow with finite weights, too: then the search below finds nothing.
    if all(bool(each.sum().isfinite()) for each in (scores, weights.gate, weights.up, weights.down)):
        return
    for part in ("gate", "up", "down"):
        if count := int((~getattr(weights, part).isfinite()).sum()):
            msg = f"{name}: {count} weights of {part} are NaN or infinite; the checkpoint is broken"
            raise PlanError(msg)


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
