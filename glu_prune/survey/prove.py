"""Cuts a tiny random model of a family and checks every property of pruning on it."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from glu_prune.contract.properties import PROPERTIES
from glu_prune.contract.subject import Case, Subject
from glu_prune.errors import ContractError, UnsupportedModelError
from glu_prune.pruning.blocks import by_owner, find_blocks
from glu_prune.survey import tiny

Status = Literal["proven", "no GLU", "not supported"]
CASES = (Case(ratio="0.4"), Case("l2", "0.33", 3), Case("random", "0.7", seed=3))
"""What every family is cut by; the last owner alone is cut in the second, so that widths differ."""


@dataclass(frozen=True)
class Finding:
    """What is known of one family."""

    family: str
    model: str
    """Its class in transformers."""
    status: Status
    layouts: str = ""
    """How it stores its GLU blocks."""
    why: str = ""
    """What is particular, or what stands in the way."""


def subject(family: str) -> Subject:
    """A tiny random model of `family` and inputs for it; experts are computed one by one."""
    model: Any = tiny.build(family)
    return Subject.of(model, tiny.inputs(model), family)


def cases(of: Subject) -> Iterator[Case]:
    """The cases of a proof."""
    for case in CASES:
        last = list(by_owner(find_blocks(of.model)))[-1]
        yield Case(case.criterion, case.ratio, case.multiple_of, (last,) if case.multiple_of > 1 else (), case.seed)


def prove(family: str) -> Finding:
    """What pruning does to `family`, found by doing it."""
    name = tiny.CLASSES[family]
    if family in tiny.UNBUILDABLE:
        return Finding(family, name, "not supported", why=tiny.UNBUILDABLE[family])
    of = subject(family)
    try:
        blocks = find_blocks(of.model)
    except UnsupportedModelError:
        return Finding(family, name, "no GLU")
    layouts = ", and ".join(dict.fromkeys(block.layout for block in blocks))
    try:
        for case, check in itertools.product(cases(of), PROPERTIES.values()):
            check(of, case)
    except (UnsupportedModelError, ContractError) as error:
        return Finding(family, name, "not supported", layouts, str(error))
    return Finding(family, name, "proven", layouts, _remark(of))


def _remark(of: Subject) -> str:
    """What is particular about a proven family."""
    width_map = of.width_map
    remarks = []
    if any(block.joined for block in width_map.blocks):
        remarks.append("looks at all neurons at once: removing one is not silencing it")
    if any(block.name not in width_map.entries for block in width_map.blocks):
        remarks.append("its configuration cannot say every width: glu_prune.load")
    return "; ".join(remarks)
