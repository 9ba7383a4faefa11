"""Gains beside lengths of texts: planted ones, honest ones, and how often an honest one is noted."""

import numpy as np
import pytest

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord
from glu_prune.judgement.explanation import explanation
from glu_prune.judgement.kinds.direction import DirectionCase
from glu_prune.judgement.lengths import PairedTexts, length_note
from glu_prune.judgement.scores import PairedScores
from glu_prune.judgement.sources import Evaluation
from tests.helpers.examples import scaled
from tests.helpers.records import record
from tests.helpers.verdicts import AT_HALF, case

SKILL = Capability("skill", "t", "acc", "a skill")
ERRORS = Capability("skill", "t", "acc", "errors", higher_is_better=False)
N = 200


def texts(right, lengths, outputs=None, weights=None) -> Record:
    """Answers of which each has a text of its own, unless `outputs` says which are the same."""
    items = tuple(map(str, range(len(right))))
    values = tuple(map(float, right))
    scores = ScoreRecord(score=float(np.mean(values)), values=values, weights=tuple(weights or [1.0] * len(items)))
    said = tuple(map(str, outputs if outputs is not None else items))
    lengths = tuple(map(int, lengths))
    return record(items=items, outputs=said, lengths=lengths, flaws=((),) * len(items), metrics={"acc": scores})


def pruned_texts(right, lengths, same=None) -> Record:
    """Other texts than the dense model's, but where they are the `same`."""
    names = [str(item) if same is not None and same[item] else f"other {item}" for item in range(len(right))]
    return texts(right, lengths, names)


def dense_texts(rng, items: int = N, rate: float = 0.3):
    return rng.random(items) < rate, rng.integers(20, 200, items)


def stops_early(rng, share: float = 0.4, same: float = 0.0):
    """The pruned model ends its text early in a share of items, and half of those that were wrong are right for it."""
    right, lengths = dense_texts(rng)
    early = rng.random(N) < share
    after = np.where(early, lengths // 3, lengths)
    now = right | (early & (rng.random(N) < 0.5))
    return texts(right, lengths), pruned_texts(now, after, ~early & (rng.random(N) < same))


@pytest.mark.parametrize("same", [0.0, 0.5, 1.0])
def test_a_gain_by_stopping_early_is_noted(same):
    """Whether the other texts are the dense model's or others of their length."""
    dense, pruned = stops_early(np.random.default_rng(0), same=same)
    note, reason = length_note(SKILL, (dense, pruned))
    assert note == "shorter texts"
    short = sum(after < before for before, after in zip(dense.lengths, pruned.lengths, strict=True))
    assert reason.startswith(
        f"it gained where texts became more than 5% shorter ({short} of 200 items, 0 the other way"
    )
    assert f"not shown to have gained on the {N - short} of matched length (+0.000, 95 % interval -0.0" in reason


def test_a_gain_by_running_on_is_noted():
    dense, pruned = stops_early(np.random.default_rng(0))
    swapped = pruned.model_copy(update={"lengths": dense.lengths}), dense.model_copy(update={"lengths": pruned.lengths})
    note, reason = length_note(SKILL, (swapped[1], swapped[0]))
    assert note == "longer texts"
    assert "more than 5% longer" in reason


def test_a_gain_of_a_metric_of_errors_is_a_fall():
    dense, pruned = stops_early(np.random.default_rng(0))
    flipped = [
        each.model_copy(update={"metrics": {"acc": texts([1 - v for v in each.metrics["acc"].values], each.lengths).metrics["acc"]}})
        for each in (dense, pruned)
    ]  # fmt: skip
    assert length_note(ERRORS, tuple(flipped))[0] == "shorter texts"
    assert length_note(SKILL, tuple(flipped)) == ()


def test_where_every_text_became_shorter_there_is_nothing_to_compare_with():
    right, lengths = dense_texts(np.random.default_rng(0))
    found = length_note(SKILL, (texts(right, lengths), pruned_texts([True] * N, lengths // 2)))
    assert "at matched length, of which there is no item" in found[1]


def test_an_honest_gain_at_equal_lengths_is_not_noted():
    rng = np.random.default_rng(0)
    right, lengths = dense_texts(rng)
    assert length_note(SKILL, (texts(right, lengths), pruned_texts(right | (rng.random(N) < 0.4), lengths))) == ()


def test_an_honest_gain_at_equal_lengths_beside_shorter_texts_is_not_noted():
    """Half the texts are shorter, and gain no more than the others."""
    rng = np.random.default_rng(0)
    right, lengths = dense_texts(rng)
    now, short = right | (rng.random(N) < 0.4), rng.random(N) < 0.5
    assert length_note(SKILL, (texts(right, lengths), pruned_texts(now, np.where(short, lengths // 2, lengths)))) == ()


def gained(rng, right, *where):
    """What was right, and each place with its share of the wrong ones that become so."""
    return right | np.any([place & (rng.random(N) < share) for place, share in where], axis=0)


def test_a_gain_that_is_shown_at_matched_length_too_is_not_noted():
    """Though there is more of it in shorter texts."""
    rng = np.random.default_rng(0)
    right, lengths = dense_texts(rng)
    short = rng.random(N) < 0.5
    now = gained(rng, right, (short, 0.9), (~short, 0.3))
    assert length_note(SKILL, (texts(right, lengths), pruned_texts(now, np.where(short, lengths // 2, lengths)))) == ()


def test_a_gain_where_as_many_texts_became_longer_is_not_noted():
    rng = np.random.default_rng(0)
    right, lengths = dense_texts(rng)
    kind = np.arange(N) % 3
    after = np.choose(kind, [lengths, lengths // 2, lengths * 2])
    for moved in (1, 2):
        now = gained(rng, right, (kind == moved, 0.9))
        assert length_note(SKILL, (texts(right, lengths), pruned_texts(now, after))) == ()


def test_a_gain_in_shorter_texts_of_a_score_that_fell_is_not_noted():
    rng = np.random.default_rng(0)
    right, lengths = dense_texts(rng, rate=0.6)
    short = rng.random(N) < 0.4
    now = gained(rng, right & short, (short, 0.9))
    assert length_note(SKILL, (texts(right, lengths), pruned_texts(now, np.where(short, lengths // 2, lengths)))) == ()


def test_shorter_texts_without_a_gain_are_not_noted():
    right, lengths = dense_texts(np.random.default_rng(0))
    dense = texts(right, lengths)
    assert length_note(SKILL, (dense, pruned_texts(right, lengths // 3))) == ()
    assert length_note(SKILL, (dense, pruned_texts([False] * N, lengths // 3))) == ()


def test_choices_have_no_lengths():
    choices = [texts([value] * N, [9] * N).model_copy(update={"lengths": (), "flaws": ()}) for value in (0, 1)]
    assert length_note(SKILL, tuple(choices)) == ()


def test_lengths_match_within_five_percent():
    found = PairedTexts(SKILL, (texts([0] * 6, [100, 100, 100, 100, 0, 1]), texts([0] * 6, [95, 94, 105, 106, 0, 2])))
    assert found.matched.tolist() == [True, False, True, False, True, False]
    assert found.shorter.tolist() == [False, True, False, False, False, False]
    assert found.longer.tolist() == [False, False, False, True, False, True]


def test_the_change_at_matched_length_is_that_of_these_items():
    dense, pruned = texts([0, 0, 1, 1, 0], [10] * 5), texts([1, 1, 1, 0, 1], [10, 10, 10, 10, 5])
    found = explanation("m", AT_HALF, SKILL, (dense, pruned), (1, 2))
    change, low, high = found.matched
    assert (change, found.matched_items) == (0.25, 4)
    assert -1 <= low < 0.25 < high <= 1
    none = explanation("m", AT_HALF, SKILL, (dense, texts([1] * 5, [5] * 5)), (1, 2))
    assert (none.matched, none.matched_items) == (None, 0)


def test_items_that_count_nothing_are_not_counted():
    dense = texts([0, 0, 1], [10] * 3, weights=[1.0, 1.0, 0.0])
    found = PairedTexts(SKILL, (dense, texts([1, 0, 0], [10] * 3, weights=[1.0, 1.0, 0.0])))
    assert found.change(found.matched).difference == 0.5
    assert found.change(np.array([False, False, True])) is None


class Recorded:
    """A source that has the records already."""

    def __init__(self, claim: DirectionCase, dense: Record, pruned: Record, since: str | None = None) -> None:
        self._records = {DENSE: dense, claim.arm: pruned}
        self._capability = claim.capability
        self._since = since

    def scores(self, case, needed):
        floors = FloorRecord(
            key="k", task="t", versions={}, created="now", items=self._records[DENSE].items, nulls={}
        )  # fmt: skip
        yield Evaluation(PairedScores(self._capability, self._records, floors), self._records)

    def ratios(self, case, needed):
        return frozenset()

    def declared(self, case):
        return self._since


@pytest.mark.parametrize(("direction", "outcome"), [("up", "confirmed"), ("down", "refuted")])
def test_the_note_stands_beside_the_verdict_and_does_not_decide_it(direction, outcome):
    claim = case(direction)
    found = claim.judge(Recorded(claim, *stops_early(np.random.default_rng(0))))
    (row,) = found.tables.scores
    assert found.outcome == outcome
    assert "shorter texts" in row.note
    assert "it gained where texts became more than 5% shorter" in found.sentence
    assert row.reasons[-1] in row.sentence
    (why,) = found.tables.why
    assert why.matched[0] == 0.0


def honest(rng, same: float, shorter: float, skewed: bool):
    """A gain that has nothing to do with length, in texts of which some stay the same and others mostly shrink."""
    right, lengths = dense_texts(rng)
    changed = rng.random(N) >= same
    now = np.where(changed, np.where(right, rng.random(N) < 0.9, rng.random(N) < 0.25), right)
    factor = np.where(rng.random(N) < shorter, rng.uniform(0.3, 0.9, N), rng.uniform(0.96, 1.2, N))
    values = now * rng.random(N) ** 3 if skewed else now
    dense = right * rng.random(N) ** 3 if skewed else right
    values = np.where(changed, values, dense)
    after = np.where(changed, np.maximum(1, np.round(lengths * factor)), lengths)
    return texts(dense, lengths), pruned_texts(values, after, ~changed)


def noted(runs: int, *which) -> float:
    rng = np.random.default_rng(7)
    return sum(bool(length_note(SKILL, honest(rng, *which))) for _ in range(runs)) / runs


def few(runs: int) -> float:
    """One in twenty, plus three standard errors of simulation."""
    return 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_an_honest_gain_is_rarely_noted_where_half_the_texts_are_the_same():
    """Those could gain nothing; taken for texts of matched length, they made shorter ones look like the cause."""
    runs = scaled(160)
    assert noted(runs, 0.5, 0.7, False) <= few(runs)


@pytest.mark.slow("simulates hundreds of runs")
@pytest.mark.parametrize(("same", "shorter"), [(0.0, 0.7), (0.5, 0.7), (0.0, 0.95), (0.7, 0.9)])
@pytest.mark.parametrize("skewed", [False, True])
def test_an_honest_gain_is_rarely_noted(same, shorter, skewed):
    """Most texts are shorter, in some cases nearly all; scores are right or wrong, or skewed."""
    runs = scaled(400)
    assert noted(runs, same, shorter, skewed) <= few(runs)
