"""What changed, item by item, in the runs of claims about directions."""

from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest

from glu_prune.errors import NotMeasuredError
from glu_prune.experiment.cell import DENSE
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.judgement.case import Case
from glu_prune.judgement.kinds.direction import DirectionCase
from glu_prune.judgement.scores import tied
from glu_prune.judgement.sources import Source
from glu_prune.results.changes import ItemChange, ItemChanges

BUDGET = 3_000_000
"""Characters of all texts together, so that a page stays one that opens at once."""
_TEXT = 700
"""Characters of a text that are shown: its end where it is a prompt, else its beginning."""
_FEWEST, _MOST = 4, 100
"""Items of a capability at a ratio."""


def changes(source: Source, cases: Iterable[Case]) -> list[ItemChanges]:
    """What changed in `cases`, as far as their items and texts are known: runs keep both, packs neither."""
    about = [case for case in cases if isinstance(case, DirectionCase)]
    most = max(_FEWEST, min(_MOST, BUDGET // (3 * _TEXT * max(len(about), 1))))
    found = {(each.model, each.at, each.capability): each for case in about for each in _of(source, case, most)}
    return list(found.values())


def _of(source: Source, case: DirectionCase, most: int) -> Iterator[ItemChanges]:
    needed, *_ = case.requirements()
    try:
        *_, last = source.scores(case, needed)
    except NotMeasuredError:
        return
    floors = last.floors
    if floors is None or not floors.questions or case.arm not in last.records:
        return
    every = _changed(case, last.records[DENSE], last.records[case.arm], floors)
    kinds = ([each for each in every if each.change == kind] for kind in ("worse", "better", "other answer"))
    shown = [each for each in chain(*zip_longest(*kinds)) if each is not None][:most]  # some of each kind
    about = {"model": case.subject, **case.about_arm, "capability": case.capability.name}
    yield ItemChanges.model_validate({**about, "found": len(every), "shown": tuple(shown)})


def _changed(case: DirectionCase, dense: Record, pruned: Record, floors: FloorRecord) -> list[ItemChange]:
    before, now = (each.metrics[case.capability.metric].values for each in (dense, pruned))
    after = tied(now, before)
    sign = 1 if case.capability.higher_is_better else -1
    return [
        ItemChange(
            item=item,
            groups=tuple(label for labels in dense.fields.values() for label in labels[place]),
            question=floors.questions[place][-_TEXT:],
            target=floors.targets[place][:_TEXT],
            dense=_said(dense, place),
            pruned=_said(pruned, place),
            dense_score=before[place],
            pruned_score=after[place],
            change=_kind(sign * (after[place] - before[place])),
            flaws=(_flaws(dense, place), _flaws(pruned, place)),
        )
        for place, item in enumerate(dense.items)  # there are no answers where texts are only scored
        if before[place] != after[place] or dense.answers[place : place + 1] != pruned.answers[place : place + 1]
    ]


def _kind(gain: float) -> str:
    return "better" if gain > 0 else "worse" if gain < 0 else "other answer"


def _said(record: Record, place: int) -> str | None:
    """The text that was written, or the choice that was taken; None where texts are only scored."""
    said = record.outputs if record.lengths else record.answers
    return said[place][:_TEXT] if said else None


def _flaws(record: Record, place: int) -> str:
    return ", ".join(record.flaws[place]) if record.flaws else ""
