import multiprocessing
from pathlib import Path

import pytest

from glu_prune.efficiency.meter import Reading
from glu_prune.errors import StoreError
from glu_prune.experiment.record import CostRecord, Record, ScoreRecord, SizeRecord
from glu_prune.experiment.store import Store

KEY = "ab" * 32


def record(key: str = KEY, **changes: object) -> Record:
    fields = {
        "key": key,
        "model": "tiny-base",
        "arm": "dense",
        "task": "tiny_recall",
        "settings": {"dtype": "float32"},
        "versions": {"torch": "2"},
        "machine": "Linux",
        "created": "2026-01-01T00:00:00+00:00",
        "items": ("a", "b"),
        "fields": {},
        "outputs": ("x", "y\n<&"),
        "metrics": {"acc": ScoreRecord(score=0.5, values=(1.0, 0.0), weights=(1.0, 1.0))},
        "cost": CostRecord(
            seconds=1.0, positions=2, scored_positions=2, energy={"cpu": Reading(joules=3.0, method="rapl")}
        ),
        "size": SizeRecord(parameters=10, bytes=40, width=8, hidden=2),
    }
    return Record(**{**fields, **changes})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_records_come_back_as_they_were(store):
    assert store.get(KEY, Record) is None
    store.put(record())
    assert store.get(KEY, Record) == record()


def test_nothing_is_left_behind_but_the_record(store):
    store.put(record())
    store.put(record())
    assert [path.name for path in store.path(KEY).parent.iterdir()] == [f"{KEY}.json"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace('"score":0.5', '"score":0.9'),
        lambda text: "",
        lambda text: "not a record",
        lambda text: text.split("\n", 1)[1],
    ],
    ids=["truncated", "edited", "empty", "garbage", "no checksum"],
)
def test_damaged_records_are_never_trusted(store, damage):
    store.put(record())
    path = store.path(KEY)
    path.write_text(damage(path.read_text()))
    with pytest.raises(StoreError, match=f"{KEY}.json: .*; delete this file to have its cell computed again"):
        store.get(KEY, Record)


def test_a_record_under_another_key_is_not_trusted(store):
    other = "cd" * 32
    store.put(record())
    store.path(KEY).rename(store.path(other))
    with pytest.raises(StoreError, match="holds the record of"):
        store.get(other, Record)


def test_a_record_of_another_schema_is_not_trusted(store):
    from glu_prune.experiment import store as module

    store.put(record())
    body = record().model_dump_json().replace('"schema_version":3', '"schema_version":9') + "\n"
    store.path(KEY).write_text(f"{module._checksum(body)}\n{body}")
    with pytest.raises(StoreError, match="not as expected"):
        store.get(KEY, Record)


def test_a_store_that_cannot_be_written_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file")
    with pytest.raises(StoreError, match=r"cannot be written: .*--glu-store DIR"):
        store.put(record())
    with pytest.raises(StoreError, match=r"cannot be written"), store.lock(KEY):
        pass


def _add_one(folder: Path, counter: Path) -> None:
    with Store(folder).lock(KEY):
        counter.write_text(str(int(counter.read_text()) + 1))


def test_only_one_process_holds_a_cell(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_one, args=(tmp_path / "store", counter)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert counter.read_text() == "4"


@pytest.mark.parametrize(
    "column", [{"outputs": ("x",)}, {"fields": {"f": (("g",),)}}, {"margins": (1.0,)}, {"items": ()}]
)
def test_columns_of_different_length_are_no_record(column):
    with pytest.raises(ValueError, match="one entry per item"):
        record(**column)
