import errno
import hashlib
import json
import math
import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from glu_prune.errors import CorruptError, StoreError
from glu_prune.experiment.codec import _checksum
from glu_prune.experiment.cost_record import SeriesRecord
from glu_prune.experiment.entry import entry_of
from glu_prune.experiment.parquet import HEAD, HEAD_CHECKSUM
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord
from glu_prune.experiment.store import Store
from tests.helpers.records import DISTANCES, FLOORS, FULL, KEY, record


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.mark.parametrize("each", [record(), FULL, DISTANCES, FLOORS, record(outputs=("", "\x00\u2028\U0001f600"))])
def test_records_come_back_as_they_were(store, each):
    assert store.get(KEY, type(each)) is None
    store.put(each)
    assert store.get(KEY, type(each)) == each


def test_numbers_that_are_none_come_back_too(store):
    odd = (math.nan, -math.inf)
    store.put(record(margins=odd, metrics={"acc": ScoreRecord(score=math.inf, values=odd, weights=(1.0, 1.0))}))
    found = store.get(KEY, Record)
    assert repr((found.margins, found.metrics["acc"].score)) == repr((odd, math.inf))


def test_pandas_reads_a_record_in_one_line(store):
    store.put(FULL)
    table = pd.read_parquet(store.path(KEY))
    assert list(table) == [
        "item", "output", "margin", "length", "flaws", "answer", "field.band",
        "metric.acc", "weight.acc", "metric.inst", "weight.inst", "parts.inst", "constant.inst",
    ]  # fmt: skip
    assert table["metric.acc"].tolist() == [1.0, 0.1]
    assert table["parts.inst"].map(list).tolist() == [[1.0], [0.0, 1.0]]
    store.put(FLOORS)
    assert list(pd.read_parquet(store.path(KEY))) == ["item", "the.metric.acc", "the.weight.acc"]


def test_whoever_may_read_a_new_file_may_read_a_record(store, tmp_path):
    (tmp_path / "new").touch()
    store.put(record())
    assert store.path(KEY).stat().st_mode == (tmp_path / "new").stat().st_mode


def test_nothing_is_left_behind_but_the_record(store):
    store.put(record())
    store.put(record())
    assert [path.name for path in store.path(KEY).parent.iterdir()] == [f"{KEY}.parquet"]


def written(path: Path, change) -> None:
    """The table of `path` with `change` made to it, in a file that is sound in itself."""
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def changed_column(table):
    import pyarrow as pa

    return table.set_column(table.column_names.index("metric.acc"), table.schema.field("metric.acc"), pa.array([1.0, 0.2]))  # fmt: skip


def with_head(table, old: bytes, new: bytes, *, sealed: bool | None = None):
    """`old` in the head is `new`; with a checksum that is right for it (`sealed`), with none (not), or as it was."""
    facts = table.schema.metadata
    head = facts[HEAD].replace(old, new)
    assert head != facts[HEAD]
    seal = {} if sealed is None else {HEAD_CHECKSUM: hashlib.sha256(head).hexdigest() if sealed else None}
    facts = {**facts, HEAD: head, **seal}
    return table.replace_schema_metadata({name: value for name, value in facts.items() if value is not None})


def changed_head(table):
    return with_head(table, b'"acc": 0.5', b'"acc": 0.9')


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(path.read_bytes()[:200]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"not a record"),
        lambda path: written(path, changed_column),
        lambda path: written(path, changed_head),
        lambda path: written(path, lambda table: table.slice(1)),
        lambda path: written(path, lambda table: table.append_column("metric.more", table.column("metric.acc"))),
        lambda path: written(path, lambda table: table.drop_columns(["output"])),
        lambda path: written(path, lambda table: table.replace_schema_metadata(None)),
    ],
    ids=["end cut", "most cut", "empty", "garbage", "score", "head", "rows", "column more", "column less", "no head"],
)
def test_damaged_records_are_never_trusted(store, damage):
    store.put(FULL)
    damage(store.path(KEY))
    with pytest.raises(CorruptError, match=rf"^\S*{KEY}.parquet: [^\n]+$"):
        store.get(KEY, Record)


def test_no_flipped_byte_changes_what_is_read(store):
    """Wherever it is: it is noticed, or nothing depends on it."""
    store.put(FULL)
    path = store.path(KEY)
    whole = path.read_bytes()
    noticed = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x11]) + whole[place + 1 :])
        try:
            assert store.get(KEY, Record) == FULL
        except CorruptError:
            noticed += 1
    assert noticed > len(whole) / 7 / 2


def test_a_record_under_another_key_or_of_another_kind_is_not_trusted(store):
    other = "cd" * 32
    store.put(record())
    with pytest.raises(CorruptError, match="it holds a Record, not a FloorRecord"):
        store.get(KEY, FloorRecord)
    store.path(KEY).rename(store.path(other))
    with pytest.raises(CorruptError, match="holds the record of"):
        store.get(other, Record)


VERSION = b'"schema_version": 9'


@pytest.mark.parametrize("version", [b"19", b"10", b"8", b"0"])
@pytest.mark.parametrize("sealed", [None, False], ids=["seal", "of before"])
def test_a_damaged_number_of_a_version_is_damage(store, version, sealed):
    store.put(record())
    path = store.path(KEY)
    written(path, lambda table: with_head(table, VERSION, b'"schema_version": ' + version, sealed=sealed))
    with pytest.raises(CorruptError, match=rf"^\S*{KEY}.parquet: [^\n]+$"):
        store.get(KEY, Record)
    if sealed is None:
        assert "checksum of its head" in entry_of(path).problem
        assert not entry_of(path).useless, "what is damaged is no garbage"


def test_records_without_a_seal_are_read(store):
    """As those of earlier versions are."""
    store.put(FULL)
    whole = store.path(KEY).read_bytes()
    written(store.path(KEY), lambda table: with_head(table, b'"key"', b' "key"', sealed=False))
    assert store.path(KEY).read_bytes() != whole
    assert store.get(KEY, Record) == FULL
    assert not entry_of(store.path(KEY)).problem


def test_a_record_of_a_newer_version_is_refused_and_stays(store):
    store.put(record())
    written(store.path(KEY), lambda table: with_head(table, VERSION, b'"schema_version": 10', sealed=True))
    with pytest.raises(StoreError, match=r"a Record of version 10, from a newer.* reads version 9; update") as caught:
        store.get(KEY, Record)
    assert not isinstance(caught.value, CorruptError)
    body = json.dumps({"schema_version": 99}).encode()
    store.path(KEY, SeriesRecord).write_bytes(_checksum(body) + b"\n" + body)
    with pytest.raises(StoreError, match=r"a SeriesRecord of version 99, from a newer") as caught:
        store.get(KEY, SeriesRecord)
    assert not isinstance(caught.value, CorruptError)


def test_what_is_set_aside_is_kept_and_numbered(store):
    for text in ("one", "two"):
        store.put(record())
        store.path(KEY).write_text(text)
        store.set_aside(KEY, Record)
    aside = sorted((store.folder / "corrupt").iterdir())
    assert [path.name for path in aside] == [f"{KEY}.parquet.1", f"{KEY}.parquet.2"]
    assert [path.read_text() for path in aside] == ["one", "two"]
    assert store.get(KEY, Record) is None


def test_a_record_from_the_future_is_as_good_as_any(store):
    """Clocks are set back and forth."""
    ahead = record(created="2999-01-01T00:00:00+00:00")
    store.put(ahead)
    os.utime(store.path(KEY), (2**33, 2**33))
    assert store.get(KEY, Record) == ahead


def _put_within(folder: Path, size: int) -> None:
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        Store(folder).put(FULL)
    except StoreError as error:
        sys.exit(0 if "cannot be written: [Errno 27]" in str(error) else 3)
    sys.exit(4)


def test_a_full_disk_is_one_line_and_leaves_the_store_as_it_was(store):
    """A limit on sizes of files stands for it: writing fails in the middle."""
    store.put(record())
    worker = multiprocessing.get_context("spawn").Process(target=_put_within, args=(store.folder, 100))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    assert [path.name for path in store.path(KEY).parent.iterdir()] == [f"{KEY}.parquet"]
    assert store.get(KEY, Record) == record()


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


def test_a_process_that_is_killed_holds_no_lock(store):
    code = f"""
import time
from pathlib import Path
from glu_prune.experiment.store import Store
with Store(Path({str(store.folder)!r})).lock({KEY!r}):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        process.kill()
    with store.lock(KEY, lambda file: pytest.fail(f"{file} is held by the dead")):
        pass


@pytest.fixture
def no_flock(monkeypatch):
    import fcntl

    def missing(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)


def test_without_locks_of_the_file_system_a_file_names_the_holder(store, no_flock):
    file = store.folder / "locks" / f"{KEY}.soft"
    with store.lock(KEY):
        assert file.read_text().split("\n")[:2] == [str(os.getpid()), socket.gethostname()]
    assert not file.exists()


def test_such_a_file_of_a_dead_process_is_taken_over(store, no_flock):
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    file = store.folder / "locks" / f"{KEY}.soft"
    file.parent.mkdir(parents=True)
    file.write_text(f"{process.pid}\n{socket.gethostname()}\n")
    with store.lock(KEY):
        assert file.read_text().split("\n")[0] == str(os.getpid())


def test_such_a_file_of_a_living_process_is_waited_for(store, no_flock):
    def give_up(file: Path) -> None:
        raise LookupError(file.name)

    file = store.folder / "locks" / f"{KEY}.soft"
    file.parent.mkdir(parents=True)
    file.write_text(f"{os.getppid()}\n{socket.gethostname()}\n")
    with pytest.raises(LookupError, match=f"{KEY}.soft"), store.lock(KEY, give_up):
        pass


@pytest.mark.parametrize(
    "column", [{"outputs": ("x",)}, {"fields": {"f": (("g",),)}}, {"margins": (1.0,)}, {"items": ()}]
)
def test_columns_of_different_length_are_no_record(column):
    with pytest.raises(ValueError, match="one entry per item"):
        record(**column)
