"""Which task a worker of a cluster is given."""

from collections import deque

from glu_prune.experiment.executors.schedule import Schedule, Task


def task(model: str, kind: str, cells: int = 3) -> Task[int]:
    return Task(deque(range(cells)), model, kind)


def of(*tasks: Task[int]) -> Schedule[Task[int]]:
    return Schedule(waiting=deque(tasks))


def test_a_worker_goes_on_with_the_model_that_it_has():
    schedule = of(task("a", "x"), task("b", "y"), task("b", "x"))
    given, joins = schedule.give("b")
    assert (given.model, joins) == ("b", False)


def test_a_new_worker_takes_the_model_with_most_left_for_each_worker():
    schedule = of(task("a", "x"), task("b", "x"), task("b", "y"))
    first, second = schedule.give(None)[0], schedule.give(None)[0]
    assert [first.model, second.model] == ["b", "a"]


def test_where_none_waits_workers_share_one_from_both_ends():
    schedule = of(task("a", "x", cells=4))
    (mine, first), (theirs, joins) = schedule.give("a"), schedule.give("a")
    assert (mine is theirs, first, joins, mine.workers) == (True, False, True, 2)
    mine.left.clear()
    assert [schedule.leave(mine), schedule.leave(mine)] == [False, True]
    assert list(schedule) == []


def test_no_model_is_loaded_for_a_single_cell():
    schedule = of(task("a", "x", cells=2))
    mine, _ = schedule.give("a")
    mine.left.popleft()
    assert schedule.give("b") is None
    assert schedule.give("a") == (mine, True)


def test_what_is_left_of_a_lost_worker_goes_back():
    schedule = of(task("a", "x"), task("a", "y"))
    mine, _ = schedule.give("a")
    assert not schedule.leave(mine)
    assert next(iter(schedule)) is mine
    assert (len(schedule.waiting), schedule.begun) == (2, [])
