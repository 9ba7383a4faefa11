"""What is known of work that goes on: by an injected clock."""

from pathlib import Path

import pytest

from glu_prune.progress.shows import Published, published
from glu_prune.progress.work import Show, Snapshot, Work, together


class Clock:
    """Stands still until it is told otherwise."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(clock) -> Work:
    """Four records, of which one is there; the others are of two kinds."""
    found = Work(clock=clock)
    found.need("stored", "recall", missing=False)
    for key, kind in (("a", "recall"), ("b", "stories"), ("c", "recall")):
        found.need(key, kind, missing=True)
    return found


def compute(work: Work, clock: Clock, seconds: float, **kinds: str) -> None:
    with work.running(" ".join(kinds), kinds):
        clock.now += seconds
        for key in kinds:
            work.found(key)


def test_nothing_is_foreseen_before_anything_is_known(work):
    assert str(work.snapshot()) == "1/4 records"
    assert str(Work().snapshot()) == ""


def test_a_step_tells_how_fast_it_goes_and_when_it_is_done(work, clock):
    with work.running("dense recall", {"a": "recall"}):
        assert str(work.snapshot()).endswith("| dense recall")
        clock.now += 5  # loading is no part of the pace
        work.step("items", 10, 70, 1000)
        assert str(work.snapshot()).endswith("| dense recall: items 10/70")
        clock.now += 2
        work.step("items", 30, 70, 6000)
        assert str(work.snapshot()).endswith("| dense recall: items 30/70, 00:04 left, 2,500 tokens/s")


def test_a_second_attempt_is_timed_anew(work, clock):
    with work.running("dense recall", {"a": "recall"}):
        work.step("items", 10, 70, 1000)
        clock.now += 50
        work.step("items", 60, 70, 1500)
        work.step("items", 5, 70, 10)
        clock.now += 1
        work.step("items", 10, 70, 110)
        assert str(work.snapshot()).endswith("items 10/70, 00:12 left, 100 tokens/s")


def test_what_is_left_takes_as_long_as_what_was_alike(work, clock):
    compute(work, clock, 30, a="recall")
    assert work.snapshot().left == 30 + 30  # stories are not known: as all on average
    compute(work, clock, 100, b="stories")
    assert work.snapshot().left == 30
    assert str(work.snapshot()) == "3/4 records, 00:30 left"
    compute(work, clock, 30, c="recall")
    assert work.snapshot().left is None
    assert str(work.snapshot()) == "4/4 records"


def test_what_runs_tells_of_its_kind_before_any_record_is_there(work, clock):
    with work.running("dense recall", {"a": "recall"}):
        clock.now += 1
        work.step("items", 0, 10)
        clock.now += 2
        work.step("items", 2, 10)
        assert work.snapshot().left == 8 + 2 * (3 + 8)


def test_what_was_not_finished_teaches_nothing(work, clock):
    def interrupted():
        with work.running("dense recall", {"a": "recall"}):
            clock.now += 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert work.snapshot() == Snapshot(needed=4, missing={"a": "recall", "b": "stories", "c": "recall"})


def test_records_of_one_job_share_its_time(work, clock):
    compute(work, clock, 60, a="recall", b="stories")
    assert dict(work.snapshot().seconds) == {"recall": (1, 30.0), "stories": (1, 30.0)}


def test_an_interruption_says_what_is_kept(work, clock):
    compute(work, clock, 1, a="recall")
    said = "2 of 4 records are in the store kept; the same command goes on from there"
    assert work.snapshot().kept(Path("kept")) == said
    assert Work().snapshot().kept(Path("kept")) == ""


def test_a_record_that_turns_out_corrupt_is_missing_again(work):
    work.found("a")
    work.need("a", "recall", missing=True)
    assert work.snapshot().stored == 1


def test_several_processes_are_shown_as_one(work, clock, tmp_path):
    """One of them counted; both compute, and share what is left."""
    other = Work(Published(tmp_path / "gw1.json", clock), clock)
    compute(other, clock, 10, a="recall")
    with other.running("ppm-0.5 recall", {"c": "recall"}):
        first = Work(Published(tmp_path / "gw0.json", clock), clock)
        first.need("a", "recall", missing=True)
        first.need("b", "stories", missing=True)
        first.need("c", "recall", missing=True)
        first.need("d", "stories", missing=True)
        with first.running("dense stories", {"b": "stories"}):
            found = published(tmp_path)
    assert [each.what for each in found.running] == ["dense stories", "ppm-0.5 recall"]
    assert found.stored == 1
    assert found.left == (10 + 10 + 10) / 2
    assert str(found) == "1/4 records, 00:15 left | dense stories | ppm-0.5 recall"
    assert published(tmp_path).running == (), "what ended does not run any more"


def test_no_process_at_all_is_nothing(tmp_path):
    assert together([]) == Snapshot() == published(tmp_path)


def test_work_that_nobody_looks_at_costs_no_snapshot(clock):
    class Never(Show):
        def __call__(self, state, *, now=False):
            assert callable(state)

    work = Work(Never(), clock)
    work.snapshot = lambda: pytest.fail("made")
    with work.running("dense", {}):
        work.step("items", 1, 2)
