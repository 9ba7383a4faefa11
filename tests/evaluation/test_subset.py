"""Parts of tasks: disjoint, complete, drawn once, and never through the middle of a cluster."""

from itertools import chain, islice

import pytest

from glu_prune.evaluation.capability import SUITES
from glu_prune.evaluation.subset import SHARED, Subset, growing_subsets

TASKS = {
    "b": [{"subject": "history"}] * 30,
    "a": [{"subject": "algebra"}] * 10 + [{"subject": "physics"}] * 25,
    "c": [{"subject": "physics"}] * 5,
}


def places(found: dict[str, list[int]]) -> list[tuple[str, int]]:
    return [(task, place) for task, each in found.items() for place in each]


def test_parts_are_disjoint_and_complete():
    found = [places(Subset(start, stop).documents(TASKS)) for start, stop in ((0, 16), (16, 32), (32, 64), (64, 128))]
    assert [len(each) for each in found] == [16, 16, 32, 6]
    assert sorted(chain(*found)) == sorted((task, place) for task, docs in TASKS.items() for place in range(len(docs)))
    assert all(each == sorted(each) for each in found)


def test_the_order_is_drawn_once():
    assert Subset(0, 16).documents(TASKS) == Subset(0, 16).documents(dict(reversed(TASKS.items())))
    assert places(Subset(0, 16).documents(TASKS)) != sorted(places(Subset(0, 99).documents(TASKS)))[:16]


def test_each_task_of_a_group_has_its_share():
    """Of 70 documents, in tasks of 30, 35 and 5."""
    sizes = {task: len(documents) for task, documents in TASKS.items()}
    for count in range(71):
        found = Subset(0, count).documents(TASKS)
        assert sum(map(len, found.values())) == count
        assert all(abs(len(found.get(task, [])) - count * size / 70) < 2 for task, size in sizes.items())
    assert sorted(found["a"]) == list(range(35))
    assert Subset(0, 20).documents(TASKS)["a"] != list(range(len(Subset(0, 20).documents(TASKS)["a"])))


def test_clusters_stay_together():
    found = [places(Subset(place, place + 1, "subject").documents(TASKS)) for place in range(4)]
    subjects = [{TASKS[task][place]["subject"] for task, place in each} for each in found]
    assert sorted(map(len, found)) == [0, 10, 30, 30]
    assert subjects[3] == set()
    assert sorted(map(sorted, subjects[:3])) == [["algebra"], ["history"], ["physics"]]


@pytest.mark.parametrize(
    ("suite", "name", "first"),
    [("embedded", "factual_recall", 64), ("embedded", "story_modelling", 128), ("study", "factual_knowledge", 32)],
)
def test_totals_double(suite, name, first):
    capability = SUITES[suite][name]
    found = list(islice(growing_subsets(capability), 3))
    assert [(part.start, part.stop) for part in found] == [(0, first), (first, 2 * first), (2 * first, 4 * first)]
    assert {part.cluster for part in found} == {capability.cluster or SHARED}
    assert len(list(growing_subsets(capability))) < 20


def test_parts_are_written_for_people():
    assert list(map(str, (Subset(64, 128), Subset(64, 128, SHARED), Subset(0, 32, "subject")))) == [
        "64-128", "64-128", "0-32 by subject",
    ]  # fmt: skip
