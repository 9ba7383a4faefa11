"""Verdicts on records with known items: every outcome, for the reason that its sentence gives."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import DENSE
from glu_prune.experiment.record import FloorRecord
from glu_prune.judgement.scores import PairedScores
from tests.helpers.verdicts import case, found, last, recorded, share


@pytest.mark.parametrize(
    ("direction", "higher", "dense", "pruned", "expected"),
    [
        ("down", True, 80, 30, "confirmed"),
        ("up", True, 80, 30, "refuted"),
        ("up", True, 30, 80, "confirmed"),
        ("down", True, 30, 80, "refuted"),
        ("down", False, 30, 80, "confirmed"),
        ("up", False, 30, 80, "refuted"),
        ("up", True, 80, 80, "inconclusive"),
        ("down", True, 80, 79, "inconclusive"),
    ],
)
def test_directions_speak_of_the_capability(direction, higher, dense, pruned, expected):
    assert found(case(direction, higher=higher), share(dense), share(pruned)).outcome == expected


@pytest.mark.parametrize(
    ("changed", "expected"), [(0, "confirmed"), (1, "confirmed"), (10, "inconclusive"), (60, "refuted")]
)
def test_preserved_means_within_its_margin(changed, expected):
    pruned = [0.0] * changed + share(80)[changed:]
    assert found(case("preserved", margin=0.1), share(80), pruned).outcome == expected


def test_preserved_does_not_care_which_way_it_left():
    verdict = found(case("preserved", margin=0.1), share(30), share(80))
    assert verdict.outcome == "refuted"
    assert verdict.p < 1e-6, "the p that says so, not that of the claim"
    assert "of more than the margin p = " in verdict.sentence


def test_few_items_without_a_change_do_not_show_that_nothing_changes():
    assert found(case("preserved", margin=0.1), share(8, 10), share(8, 10)).outcome == "inconclusive"


def test_the_more_ratios_a_claim_is_made_at_the_more_it_takes():
    """10 lost and 1 gained: p = 0.012, which is enough for one ratio and not for six; `-k` changes nothing about it."""
    pruned = [1.0, *share(69, 99)]
    dense = [0.0, *share(79, 99)]
    assert found(case("down", ratios=1), dense, pruned).outcome == "confirmed"
    verdict = found(case("down", ratios=5), dense, pruned)
    assert verdict.outcome == "inconclusive"
    assert verdict.tests == 5
    assert "exact McNemar p = 0.012 x 5 tests" in verdict.sentence


def test_a_rise_that_ends_below_the_floor_is_an_artefact():
    verdict = found(case("up"), share(10), share(30), nulls={"word loop": last(60), "empty": share(0)})
    assert verdict.outcome == "artefact"
    assert (verdict.floor, verdict.floor_of, verdict.note) == (0.6, "word loop", "under the floor")
    assert "the pruned model is not above the floor of content-free answers (word loop 0.600), p = " in verdict.sentence


def test_a_rise_to_just_below_the_floor_by_other_items_is_inconclusive():
    verdict = found(case("up"), share(10), share(30), nulls={"word loop": last(31)})
    assert (verdict.outcome, verdict.note) == ("inconclusive", "under the floor")


def test_a_rise_where_the_floor_is_right_is_an_artefact():
    """As high as the floor and a little higher, by its answers."""
    verdict = found(case("up"), last(10), share(32), nulls={"word loop": share(31)})
    assert (verdict.outcome, verdict.note) == ("artefact", "under the floor")
    assert "and it gained where these answers are right (p = " in verdict.sentence
    assert (
        found(case("preserved", margin=0.4), last(10), share(32), nulls={"word loop": share(31)}).outcome == "artefact"
    )


def test_identical_models_are_never_an_artefact():
    """Nor where an unrelated null scores far above both."""
    for direction, more in (("preserved", {"margin": 0.1}), ("up", {}), ("down", {})):
        verdict = found(case(direction, **more), share(45), share(45), nulls={"longest answer": last(66)})
        assert verdict.outcome == "inconclusive"


def test_nothing_is_refuted_where_the_opposite_would_not_be_confirmed():
    nulls = {"longest answer": last(60)}
    assert found(case("up"), share(10), share(30), nulls=nulls).outcome == "artefact"
    verdict = found(case("down"), share(10), share(30), nulls=nulls)
    assert verdict.outcome == "inconclusive"
    assert "the pruned model is not above the floor" in verdict.sentence
    assert found(case("up"), share(30), share(10), nulls=nulls).outcome == "inconclusive"
    assert found(case("preserved", margin=0.05), share(30), share(10), nulls=nulls).outcome == "inconclusive"


def test_a_rise_that_is_not_shown_to_be_above_the_floor_is_inconclusive():
    verdict = found(case("up"), share(10), share(30), nulls={"word loop": last(25)})
    assert verdict.outcome == "inconclusive"
    assert "not shown to be above the floor of content-free answers (word loop 0.250)" in verdict.sentence
    assert verdict.needed > 100
    assert f"about {verdict.needed:,} more items than the task has would decide it at 80 % power" in verdict.sentence


def test_no_number_of_items_decides_what_rests_on_a_score_below_its_floor():
    """Within the margin, shown or not; a fall that is not shown yet is another thing, if there is something to lose."""
    nulls = {"longest answer": last(90)}
    for pruned in (44, 40):
        verdict = found(case("preserved", margin=0.06), share(45), share(pruned), nulls=nulls)
        assert (verdict.outcome, verdict.needed) == ("inconclusive", None)
        assert "the pruned model is not above the floor of content-free answers (longest answer 0.900), p = " in (
            verdict.sentence
        )
        assert "would decide it" not in verdict.sentence
    assert found(case("down"), share(45), share(42), nulls=nulls).needed is None
    assert found(case("up"), share(45), share(42)).needed > 100
    assert found(case("up"), share(45), share(42), nulls={"word loop": last(10)}).needed > 100


def test_a_rise_above_the_floor_is_confirmed():
    verdict = found(case("up"), share(10), share(60), nulls={"word loop": last(25)})
    assert verdict.outcome == "confirmed"
    assert "the pruned model is above the floor" in verdict.sentence


def test_echoes_are_no_floor_but_are_named():
    verdict = found(case("up"), share(10), share(60), nulls={"word loop": share(5), "echo loop": share(70)})
    assert verdict.outcome == "confirmed"
    assert verdict.floor_of == "word loop"
    assert verdict.sentence.endswith("echo loop of the prompt scores 0.700")


def test_where_less_is_better_the_lowest_null_model_is_the_floor():
    claim = case("up", higher=False)
    verdict = found(claim, share(90), share(60), nulls={"a": last(30), "b": last(50)})
    assert (verdict.floor_of, verdict.outcome) == ("a", "artefact")


def test_a_fall_from_the_floor_had_nothing_to_lose():
    verdict = found(case("down"), share(30), share(10), nulls={"uniform": [0.3] * 100})
    assert verdict.outcome == "inconclusive"
    assert verdict.note.startswith("dense under the floor")
    assert "nothing to lose: the dense model is not above the floor" in verdict.sentence


def test_preserved_at_the_floor_preserves_nothing():
    nulls = {"uniform": [0.5] * 400}
    verdict = found(case("preserved", margin=0.1), share(200, 400), share(198, 400), nulls=nulls)
    assert (verdict.outcome, verdict.note) == ("inconclusive", "under the floor")


def test_a_drift_to_chance_is_named():
    verdict = found(case("up"), share(5), share(24), nulls={"uniform": [0.25] * 100})
    assert (verdict.outcome, verdict.note) == ("inconclusive", "under the floor, drift to chance")
    assert "a drift from below towards chance (0.250)" in verdict.sentence
    verdict = found(case("down"), share(90), share(26), nulls={"uniform": [0.25] * 100})
    assert (verdict.outcome, verdict.note) == ("confirmed", "at chance")


@pytest.mark.parametrize(
    ("direction", "dense", "pruned", "random", "expected"),
    [
        ("down", 90, 30, (88, 86, 90, 87, 85), "confirmed"),
        ("down", 90, 30, (12, 15, 10, 13, 14), "artefact"),
        ("down", 90, 30, (30, 31, 29, 30, 28), "inconclusive"),
        ("down", 90, 30, (60, 20, 88, 40, 85), "inconclusive"),
        ("down", 90, 30, (32, 33, 32, 33, 32), "inconclusive"),
        ("up", 30, 90, (40, 42, 38, 41, 39), "confirmed"),
        ("up", 30, 85, (97, 96, 98, 97, 96), "artefact"),
        ("down", 90, 30, (88,), "inconclusive"),
        ("down", 90, 30, (), "inconclusive"),
    ],
)
def test_specific_claims_need_draws_that_do_less(direction, dense, pruned, random, expected):
    """All draws, and another one like them: not one that happened to."""
    controls = list(map(share, random))
    claim = case(direction, specific=True, draws=max(1, len(random)))
    verdict = found(claim, share(dense), share(pruned), random=controls)
    assert verdict.outcome == expected
    assert "control random" in verdict.sentence
    assert found(case(direction), share(dense), share(pruned), random=controls).outcome == "confirmed"


def test_how_many_draws_would_do_is_said():
    spread = [share(each) for each in (60, 45, 70, 40, 55)]
    verdict = found(case("down", specific=True, draws=5, ratios=5), share(90), share(25), random=spread)
    assert re.search(r"5 draws of the control random give \(0.400 to 0.700, mean 0.540\), p = 0.0\d+; \d+ draws would show it", verdict.sentence)  # fmt: skip
    one = found(case("down", specific=True), share(90), share(30), random=spread[:1])
    assert "fewer than 5 do not tell what others would; declare `control_seeds: 5` or more" in one.sentence


def test_the_numbers_are_shown():
    verdict = found(case("down"), share(80), share(30), nulls={"word loop": last(10)})
    assert (verdict.dense, verdict.pruned) == (0.8, 0.3)
    assert verdict.delta == pytest.approx(-0.5)
    assert (verdict.gained, verdict.lost, verdict.items) == (0, 50, 100)
    assert verdict.low < -0.5 < verdict.high < 0
    assert verdict.sentence.startswith(
        "skill down: confirmed. acc 0.800 -> 0.300 (-0.500, 95 % interval -0.596 to -0.404)"
    )
    assert "of 100 items 0 got better, 50 worse; exact McNemar p = 1.8e-15" in verdict.sentence
    assert "the dense model is above the floor of content-free answers (word loop 0.100), p = " in verdict.sentence


def test_lower_is_better_counts_gains_the_other_way():
    verdict = found(case("down", higher=False), share(30), share(80))
    assert (verdict.gained, verdict.lost) == (0, 50)


def test_records_of_other_items_than_the_floors_cannot_be_paired():
    claim = case("down")
    other = recorded(share(10)).model_copy(update={"items": tuple(f"x{i}" for i in range(100))})
    floors = FloorRecord(key="k", task="t", versions={}, created="now", items=tuple(map(str, range(100))), nulls={})
    with pytest.raises(EvaluationError, match="not about the items"):
        PairedScores(claim.capability, {DENSE: recorded(share(10)), claim.arm: other}, floors)


def test_a_missing_metric_names_those_there_are():
    floors = FloorRecord(key="k", task="t", versions={}, created="now", items=("0", "1"), nulls={})
    with pytest.raises(EvaluationError, match="no metric 'f1'; it has acc"):
        PairedScores(case("down", metric="f1").capability, {DENSE: recorded([1.0, 0.0])}, floors)


MIRROR = {"confirmed": "refuted", "refuted": "confirmed", "inconclusive": "inconclusive"}
answers = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=5, max_size=60)


@given(answers)
def test_swapping_the_arms_mirrors_the_verdict(pairs):
    dense, pruned = (list(side) for side in zip(*pairs, strict=True))
    one, other = found(case("down"), dense, pruned), found(case("down"), pruned, dense)
    assert other.outcome == MIRROR[one.outcome]
    assert (other.delta, other.p, other.gained, other.lost) == (-one.delta, one.p, one.lost, one.gained)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))


@given(answers, st.randoms())
def test_the_order_of_items_changes_nothing(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    verdicts = [found(case("down"), *(list(side) for side in zip(*each, strict=True))) for each in (pairs, shuffled)]
    assert verdicts[0] == verdicts[1]


@given(answers)
def test_a_model_against_itself_is_never_confirmed_or_refuted(pairs):
    dense = [answer for answer, _ in pairs]
    for direction in ("up", "down"):
        assert found(case(direction), dense, dense).outcome == "inconclusive"
