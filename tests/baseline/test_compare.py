"""Two outcomes of one thing, item by item."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.baseline.compare import compare, of_many, paired, refuse_incomparable
from glu_prune.baseline.outcome import Band
from glu_prune.errors import BaselineError
from tests.helpers.examples import scaled
from tests.helpers.outcomes import made, names

RIGHT, WRONG = [1.0] * 60, [0.0] * 60
HALF = [1.0] * 30 + [0.0] * 30
MIRROR = {"regressed": "improved", "improved": "regressed", "unchanged": "unchanged", "not shown": "not shown"}
scores = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=60)


def one(before, after, *args):
    (found,) = compare([(before, after)], *args)
    return found


def test_what_fell_regressed_and_what_rose_improved():
    assert one(made(RIGHT), made(HALF)).outcome == "regressed"
    assert one(made(HALF), made(RIGHT)).outcome == "improved"
    lower = {"metric": "word_perplexity", "higher_is_better": False}
    assert one(made(WRONG, **lower), made(HALF, **lower)).outcome == "regressed"
    assert one(made(HALF, **lower), made(WRONG, **lower)).outcome == "improved"


@given(scores)
def test_a_run_is_unchanged_against_itself_and_two_mirror_each_other(pairs):
    old, new = (made(side) for side in zip(*pairs, strict=True))
    same = one(old, old)
    assert (same.outcome, same.note, same.p) == ("unchanged", "no item changed", 1.0)
    there, back = one(old, new), one(new, old)
    assert back.outcome == MIRROR[there.outcome]
    assert (back.change.delta, back.change.worse) == (-there.change.delta, there.change.better)


@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter(pairs, random):
    old, new = zip(*pairs, strict=True)
    order = list(range(len(pairs)))
    random.shuffle(order)
    mixed = made([old[place] for place in order], items=[names(len(pairs))[place] for place in order])
    assert one(mixed, made(new)) == one(made(old), made(new))


def test_a_change_within_the_noise_band_or_the_margin_is_none():
    old, new = made(RIGHT), made(HALF)
    for band, expected in ((0.49, "regressed"), (0.5, "not shown"), (0.8, "unchanged")):
        noisy = replace(old, about=old.about.model_copy(update={"band": Band(score=band, items=3, run="again")}))
        for found in (one(noisy, new), one(old, replace(new, about=noisy.about.model_copy(update={"score": 0.5})))):
            assert (found.outcome, found.band) == (expected, band)
    assert one(old, new, 0.49).outcome == "regressed"
    assert (one(old, new, 0.5).outcome, one(old, new, 0.5).note) == ("not shown", "within the margin")
    assert (one(old, new, 0.8).outcome, one(old, new, 0.8).note) == ("allowed", "worse, within the margin of 0.8")
    found = one(old, made([0.0] * 3 + [1.0] * 57), 0.8)
    assert (found.outcome, found.note) == ("unchanged", "no worse by more than the margin, shown")
    assert one(new, old, 0.8).outcome == "unchanged", "better, by less than the margin"


def test_what_chance_would_do_is_no_change():
    found = one(made(RIGHT), made([0.0] * 3 + [1.0] * 57))
    assert (found.outcome, found.note) == ("not shown", "")
    assert found.p == pytest.approx(0.25)
    assert len(found.change.worse) == 3


@pytest.mark.slow("simulates hundreds of runs")
@pytest.mark.parametrize(("share", "tests"), [(0.0, 1), (0.0, 48), (0.1, 1), (0.3, 48)])
def test_the_loss_that_would_have_been_found_is_found_in_four_of_five_runs(share, tests):
    """Simulated: items that change at random both ways, and besides so many that get worse."""
    rng, items, runs = np.random.default_rng(5), 480, scaled(400)
    flips = rng.random(items) < share
    old = np.ones(items)
    new = np.where(flips & (rng.random(items) < 0.5), 0.0, old)
    old = np.where(flips & (new == 1.0), 0.0, old)
    catches = one(made(list(old)), made(list(new)), 0.0, of_many(tests)).catches
    found = 0
    for _ in range(runs):
        draw = rng.random(items)
        lost, gained = draw < share / 2 + catches, draw > 1 - share / 2
        after = np.where(lost, 0.0, 1.0)
        before = np.where(gained, 0.0, 1.0)
        found += one(made(list(before)), made(list(after)), 0.0, of_many(tests)).outcome == "regressed"
    assert found / runs >= 0.74


def test_p_is_corrected_for_how_many_are_compared():
    old, new = made(RIGHT), made([0.0] * 7 + [1.0] * 53)
    assert one(old, new).p == pytest.approx(2 / 2**7)
    many = compare([(old, new), *[(old, old)] * 9])
    assert many[0].p == pytest.approx(10 * 2 / 2**7)
    assert (many[0].outcome, many[0].note) == ("not shown", "")
    assert one(old, new, 0.0, of_many(3)).p == pytest.approx(3 * 2 / 2**7)
    assert one(old, new, 0.0, of_many(10_000)).p == 1.0


@pytest.mark.parametrize("metric", ["mc2", "word_perplexity"])
def test_a_change_of_every_item_is_shown_among_however_many_outcomes(metric):
    about = {"metric": metric, "higher_is_better": metric == "mc2"}
    old, new = (made([level + 0.001 * step for step in range(100)], **about) for level in (0.4, 0.6))
    assert one(old, new, 0.0, of_many(10_000)).outcome == ("improved" if metric == "mc2" else "regressed")


def test_items_of_one_source_count_as_one():
    alone = one(made(RIGHT), made(HALF))
    together = one(made(RIGHT), made(HALF, clusters=["a"] * 30 + ["b"] * 30))
    assert alone.outcome == "regressed"
    assert together.outcome == "not shown"
    assert "2 clusters" in together.change.test


def test_rounding_is_no_change():
    lower = {"metric": "word_perplexity", "higher_is_better": False}
    found = one(made([1.0] * 60, **lower), made([1.0 + 1e-6] * 60, **lower))
    assert (found.outcome, found.note) == ("unchanged", "no item changed")


def test_items_that_changed_are_named_the_largest_change_first():
    found = one(made([1.0, 1.0, 1.0, 0.0]), made([0.5, 1.0, 0.0, 0.25]))
    assert found.change.worse == (f"{names(4)[2][:8]} (#2)", f"{names(4)[0][:8]} (#0)")
    assert found.change.better == (f"{names(4)[3][:8]} (#3)",)
    assert "2 items worse, 1 better of 4" in found.sentence
    assert f"worse: {names(4)[2][:8]} (#2)" in found.sentence


def test_the_sentence_names_some_and_counts_the_rest():
    said = one(made(RIGHT), made(HALF)).sentence
    assert said.count("(#") == 10
    assert "30 items worse, 0 better of 60" in said
    assert "and 20 more" in said
    assert "1.000 -> 0.500, -0.5 (95 % " in said


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        (None, made(RIGHT), "there was none before"),
        (made(RIGHT), None, "there is none now"),
        (made(RIGHT), made([1.0] * 59), "1 items only before, 0 only now (of 60 before and 59 now)"),
        (
            made(RIGHT, comparable={"num_fewshot": 5}),
            made(RIGHT, comparable={"num_fewshot": 0}),
            "num_fewshot 5 before, 0 now",
        ),
        (made(RIGHT), made(RIGHT, higher_is_better=False), "better is not the same way before and now"),
        (made(RIGHT), made(RIGHT, weights=[2.0] * 60), "items count differently before and now"),
    ],
)
def test_what_cannot_be_compared_is_said_and_never_a_change(before, after, why):
    found = one(before, after)
    assert (found.outcome, found.note, found.change) == ("incomparable" if after else "missing", why, None)
    assert found.sentence.endswith(why)


def test_a_fact_that_one_side_does_not_state_is_no_difference():
    assert one(made(RIGHT, comparable={"num_fewshot": 5}), made(HALF)).outcome == "regressed"


def test_what_was_computed_in_another_way_is_compared_and_said():
    found = one(made(RIGHT, settings={"dtype": "float32"}), made(RIGHT, settings={"dtype": "bfloat16"}))
    assert (found.outcome, found.note) == ("unchanged", "no item changed, other dtype")


def test_pairs_are_of_the_same_thing_asked_in_the_same_way():
    first = [made(RIGHT, arm="dense"), made(RIGHT, arm="ppm-0.5"), made(RIGHT[:9], arm="dense", comparable={"part": "0-9"})]  # fmt: skip
    pairs = paired(first, [first[2], first[0]])
    assert {(a and a.about.arm, b and b.about.arm, a and len(a.items)) for a, b in pairs} == {
        ("dense", "dense", 60), ("dense", "dense", 9), ("ppm-0.5", None, 60),
    }  # fmt: skip


def test_one_model_is_compared_with_one_of_another_name():
    ((before, after),) = paired([made(RIGHT, model="old")], [made(HALF, model="new")])
    assert (before.about.model, after.about.model) == ("old", "new")
    two = [made(RIGHT, model="old"), made(RIGHT, model="older")]
    assert len(paired(two, [made(HALF, model="new")])) == 3


def test_if_nothing_can_be_compared_nothing_is_said_to_be_unchanged():
    refuse_incomparable(compare([(made(RIGHT), made(RIGHT)), (made(RIGHT), None)]))
    with pytest.raises(BaselineError, match=r"nothing can be compared: ./m dense facts \(t\) acc: there is none now; and 1 more"):  # fmt: skip
        refuse_incomparable(compare([(made(RIGHT), None), (None, made(RIGHT, arm="x"))]))


def test_an_item_that_occurs_twice_cannot_be_paired():
    with pytest.raises(BaselineError, match="item aa occurs 2 times"):
        made([1.0, 0.0], items=["aa", "aa"])
