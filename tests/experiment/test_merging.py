"""Records of parts, put together, are what one record of all their items would be."""

import math

import pytest

from glu_prune.errors import EvaluationError
from glu_prune.experiment.merging import join, refuse_other_accelerators, restrict
from glu_prune.experiment.record import FloorRecord, ScoreRecord
from tests.helpers.records import record


def scores(values, weights, score, parts=()):
    return ScoreRecord(score=score, values=values, weights=weights, parts=parts)


def part(number: int, items: tuple[str, ...], positions: int | None = 3, **columns):
    return record(
        f"key{number}", items=items, outputs=items, settings={"dtype": "float32", "part": f"part {number}"},
        fields={"band": tuple((each,) for each in items)}, positions=positions, scored_positions=1, **columns,
    )  # fmt: skip


FIRST = part(
    1, ("a", "b"), lengths=(4, 5), flaws=((), ("cut",)),
    metrics={"word_perplexity": scores((1.0, 2.0), (3.0, 1.0), math.exp(1.25)), "acc": scores((1.0, 0.0), (1.0, 1.0), 0.5)},
)  # fmt: skip
SECOND = part(
    2, ("c",), lengths=(6,), flaws=(("loop", "cut"),),
    metrics={"word_perplexity": scores((4.0,), (4.0,), math.exp(4)), "acc": scores((1.0,), (1.0,), 1.0)},
)  # fmt: skip


def test_columns_follow_each_other_and_scores_are_those_of_all_items():
    found = join([FIRST, SECOND])
    assert found.items == found.outputs == ("a", "b", "c")
    assert found.fields == {"band": (("a",), ("b",), ("c",))}
    assert (found.lengths, found.flaws, found.margins) == ((4, 5, 6), ((), ("cut",), ("loop", "cut")), ())
    assert found.metrics["acc"] == scores((1.0, 0.0, 1.0), (1.0, 1.0, 1.0), 2 / 3)
    assert found.metrics["word_perplexity"].score == pytest.approx(math.exp((3 + 2 + 16) / 8))
    assert found.settings["part"] == "part 1, part 2"


def test_work_adds_up_where_all_of_it_was_counted():
    found = join([FIRST, SECOND])
    assert (found.positions, found.scored_positions) == (6, 2)
    assert join([FIRST, part(2, ("c", "d"), positions=None)]).positions is None


def test_a_single_part_stays_as_it_is_and_a_joined_one_is_no_cell():
    assert join([FIRST]) is FIRST
    assert join([FIRST, SECOND]).key not in (FIRST.key, SECOND.key)


def test_floors_are_restricted_to_the_items_that_were_answered():
    """In their order, with the scores that the same null models reach on them alone."""
    every = FloorRecord(
        key="k", task="t", versions={}, created="now", items=("a", "b", "c"),
        nulls={"empty": {"acc": scores((1.0, 0.0, 0.0), (1.0, 1.0, 2.0), 0.25, ((1.0,), (0.0,), (0.0, 0.0)))}},
    )  # fmt: skip
    found = restrict(every, ("c", "a"))
    assert found.items == ("c", "a")
    assert found.nulls["empty"]["acc"] == scores((0.0, 1.0), (2.0, 1.0), 1 / 3, ((0.0, 0.0), (1.0,)))
    with pytest.raises(EvaluationError, match="t: 1 items are not among those of its floors; cannot pair"):
        restrict(every, ("a", "z"))


def test_records_of_different_accelerators_are_not_paired():
    on = {name: record(settings={"accelerator": name} if name else {}) for name in ("", "T4", "H100")}
    for name in on:
        refuse_other_accelerators([on[name], on[name]])
    with pytest.raises(EvaluationError, match="tiny-base dense was computed on T4, dense on H100; cannot pair"):
        refuse_other_accelerators([on["T4"], on["H100"]])
    with pytest.raises(EvaluationError, match="on no accelerator"):
        refuse_other_accelerators(on.values())
