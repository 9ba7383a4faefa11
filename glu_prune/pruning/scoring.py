"""What a criterion says of the neurons of one block, and whether that can be used."""

import torch

from glu_prune.errors import PlanError, first_line, shown
from glu_prune.pruning.criteria import Criterion, Neurons
from glu_prune.pruning.glu_block import GluWeights


def scores_of(name: str, how: Criterion, neurons: Neurons) -> torch.Tensor:
    """What the criterion says, which may be anybody's code.

    Raises:
        PlanError: it fails, gives no tensor whose numbers can be sorted, or writes into the weights.
    """
    shown_weights = (neurons.weights.gate, neurons.weights.up, neurons.weights.down)
    before = [_writes(each) for each in shown_weights]
    try:
        scores = how.score(neurons)
    except PlanError:
        raise
    except (Exception, SystemExit) as error:  # it must not end the command as if that were done
        msg = f"{name}: criterion {how.name} fails{how.place(error)}: {first_line(error)}"
        raise PlanError(msg) from error
    if [_writes(each) for each in shown_weights] != before:
        msg = f"{name}: criterion {how.name} writes into the weights that it is shown; let it work on a `.clone()`"
        raise PlanError(msg)
    if not isinstance(scores, torch.Tensor):
        msg = f"{name}: criterion {how.name} gives {shown(scores)}, not a tensor of scores, one per neuron"
        raise PlanError(msg)
    if scores.is_complex() or scores.is_meta or scores.layout != torch.strided:
        kind = ", ".join(str(each).removeprefix("torch.") for each in (scores.dtype, scores.layout, scores.device))
        msg = f"{name}: criterion {how.name} gives a tensor of another kind ({kind}); give real, dense scores in memory"
        raise PlanError(msg)
    return scores


def _writes(tensor: torch.Tensor) -> int:
    """How often its memory was written to, as far as torch counts."""
    # Autograd's version counter notices any in-place write without a copy of the weights to compare with.
    return 0 if tensor.is_inference() else int(tensor._version)


def refuse_nonfinite(name: str, weights: GluWeights, scores: torch.Tensor) -> None:
    """Raises `PlanError` if a weight is NaN or infinite."""
    # NaN and infinity survive any sum, and a sum takes a fraction of the time of `isfinite` over whole matrices. A sum
    # may overflow with finite weights, too: then the search below finds nothing.
    if all(bool(each.sum().isfinite()) for each in (scores, weights.gate, weights.up, weights.down)):
        return
    for part in ("gate", "up", "down"):
        if count := int((~getattr(weights, part).isfinite()).sum()):
            msg = f"{name}: {count} weights of {part} are NaN or infinite; the checkpoint is broken"
            raise PlanError(msg)
