"""`glu-prune store`: what a store holds, is checked for, loses and gives."""

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest

from glu_prune.cli import main
from glu_prune.errors import StoreError
from glu_prune.experiment import codec as module
from glu_prune.experiment.code import METERING, SCORING, code_fingerprint, library_versions
from glu_prune.experiment.cost_record import Cost, CostRecord
from glu_prune.experiment.marker import MARKER
from glu_prune.experiment.record import Record
from glu_prune.experiment.scratch import scratch
from glu_prune.experiment.store import Store
from glu_prune.files import writer
from tests.helpers.records import FLOORS, FULL

KEYS = {name: f"{number}{number}" * 32 for number, name in enumerate(("full", "floors", "other code", "other torch"))}
MADE = {"code": code_fingerprint(SCORING), "versions": library_versions()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two cells that may be asked for again, and two that never will be."""
    found = Store(tmp_path / "store")
    found.put(FULL.model_copy(update={"key": KEYS["full"], **MADE}))
    found.put(FLOORS.model_copy(update={"key": KEYS["floors"], **MADE}))
    found.put(FULL.model_copy(update={"key": KEYS["other code"], **MADE, "code": "0" * 64, "task": "tiny_reading"}))
    versions = {**MADE["versions"], "torch": "0.1"}
    found.put(FULL.model_copy(update={"key": KEYS["other torch"], **MADE, "versions": versions}))
    return found


def left(store: Store) -> set[str]:
    return {str(path.relative_to(store.folder)) for path in store.folder.rglob("*") if path.is_file()}


def run(store: Store, *arguments: str) -> int:
    return main(["store", *arguments, "--store", str(store.folder)])


def test_ls_has_a_row_for_each_cell(store, capsys):
    assert run(store, "ls") == 0
    shown = capsys.readouterr().out
    size = store.path(KEYS["full"]).stat().st_size
    assert re.search(rf"^{KEYS['full'][:12]} +tiny-base +dense +tiny_recall +2 +acc 0.500,", shown, re.MULTILINE)
    assert f"{size:,}" in shown
    assert "floors of" in shown
    assert "\n4 cells, " in shown
    assert run(store, "ls", "--task", "*_reading") == 0
    assert "\n1 cells, " in capsys.readouterr().out
    assert run(store, "ls", "--model", "tiny-b*") == 0
    assert "\n3 cells, " in capsys.readouterr().out


def test_costs_of_answering_are_rows_and_no_cells(store, tmp_path, capsys):
    found = FULL.model_copy(update={"key": KEYS["full"], **MADE})
    cost = CostRecord(
        key="f" * 64, cell=found.key, model=found.model, arm=found.arm, task=found.task, machine="m", created="now",
        code=code_fingerprint(METERING), versions=MADE["versions"], cost=Cost(seconds=12.3, energy={}),
    )  # fmt: skip
    for each in (cost, cost.model_copy(update={"key": "e" * 64, "code": "other"})):
        store.put(each)
    assert run(store, "ls") == 0
    shown = capsys.readouterr().out
    assert shown.count("cost of answering: 12.3 s") == 2
    assert "\n4 cells, " in shown
    assert run(store, "verify") == 0
    assert capsys.readouterr().out == "6 of 6 records are sound\n"
    assert run(store, "export", str(tmp_path / "all.parquet")) == 0
    assert capsys.readouterr().out.endswith(" of 4 cells\n")
    assert run(store, "gc") == 0
    assert "2 records made by other code: " in capsys.readouterr().out
    assert store.path("f" * 64, CostRecord).exists()
    assert not store.path("e" * 64, CostRecord).exists()


def test_show_gives_the_head_of_the_one_record(store, capsys):
    assert run(store, "show", "00") == 0
    first, _, head = capsys.readouterr().out.partition("\n")
    assert first == str(store.path(KEYS["full"]))
    assert json.loads(head)["metrics"] == {"acc": 0.5, "inst": 2 / 3}
    assert json.loads(head)["items"] == 2


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("../../etc", "'../../etc' begins no key; keys are of 0-9 and a-f"),
        ("a/b", "'a/b' begins no key"),
        ("", "'' begins no key"),
        ("*", "'*' begins no key"),
        ("abc", "0 keys in "),
    ],
)
def test_what_is_no_key_is_refused(store, capsys, key, complaint):
    assert run(store, "show", key) == 1
    assert capsys.readouterr().err.startswith(f"glu-prune: {complaint}")


def test_a_key_that_several_records_begin_with_is_refused(store, capsys):
    store.put(FULL.model_copy(update={"key": "00" + "f" * 62}))
    assert run(store, "show", "00") == 1
    assert "2 keys in" in capsys.readouterr().err


def test_verify_names_what_is_damaged(store, capsys):
    assert run(store, "verify") == 0
    assert capsys.readouterr().out == "4 of 4 records are sound\n"
    cut, swapped = store.path(KEYS["full"]), store.path(KEYS["floors"])
    swapped.write_bytes(store.path(KEYS["other code"]).read_bytes())
    cut.write_bytes(cut.read_bytes()[:-9])
    assert run(store, "verify") == 1
    first, second, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{cut}: it is no record in Parquet (")
    assert second == f"{swapped}: it holds the record of {KEYS['other code'][:12]}"
    assert last == "2 of 4 records are sound"


def test_gc_removes_what_is_of_no_use_and_nothing_else(store, capsys):
    keep = {f"cells/{KEYS[name]}.parquet" for name in ("full", "floors")}
    keep |= {f"locks/{'d' * 64}", f"declared/{'c' * 64}.json", MARKER, "cells/notes.txt", "notes.txt"}
    unfinished, answered, old = (f"drafts/{name}.jsonl" for name in ("b" * 64, KEYS["full"], "c" * 64))
    keep |= {unfinished, "drafts/notes.txt"}
    for name in (unfinished, answered, old, "drafts/notes.txt"):
        (store.folder / name).parent.mkdir(exist_ok=True)
        (store.folder / name).write_text("x")
    os.utime(store.folder / old, (1, 1))
    mine = f".{'0' * 32}.{writer()}.partial"
    dead = mine.replace(f".{os.getpid()}.", ".99999999.")
    keep.add(f"cells/{mine}")
    earlier = f".{'1' * 32}.partial"
    aside = f"corrupt/{'e' * 64}.parquet.1"
    for name in ("notes.txt", "cells/notes.txt", f"cells/{mine}", f"cells/{dead}", f"cells/{earlier}", aside, dead):
        (store.folder / name).parent.mkdir(exist_ok=True)
        (store.folder / name).write_text("x")
    os.utime(store.folder / "cells" / earlier, (1, 1))
    store.declare("c" * 64, {})
    layout = {"schema_version": 3, "key": "ab" * 32, "items": ["a"], "versions": {}}
    (store.folder / "cells" / f"{'ab' * 32}.json").write_text(f"checksum\n{json.dumps(layout)}\n")
    with store.lock("f" * 64):
        pass
    with store.lock("d" * 64):
        before = left(store)
        assert run(store, "gc", "--dry-run") == 0
        would = capsys.readouterr().out
        assert left(store) == before
        assert run(store, "gc") == 0
    assert left(store) == keep
    said = capsys.readouterr().out
    assert would.replace("would be removed", "removed") == said
    assert {line.split()[0] for line in said.splitlines() if line.startswith("  ")} == {
        str(store.folder / name) for name in before - keep
    }
    for line in (
        "1 records made by other code: ",
        "1 records made with other versions of libraries: ",
        "1 records of earlier versions of the layout: ",
        "3 files that were never finished: 3 bytes",
        "1 corrupt records that were set aside: 1 bytes",
        "2 texts of cells that are answered, or that no run has gone on with for a month: 2 bytes",
        "1 locks that nobody holds: 0 bytes",
        "removed: 10 files, ",
    ):
        assert f"\n{line}" in f"\n{said}"
    assert said.endswith("; 2 cells stay\n")


FOREIGN = {
    "thesis.txt": "x",
    "cells/thesis.txt": "x",
    f"cells/{'a' * 64}.parquet": "no record",
    f"cells/{'a' * 64}.json": '{"mine": 1}\n{"mine": 2}',
    "corrupt": "x",
    "cells": "x",
    "glu-prune-store.json": "{}",
    "src/cells/a": "x",
    "locks/readme": "x",
    "checkpoints/mine/model.safetensors": "x",
    "declared/mine.txt": "x",
    "drafts/mine.txt": "x",
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("command", [["gc"], ["gc", "--dry-run"], ["ls"], ["verify"]])
def test_a_folder_that_is_no_store_is_refused_and_stays(tmp_path, capsys, name, command):
    folder = tmp_path / "foreign"
    for each in {name, "corrupt/old.txt", "locks/x"} if "/" in name else {name}:
        (folder / each).parent.mkdir(parents=True, exist_ok=True)
        (folder / each).write_text(FOREIGN.get(each, "x"))
    before = {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}
    assert run(Store(folder), *command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"glu-prune: {folder}")
    assert {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")} == before


def test_no_record_is_written_into_a_folder_that_is_no_store(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    store = Store(tmp_path)
    with pytest.raises(StoreError, match=r"is no store of glu-prune, as it holds thesis\.txt; choose a new or empty"):
        store.put(FULL)
    store.declare("c" * 64, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_store_of_an_earlier_version_is_recognised_and_marked(store, capsys):
    (store.folder / MARKER).unlink()
    assert run(store, "gc", "--dry-run") == 0
    assert not (store.folder / MARKER).exists()
    assert run(store, "ls") == 0
    assert run(store, "gc") == 0
    assert json.loads((store.folder / MARKER).read_text()) == {"store": 1}
    (store.folder / MARKER).unlink()
    Store(store.folder).put(FULL)
    assert (store.folder / MARKER).is_file()
    assert capsys.readouterr().out


def test_a_marker_that_is_a_pipe_is_not_read(store, capsys):
    (store.folder / MARKER).unlink()
    os.mkfifo(store.folder / MARKER)
    assert run(store, "gc") == 1
    assert "is no file, so that nothing says of which version the store is" in capsys.readouterr().err


@pytest.mark.parametrize("said", ['{"store": 2}', '{"store": "1"}', '{"store": true}', "[]", "", "\xff"])
def test_a_store_of_another_version_is_refused_and_stays(store, capsys, said):
    (store.folder / MARKER).write_text(said)
    before = left(store)
    for command in (["gc"], ["ls"]):
        assert run(store, *command) == 1
        assert len(capsys.readouterr().err.splitlines()) == 1
    with pytest.raises(StoreError):
        Store(store.folder).put(FULL)
    with pytest.raises(StoreError):
        Store(store.folder).get(KEYS["full"], Record)
    assert left(store) == before


def test_gc_leaves_what_it_cannot_read(store, capsys):
    damaged, wrong = store.path(KEYS["full"]), store.path("9" * 64)
    damaged.write_bytes(damaged.read_bytes()[:-9])
    wrong.write_bytes(store.path(KEYS["other code"]).read_bytes())
    sound_aside = store.folder / "corrupt" / f"{KEYS['floors']}.parquet.1"
    sound_aside.parent.mkdir()
    sound_aside.write_bytes(store.path(KEYS["floors"]).read_bytes())
    assert run(store, "gc") == 0
    assert all(path.exists() for path in (damaged, wrong, sound_aside))
    assert f"stays, as it cannot be read: {damaged}: " in capsys.readouterr().out


@pytest.mark.parametrize("what", ["cell", "lock", "unfinished"])
def test_gc_is_not_led_astray_by_pipes_and_folders(store, what):
    """A pipe would be read for ever; a folder of such a name is nobody's that this package knows."""
    dead = f".{'a' * 32}.{writer().rpartition('.')[0]}.99999999.partial"
    place = {"cell": f"cells/{'c' * 64}.json", "lock": f"locks/{'c' * 64}", "unfinished": f"cells/{dead}"}[what]
    (store.folder / place).parent.mkdir(exist_ok=True)
    os.mkfifo(store.folder / place) if what == "cell" else (store.folder / place).mkdir()
    assert run(store, "gc") == 0
    assert (store.folder / place).exists()


def test_copies_of_models_go_with_dead_processes_only(store, capsys):
    copies = store.folder / "checkpoints"
    with scratch(copies) as used:
        (used / "model.safetensors").write_text("12345")
        dead = copies / f"glu-prune-{'0' * 32}"
        for folder in (
            dead,
            copies / "host.1.0",
            store.folder / "footprint-abcdefgh",
            store.folder / "footprint-new_new_",
        ):
            folder.mkdir()
            (folder / "model.safetensors").write_text("123")
            if "new" not in folder.name:
                os.utime(folder / "model.safetensors", (1, 1))
                os.utime(folder, (1, 1))
        dead.with_name(f"{dead.name}.lock").touch()
        assert run(store, "gc") == 0
        said = capsys.readouterr().out
        assert "1 copies of models that dead processes left: 3 bytes" in said
        assert "2 copies of models that an earlier version left, a day ago or more: 6 bytes" in said
        assert {path.name for path in store.folder.glob("footprint-*")} == {"footprint-new_new_"}
        assert {path.name.partition(".")[0] for path in copies.iterdir()} == {used.name}
        dead.mkdir()
        dead.with_name(f"{dead.name}.lock").touch()
        Store(store.folder).put(FULL)
        assert not dead.exists(), "the next run removes it"
        assert used.is_dir()
    assert not copies.exists()


def test_gc_keeps_what_a_newer_version_wrote(store, monkeypatch):
    monkeypatch.setattr("glu_prune.experiment.entry.version_of", lambda kind: module.version_of(kind) - 1)
    before = left(store)
    assert run(store, "gc") == 0
    assert left(store) == before


def test_export_has_all_items_and_overwrites_nothing(store, tmp_path, capsys):
    out = tmp_path / "all.parquet"
    assert run(store, "export", str(out)) == 0
    assert capsys.readouterr().out == f"{out}: 10 rows of 4 cells\n"
    table = pd.read_parquet(out)
    full = table[table["key"] == KEYS["full"]]
    assert full["item"].tolist() == ["a", "b"]
    assert full["metric.acc"].tolist() == [1.0, 0.1]
    floor = table[table["arm"] == "floor: the"]
    assert floor["metric.acc"].tolist() == [0.5, 0.0]
    assert run(store, "export", str(tmp_path / "all.csv")) == 0
    read = pd.read_csv(tmp_path / "all.csv")
    assert list(read) == list(table)
    assert json.loads(read["parts.inst"][1]) == [0.0, 1.0]
    assert run(store, "export", str(out)) == 1
    assert f"{out} is there already and is not overwritten" in capsys.readouterr().err
    pd.testing.assert_frame_equal(pd.read_parquet(out), table)


def test_export_leaves_out_what_cannot_be_trusted_and_says_so(store, tmp_path, capsys):
    path = store.path(KEYS["full"])
    path.write_bytes(path.read_bytes()[:-9])
    assert run(store, "export", str(tmp_path / "all.csv")) == 1
    shown = capsys.readouterr().out
    assert shown.startswith(f"left out: {path}: ")
    assert shown.endswith(": 8 rows of 3 cells\n")


@pytest.mark.parametrize(
    ("name", "complaint"), [("all.xlsx", "ends neither in"), ("absent/all.csv", "cannot be written")]
)
def test_a_file_that_cannot_be_written_is_one_line(store, tmp_path, capsys, name, complaint):
    assert run(store, "export", str(tmp_path / name)) == 1
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / name).exists()


def test_a_store_that_is_not_there_is_one_line(tmp_path, capsys):
    for command in (["ls"], ["verify"], ["gc"], ["show", "a"], ["export", str(tmp_path / "a.csv")]):
        assert run(Store(tmp_path / "absent"), *command) == 1
        assert "absent is no folder of records; name one with --store DIR" in capsys.readouterr().err
