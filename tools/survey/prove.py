"""Cuts a tiny random model of a family and checks every property of pruning on it."""

import itertools
from collections.abc import Iterator
from typing import Any

from glu_prune.contract.properties import PROPERTIES
from glu_prune.contract.subject import PruningCase, Subject
from glu_prune.errors import ContractError, UnsupportedModelError
from glu_prune.models.families import Family
from glu_prune.pruning.blocks import by_owner, find_blocks
from tools.survey import tiny
from tools.survey.overrides import UNBUILDABLE

CASES = (PruningCase(ratio="0.4"), PruningCase("l2", "0.33", 3), PruningCase("random", "0.7", seed=3))
"""What every family is cut by; the last owner alone is cut in the second, so that widths differ."""


def subject(family: str) -> Subject:
    """A tiny random model of `family` and inputs for it; experts are computed one by one."""
    model: Any = tiny.build(family)
    return Subject.of(model, tiny.inputs(model), family)


def cases(of: Subject) -> Iterator[PruningCase]:
    """The cases of a proof."""
    for case in CASES:
        last = list(by_owner(find_blocks(of.model)))[-1]
        yield PruningCase(
            case.criterion, case.ratio, case.multiple_of, (last,) if case.multiple_of > 1 else (), case.seed
        )


def prove(family: str) -> Family:
    """What pruning does to `family`, found by doing it."""
    name = tiny.CLASSES[family]
    if family in UNBUILDABLE:
        return Family(family=family, model=name, status="not supported", why=UNBUILDABLE[family])
    of = subject(family)
    try:
        blocks = find_blocks(of.model)
    except UnsupportedModelError:
        return Family(family=family, model=name, status="no GLU")
    layouts = ", and ".join(dict.fromkeys(block.layout for block in blocks))
    try:
        for case, check in itertools.product(cases(of), PROPERTIES.values()):
            check(of, case)
    except (UnsupportedModelError, ContractError) as error:
        return Family(family=family, model=name, status="not supported", layouts=layouts, why=str(error))
    return Family(family=family, model=name, status="proven", layouts=layouts, why=_remark(of))


def _remark(of: Subject) -> str:
    """What is particular about a proven family."""
    width_map = of.width_map
    remarks = []
    if any(block.cross_neuron_methods for block in width_map.blocks):
        remarks.append("looks at all neurons at once: removing one is not silencing it")
    if any(block.name not in width_map.entries for block in width_map.blocks):
        remarks.append("its configuration cannot say every width: glu_prune.load")
    return "; ".join(remarks)
