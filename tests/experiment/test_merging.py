"""Records of parts, put together, are what one record of all their items would be."""

import math

import pytest

from glu_prune.efficiency.meter import Reading
from glu_prune.errors import EvaluationError
from glu_prune.experiment.merging import join, restrict
from glu_prune.experiment.record import CostRecord, FloorRecord, ScoreRecord
from tests.helpers.records import record


def scores(values, weights, score, parts=()):
    return ScoreRecord(score=score, values=values, weights=weights, parts=parts)


def part(number: int, items: tuple[str, ...], energy=("cpu",), others=0.5, **columns):
    cost = CostRecord(
        seconds=2.0 * number, others=others, positions=3, scored_positions=1, note="no gpu",
        energy={name: Reading(joules=5.0, method="rapl") for name in energy},
    )  # fmt: skip
    return record(
        f"key{number}", items=items, outputs=items, settings={"dtype": "float32", "part": f"part {number}"}, cost=cost,
        fields={"band": tuple((each,) for each in items)}, **columns,
    )  # fmt: skip


FIRST = part(
    1, ("a", "b"), lengths=(4, 5), flaws=((), ("cut",)), energy=("cpu", "gpu"),
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


def test_costs_add_up_where_all_were_measured():
    cost = join([FIRST, SECOND]).cost
    assert (cost.seconds, cost.positions, cost.scored_positions, cost.note) == (6.0, 6, 2, "no gpu")
    assert cost.energy == {"cpu": Reading(joules=10.0, method="rapl")}


def test_what_others_used_counts_by_time_and_is_known_of_all_or_not_at_all():
    assert join([part(1, ("a", "b")), part(2, ("c", "d"), others=0.125)]).cost.others == (0.5 * 2 + 0.125 * 4) / 6
    assert join([part(1, ("a", "b")), part(2, ("c", "d"), others=None)]).cost.others is None


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
