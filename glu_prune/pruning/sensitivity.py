"""How much worse a model predicts when one layer alone is cut: what allocations of neurons to layers are made from."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.errors import PlanError
from glu_prune.files import regular
from glu_prune.pruning.ratio import Ratio, parse_ratio, show_ratio

if TYPE_CHECKING:
    import torch

    from glu_prune.pruning.glu_block import GluBlock
    from glu_prune.pruning.ranking import Ranking

Curves = tuple[tuple[int, tuple[tuple[Ratio, float], ...]], ...]
"""Layer to what cutting it alone does at each of some ratios, 0 left out."""
BY_SENSITIVITY = "by_sensitivity"
"""Stands for a file that is still to be measured."""
_VERSION = 1


class Predictions:
    """What a model predicts of a text while it is whole."""

    def __init__(self, model: Any, rows: "Sequence[torch.Tensor]") -> None:
        """`rows` are sequences of token ids, of at least two tokens each."""
        self._model = model
        self.rows = rows
        self._dense = [_predicted(model, row) for row in rows]

    def measured(self) -> dict[str, float]:
        """Of the model as it is now, in nats per token: `divergence`, KL(dense || it), and `loss`."""
        import torch

        apart, losses = [], []
        for dense, row in zip(self._dense, self.rows, strict=True):
            now = _predicted(self._model, row)
            apart.append(_apart(dense, now))
            losses.append(-now.gather(1, row[1:, None])[:, 0])
        return {
            name: float(torch.cat(each).double().mean()) for name, each in (("divergence", apart), ("loss", losses))
        }

    def divergences(self, other: Any) -> list[float]:
        """KL(dense || another model) of each row, in nats per token."""
        pairs = zip(self._dense, self.rows, strict=True)
        return [float(_apart(dense, _predicted(other, row)).double().mean()) for dense, row in pairs]


def _predicted(model: Any, row: "torch.Tensor") -> "torch.Tensor":
    """Log-probabilities `(tokens - 1, vocabulary)` of each next token."""
    import torch

    with torch.inference_mode():
        logits: torch.Tensor = model(row[None], use_cache=False).logits[0, :-1]
        return logits.log_softmax(-1, torch.float32)


def _apart(dense: "torch.Tensor", now: "torch.Tensor") -> "torch.Tensor":
    """KL of each next token."""
    found: torch.Tensor = (dense.exp() * (dense - now)).sum(-1)
    return found


@contextmanager
def without(blocks: "Mapping[str, GluBlock]", gone: Mapping[str, Sequence[int]]) -> Iterator[None]:
    """Inside, these neurons of these blocks put nothing out, as if they had been removed."""
    import torch

    kept = {}
    with torch.no_grad():
        for name, places in gone.items():
            down = blocks[name].weights.down
            kept[name] = down[:, places].clone()
            down[:, places] = 0
        try:
            yield
        finally:
            for name, places in gone.items():
                blocks[name].weights.down[:, places] = kept[name]


@dataclass(frozen=True)
class Sensitivity:
    """What cutting each layer alone does to a model, and how that was measured."""

    criterion: str
    curves: Curves
    about: tuple[tuple[str, str], ...] = ()
    """(what, which): model, text, tokens."""

    def to_json(self) -> str:
        """The file that an arm's `allocation` names."""
        layers = {
            str(layer): {show_ratio(ratio): divergence for ratio, divergence in curve} for layer, curve in self.curves
        }
        said = {"version": _VERSION, "criterion": self.criterion, **dict(self.about), "layers": layers}
        return json.dumps(said, indent=1) + "\n"

    @classmethod
    def read(cls, path: Path) -> "Sensitivity":
        """The file `path`.

        Raises:
            PlanError: it cannot be read, or is none.
        """
        try:
            said = json.loads(regular(path).read_text(encoding="utf-8"))
            curves = tuple(
                (int(layer), tuple(sorted((parse_ratio(ratio), float(each)) for ratio, each in curve.items())))
                for layer, curve in said["layers"].items()
            )
            whole = said["version"] == _VERSION and curves and all(curve for _, curve in curves)
            found = cls(str(said["criterion"]), curves) if whole else None
        except OSError as error:
            msg = f"{path} cannot be read: {error.strerror or error}"
            if path.name == BY_SENSITIVITY:
                msg = "a sensitivity is measured first: `glu-prune sensitivity MODEL --out FILE`; then name that FILE"
            raise PlanError(msg) from error
        except (ValueError, KeyError, TypeError, AttributeError, PlanError):
            found = None
        if found is None:
            msg = f"{path} is no sensitivity of layers; `glu-prune sensitivity MODEL --out FILE` writes one"
            raise PlanError(msg)
        return found


def digest(curves: Curves) -> str:
    """A fingerprint of curves: eight hexadecimal digits."""
    said = [[layer, [[str(ratio), value] for ratio, value in curve]] for layer, curve in curves]
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:8]


def curves_of(
    model: Any,
    ranking: "Ranking",
    rows: "Sequence[torch.Tensor]",
    ratios: Sequence[Decimal],
    told: Callable[[int, int], None] = lambda *_: None,
) -> Curves:
    """KL(dense || cut) of the next token, in nats, for each layer cut alone at each of `ratios`.

    Args:
        model: Whole; it is whole again afterwards.
        ranking: Of its neurons, by the criterion that is to cut.
        rows: Sequences of token ids.
        ratios: Ascending.
        told: Given how many cuts are measured, and of how many.

    Raises:
        PlanError: a layer has several GLU blocks, or a block no layer.
    """
    blocks = {block.name: block for block in ranking.width_map.blocks}
    layers = one_block_each(blocks.values())
    predictions, found, done = Predictions(model, rows), [], 0
    for layer, block in layers.items():
        curve = []
        for ratio in ratios:
            kept = ranking.blocks[block.name].plan(block.name, max(1, block.width - int(ratio * block.width))).kept
            gone = sorted({*range(block.width)} - {*kept})
            with without(blocks, {block.name: gone}):
                curve.append((ratio, predictions.measured()["divergence"]))
            done += 1
            told(done, len(layers) * len(ratios))
        found.append((layer, tuple(curve)))
    return tuple(found)


def one_block_each(blocks: "Sequence[GluBlock] | Any") -> "dict[int, GluBlock]":
    """Layer to its only block; raises `PlanError` where layers have several, or blocks no layer."""
    found: dict[int, GluBlock] = {}
    for block in blocks:
        if block.layer is None or block.layer in found:
            msg = f"{block.name}: neurons are allocated to layers of one GLU block each, as those without experts have"
            raise PlanError(msg)
        found[block.layer] = block
    return found
