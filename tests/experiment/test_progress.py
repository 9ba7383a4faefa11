"""What an engine and its models tell of how far they are, in every way of answering."""

from dataclasses import replace
from decimal import Decimal

import pytest

from glu_prune.efficiency.meter import NoMeter
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE, Arm, Cell, DistanceCell, FloorCell, Settings
from glu_prune.experiment.executors.local import local_engine
from glu_prune.experiment.store import Store
from glu_prune.models.source import locate
from glu_prune.progress.work import Show, Snapshot, Work

ITEMS = 24
CHOICES = Cell(locate("tiny-base"), DENSE, "tiny_recall_mc", None, (), Settings(batch_size=2), Subset(0, ITEMS))
TEXTS = replace(CHOICES, task="tiny_stories")
WRITTEN = replace(CHOICES, task="tiny_recall")
PRUNED = Arm("ppm", Decimal("0.5"))


class Watched(Show):
    """Keeps every state."""

    def __init__(self) -> None:
        self.states: list[Snapshot] = []

    def __call__(self, state, *, now=False):
        self.states.append(state())


@pytest.fixture
def shown() -> Watched:
    return Watched()


@pytest.fixture
def engine(tmp_path, shown):
    return local_engine(Store(tmp_path), NoMeter("none"), str, Work(shown))


def steps(shown: Watched) -> list[tuple[int, int]]:
    """How far what ran was, from step to step."""
    running = [each for state in shown.states for each in state.running if each.doing]
    assert {each.doing for each in running} == {"items"}
    return [(each.done, each.total) for each in running]


def assert_grows_to_all(found: list[tuple[int, int]]) -> None:
    done = [each for each, _ in found]
    assert {total for _, total in found} == {ITEMS}
    assert done == sorted(done)
    assert done[-1] == ITEMS
    assert len(set(done)) > 3, "it is told in between"


@pytest.mark.parametrize("cell", [CHOICES, TEXTS, WRITTEN], ids=lambda cell: cell.task)
def test_items_are_counted_while_they_are_answered(engine, shown, cell):
    engine.record(cell)
    assert_grows_to_all(steps(shown))


@pytest.mark.parametrize("cell", [CHOICES, TEXTS, WRITTEN], ids=lambda cell: cell.task)
def test_items_are_counted_where_nothing_is_shared(engine, shown, monkeypatch, cell):
    monkeypatch.setattr(SharedPrefixLM, "_difference", lambda _: "of this test")
    engine.record(cell)
    assert_grows_to_all(steps(shown))


@pytest.mark.parametrize("cell", [CHOICES, TEXTS, WRITTEN], ids=lambda cell: cell.task)
def test_items_are_counted_where_a_backend_answers(engine, shown, cell):
    engine.record(replace(cell, settings=replace(cell.settings, backend="hf")))
    assert_grows_to_all(steps(shown))


def test_items_are_counted_while_two_models_are_compared(engine, shown):
    task = (TEXTS.task, None, (), TEXTS.settings, TEXTS.subset)
    engine.distance(DistanceCell(TEXTS.source, PRUNED, *task))
    assert_grows_to_all(steps(shown))


def test_an_engine_tells_what_is_needed_what_is_missing_and_what_it_found(engine, shown, tmp_path):
    pruned, floors = replace(CHOICES, arm=PRUNED), FloorCell(CHOICES.task, None)
    engine.record(CHOICES)
    for again in (engine, local_engine(Store(tmp_path), NoMeter("none"), str, work := Work(shown))):
        assert [again.check(cell) for cell in (CHOICES, pruned, floors)] == [False, True, True]
    before = work.snapshot()
    assert (before.stored, before.needed) == (1, 3)
    assert dict(before.missing) == {pruned.key: "tiny_recall_mc", floors.key: "floors"}
    again.floors(floors)
    assert (work.snapshot().stored, [*work.snapshot().seconds]) == (2, ["floors"])
    again.record(pruned)
    assert (work.snapshot().stored, {*work.snapshot().seconds}) == (3, {"floors", "tiny_recall_mc"})
    (what,) = {running.what for running in shown.states[-2].running}
    assert what == str(pruned)
    assert shown.states[-1].running == ()
