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

import xxhash

from glu_prune.errors import PlanError, shown
from glu_prune.files import regular
from glu_prune.pruning.blocks import by_owner
from glu_prune.pruning.checksums import checksum
from glu_prune.pruning.glu_block import GluWeights
from glu_prune.pruning.width_map import WidthMap

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

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of which neurons stay in which blocks: the same whatever dtype the weights had that were ranked."""
        return hashlib.sha256(
            json.dumps([(each.name, each.width, each.kept) for each in self.blocks]).encode()
        ).hexdigest()

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


def _said_once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object; raises `ValueError` for a key that is there twice, of which JSON takes the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        msg = f"{twice} is said twice"
        raise ValueError(msg)
    return found


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
