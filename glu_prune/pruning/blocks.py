"""The one seam to models: finds GLU blocks, in whichever layout."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace

from torch import nn

from glu_prune.errors import UnsupportedModelError
from glu_prune.pruning.glu_block import GluBlock
from glu_prune.pruning.layouts import LAYOUTS

OTHER_TOWERS = re.compile(r"vision|visual|image|audio|speech|codec|quantizer|depth_decoder")
"""In names of modules and of configuration entries that do not belong to the language model; they are left alone."""
_FEED_FORWARD = re.compile(r"(mlp|ffn?|feed_?forward|fc|experts?|dense_?relu_?dense)$")
_MANY = 6


def find_blocks(model: nn.Module) -> tuple[GluBlock, ...]:
    """All GLU blocks of the language model in `model`, in order, each checked; shared ones once.

    Blocks of vision and audio towers are left out.

    Raises:
        UnsupportedModelError: there is none, or one contradicts itself; nothing has been changed.
    """
    blocks = tuple(_distinct(_all_blocks(model)))
    if not blocks:
        msg = (
            f"{type(model).__name__} has no GLU block in a known layout; its feed-forward modules are: "
            f"{_candidates(model) or 'none'}. Only gated MLPs can be pruned; `glu-prune families` lists what is known"
        )
        raise UnsupportedModelError(msg)
    return blocks


def _all_blocks(model: nn.Module) -> Iterator[GluBlock]:
    for name, module in model.named_modules():
        if not OTHER_TOWERS.search(name):
            for layout in LAYOUTS:
                yield from layout(name, module)


def _distinct(blocks: Iterable[GluBlock]) -> Iterator[GluBlock]:
    """The blocks, checked; those that share their matrices (tied layers) as one."""
    # Tied matrices are one object under several names. Cut once per name, they would be cut twice; and were only some
    # of a block's matrices tied, its neurons could not be removed without removing other neurons from another block.
    found: dict[tuple[tuple[int, int | None, int], ...], GluBlock] = {}
    owners: dict[tuple[int, int | None, int], object] = {}
    for block in blocks:
        block.check()
        matrices = tuple((id(s.tensor), s.expert, s.segment) for s in block.slices[:3])
        if {owners.setdefault(matrix, matrices) for matrix in matrices} != {matrices}:
            msg = f"{block.name}: it shares some of its matrices with another block, but not all; such ties are unknown"
            raise UnsupportedModelError(msg)
        first = found.setdefault(matrices, block)
        parts = {id(neurons.tensor) for neurons in first.slices}
        more = tuple(neurons for neurons in block.other_slices if id(neurons.tensor) not in parts)
        if first is not block and more:
            found[matrices] = replace(first, other_slices=(*first.other_slices, *more))
    yield from found.values()


def by_owner(blocks: Iterable[GluBlock]) -> dict[str, list[GluBlock]]:
    """Blocks by the module that holds their parameters, in order."""
    owners = defaultdict(list)
    for block in blocks:
        owners[block.owner].append(block)
    return dict(owners)


def _candidates(model: nn.Module) -> str:
    found = Counter(
        f"{type(module).__name__}({', '.join(child for child, _ in module.named_children())})"
        for name, module in model.named_modules()
        if _FEED_FORWARD.search(name.lower()) and any(True for _ in module.parameters())
    )
    return ", ".join(f"{shape} x{count}" for shape, count in found.most_common(_MANY))
