"""What lies behind a change: margins, lengths, flawed outputs, groups."""

from decimal import Decimal

import pytest

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.record import Record, ScoreRecord
from glu_prune.judgement.explanation import explanation, groups
from glu_prune.results.explanations import Explanation
from tests.helpers.records import record

SKILL = Capability("skill", "t", "acc", "a skill", groups=("kind",))
ITEMS = ("a", "b", "c", "d")
AT_HALF = {"ratio": Decimal("0.5")}


def why(capability: Capability, dense: Record, pruned: Record) -> Explanation:
    return explanation("m", AT_HALF, capability, (dense, pruned), (1, 2))


def answers(values, **columns):
    scores = ScoreRecord(score=sum(values) / 4, values=tuple(values), weights=(1.0,) * 4)
    fields = {"kind": (("x",), ("x",), ("y",), ("y",))}
    return record(**{"items": ITEMS, "outputs": ITEMS, "metrics": {"acc": scores}, "fields": fields, **columns})


def test_choices_have_margins():
    dense = answers([1, 1, 0, 0], margins=(1.0, 2.0, -1.0, -2.0), answers=("a", "b", "b", "c"))
    other = answers([0] * 4, margins=(-1.0,) * 4, answers=("b", "b", "c", "c"))
    found = why(SKILL, dense, other)
    assert found.margin == (0.0, -1.0)
    share, low, high = found.flips
    assert share == 0.5, "one was right, one is wrong in another way"
    assert 0 <= low < 0.5 < high <= 1
    assert why(SKILL, dense, dense).flips[:2] == (0.0, 0.0)
    assert found.commonest == ("b 50%", "b 50%")
    assert (found.length, found.flawed, found.sound) == (None, None, None)


def test_texts_have_lengths_and_flaws_and_scores_without_them():
    dense = answers([1, 1, 0, 0], lengths=(10, 20, 30, 40), flaws=((), (), ("cut",), ()), answers=ITEMS)
    pruned = answers([1, 0, 1, 1], lengths=(10, 64, 10, 40), flaws=((), ("cut", "loop"), (), ("loop",)), answers=ITEMS)
    found = why(SKILL, dense, pruned)
    assert found.length == (25.0, 31.0)
    assert found.flips[0] == 0.0
    empty = answers([1, 0, 1, 1], lengths=(1,) * 4, flaws=((),) * 4, answers=("a", "", "c", ""))
    assert why(SKILL, dense, empty).flips[0] == 0.5
    assert why(SKILL, dense, empty).commonest == ("all differ", "(empty) 50%")
    assert found.flawed == (0.25, 0.5)
    assert found.kinds == ("1 cut", "1 cut, 2 loop")
    assert found.sound == (1.0, 1.0)  # item a alone: b and d are flawed in the pruned model, c in the dense one
    assert found.sound_items == 1


def test_where_every_output_is_flawed_there_is_no_score_without():
    flawed = answers([1] * 4, lengths=(1,) * 4, flaws=(("empty",),) * 4)
    assert why(SKILL, flawed, flawed).sound is None


def test_groups_are_averaged_each_on_its_own():
    found = groups("m", AT_HALF, SKILL, (answers([1, 0, 1, 1]), answers([0, 0, 1, 0])))
    assert [(g.field, g.label, g.items, g.dense, g.pruned) for g in found] == [
        ("kind", "x", 2, 0.5, 0.0),
        ("kind", "y", 2, 1.0, 0.5),
    ]


def constraints(parts, labels):
    values = tuple(sum(each) / len(each) for each in parts)
    scores = ScoreRecord(score=0.5, values=values, weights=tuple(map(float, map(len, parts))), parts=parts)
    prompts = ScoreRecord(score=0.5, values=tuple(float(all(each)) for each in parts), weights=(1.0, 1.0))
    return record(fields={"kind": labels}, metrics={"acc": scores, "prompts": prompts})


def test_each_constraint_counts_under_its_own_label():
    found = constraints(((1.0, 0.0), (1.0,)), (("length", "case"), ("case",)))
    assert [(g.label, g.items, g.dense) for g in groups("m", AT_HALF, SKILL, (found, found))] == [
        ("case", 2, 0.5),
        ("length", 1, 1.0),
    ]
    prompts = Capability("skill", "t", "prompts", "a skill", groups=("kind",))
    assert [(g.label, g.dense) for g in groups("m", AT_HALF, prompts, (found, found))] == [
        ("case", 0.5),
        ("length", pytest.approx(0.0)),
    ]
