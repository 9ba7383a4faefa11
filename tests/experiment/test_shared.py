"""Stores elsewhere: on an S3 server that runs here."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from glu_prune import compare
from glu_prune.cli import main
from glu_prune.errors import CorruptError, StoreError
from glu_prune.experiment.codec import encoded
from glu_prune.experiment.maintenance import entries
from glu_prune.experiment.marker import CELLS, MARKER
from glu_prune.experiment.record import Record, ScoreRecord
from glu_prune.experiment.shared import Shared, address_of, folder_of
from glu_prune.experiment.store import Store
from tests.helpers.records import record

KEY = "a" * 64


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    found = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    found.start()
    yield "http://{}:{}".format(*found.get_host_and_port())
    found.stop()


@pytest.fixture
def address(server, monkeypatch, tmp_path, request) -> str:
    """Of an empty place in a bucket; the caller is a machine with an empty cache."""
    import fsspec
    import s3fs

    for name, value in {
        "AWS_ENDPOINT_URL": server,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    machine(monkeypatch, tmp_path / "one")
    fsspec.config.conf.clear()
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().makedirs("bucket", exist_ok=True)
    return f"s3://bucket/{abs(hash(request.node.name))}/store"


def machine(monkeypatch, cache: Path) -> None:
    """From here on the caller is a machine with that cache folder."""
    monkeypatch.setenv("GLU_PRUNE_MODELS", str(cache / "models"))


def made(key: str = KEY, score: float = 0.5, created: str = "2026-01-01T00:00:00+00:00") -> Record:
    return record(
        key=key, created=created, metrics={"acc": ScoreRecord(score=score, values=(score, score), weights=(1.0, 1.0))}
    )


def test_a_record_that_one_machine_puts_another_gets_and_keeps(address, monkeypatch, tmp_path):
    Store(folder_of(address)).put(made())
    machine(monkeypatch, tmp_path / "two")
    other = folder_of(address)
    assert not (other / CELLS).exists()
    assert Store(other).get(KEY, Record) == made()
    assert Store(other).get("b" * 64, Record) is None
    assert Store(other).path(KEY).read_bytes() == encoded(made())


def test_of_two_who_compute_the_same_the_second_drops_its_own(address, monkeypatch, tmp_path):
    first, second = made(created="2026-01-01T00:00:00+00:00"), made(created="2026-01-02T00:00:00+00:00")
    one = Store(folder_of(address))
    machine(monkeypatch, tmp_path / "two")
    two = Store(folder_of(address))
    assert (one.get(KEY, Record), two.get(KEY, Record)) == (None, None), "both begin"
    assert one.write(KEY, Record, encoded(first)) is None
    assert two.write(KEY, Record, encoded(second)) == first
    assert two.get(KEY, Record) == first


def test_many_writers_at_once_leave_one_record(address):
    folder = folder_of(address)
    gate, stood = threading.Barrier(8), []

    def put(number: int) -> None:
        mine = made(created=f"2026-01-01T00:00:{number:02}+00:00")
        gate.wait()
        stood.append(Store(folder).write(KEY, Record, encoded(mine)) or mine)

    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(stood) == 8
    (stands,) = {each.created for each in stood}
    assert Shared(address, folder).fetch(f"{KEY}.parquet") == encoded(made(created=stands))


def test_what_is_corrupt_there_is_set_aside_there(address):
    store = Store(folder_of(address))
    store.put(made("b" * 64))
    there = Shared(address, store.folder)
    there.create(f"{KEY}.parquet", b"no record")
    with pytest.raises(CorruptError, match=rf"{address}/cells/{KEY}.parquet: "):
        Store(store.folder).get(KEY, Record)
    Store(store.folder).set_aside(KEY, Record)
    assert Store(store.folder).get(KEY, Record) is None
    Store(store.folder).put(made())
    assert Shared(address, store.folder).fetch(f"{KEY}.parquet") == encoded(made())


def test_a_corrupt_record_that_came_meanwhile_gives_way(address):
    store = Store(folder_of(address))
    store.put(made("b" * 64))
    Shared(address, store.folder).create(f"{KEY}.parquet", b"no record")
    store.put(made())
    assert Shared(address, store.folder).fetch(f"{KEY}.parquet") == encoded(made())


def test_a_record_of_another_key_is_refused(address):
    store = Store(folder_of(address))
    store.put(made("b" * 64))
    Shared(address, store.folder).create(f"{KEY}.parquet", encoded(made("b" * 64)))
    with pytest.raises(CorruptError, match="it holds the record of bbbbbbbbbbbb"):
        Store(store.folder).get(KEY, Record)


def test_commands_read_it(address, monkeypatch, tmp_path, capsys):
    Store(folder_of(address)).put(made())
    before = folder_of(f"{address}-before")
    Store(before).put(made())
    machine(monkeypatch, tmp_path / "two")
    out = tmp_path / "all.csv"
    assert main(["store", "ls", "--store", address]) == 0
    assert "1 cells" in capsys.readouterr().out
    assert main(["store", "verify", "--store", address]) == 0
    assert "1 of 1 records are sound" in capsys.readouterr().out
    assert main(["store", "export", str(out), "--store", address]) == 0
    assert len(pd.read_csv(out)) == 2
    assert main(["compare", f"{address}-before", address]) == 0
    assert f"Against {address}-before: 1 unchanged." in " ".join(capsys.readouterr().out.split())
    assert [row.outcome for row in compare(f"{address}-before", address).report.baseline] == ["unchanged"]
    assert main(["store", "gc", "--store", address]) == 1
    assert f"nothing is removed from {address}" in capsys.readouterr().err


def test_when_something_was_declared_is_kept_there(address, monkeypatch, tmp_path):
    Store(folder_of(address)).put(made())
    Store(folder_of(address)).declare("abc", {"claim": "x"})
    first = Store(folder_of(address)).declared("abc")
    machine(monkeypatch, tmp_path / "two")
    later = Store(folder_of(address))
    later.declare("abc", {"claim": "x"})
    assert later.declared("abc") == first is not None


def test_what_is_no_store_is_left_alone(address):
    import s3fs

    files = s3fs.S3FileSystem()
    files.pipe_file(f"{address}/thesis.tex", b"mine")
    with pytest.raises(StoreError, match=r"is no store of glu-prune, as it holds thesis.tex"):
        Store(folder_of(address)).put(made())
    files.pipe_file(f"{address}/{MARKER}", b'{"store": 99}')
    with pytest.raises(StoreError, match="is a store of version 99"):
        Store(folder_of(address)).put(made())


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("nowhere://x/y", "nowhere://x/y: Protocol not known: nowhere; a store is a folder here, or at an address"),
        ("memory://empty", "there is no store at memory://empty; a run with --glu-store memory://empty makes it"),
    ],
)
def test_an_address_that_has_no_store_is_one_line(monkeypatch, tmp_path, capsys, place, why):
    machine(monkeypatch, tmp_path)
    assert main(["store", "ls", "--store", place]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"glu-prune: {why}")


def test_a_copy_says_what_it_is_a_copy_of_and_other_stores_do_not(monkeypatch, tmp_path):
    machine(monkeypatch, tmp_path)
    assert address_of(folder_of("memory://some/where/")) == "memory://some/where"
    assert folder_of("memory://some/where") == folder_of("memory://some/where/") != folder_of("memory://some/else")
    Store(tmp_path / "own").put(made())
    assert address_of(tmp_path / "own") == ""
    assert entries(tmp_path / "own")
