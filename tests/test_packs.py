"""Evidence packs: what was run is judged again elsewhere, by records alone."""

import json
import re
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.stats

from glu_prune.cli import main
from glu_prune.experiment import record_source
from glu_prune.experiment.cell import FloorCell
from glu_prune.experiment.executors.local import LocalExecutor
from glu_prune.experiment.maintenance import entries
from glu_prune.experiment.packing import SCORES, pack, question
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.experiment.store import Store
from glu_prune.sources.packed import PackedRecords, PackedSource

EXPECTATIONS = """\
model: tiny-base
ratios: [0.5]
controls: [random, wanda, "ppm keeping 0:1,2"]
control_seeds: 2
calibration: text.txt
items: {tiny_recall_mc: 24, tiny_recall: 8}
expect:
  - {capability: factual_knowledge, direction: down, why: facts go}
  - {capability: factual_recall, direction: down, specific: true, why: facts go}
  - {distance: flips, capability: factual_knowledge, at_most: 0.9, why: some answers stay}
  - {distance: kl, capability: factual_knowledge, at_most: 9, why: it still predicts}
"""
TESTS = """\
def test_direction(glu_case, glu_check):
    glu_check(glu_case)


def test_distance(glu_distance, glu_check):
    glu_check(glu_distance)
"""
_LOADED = LocalExecutor, PackedSource, scipy.stats
"""Loaded before sessions run in this process, which forget what they import."""
TABLES = ("scores.csv", "distances.csv", "why.csv")
pytest_plugins = ("pytester",)


class Project:
    """A user's repository, and what a session in it says."""

    def __init__(self, pytester):
        self.path = pytester.path
        self._run = pytester.runpytest_inprocess
        (self.path / "expectations").mkdir()
        (self.path / "expectations" / "tiny.yaml").write_text(EXPECTATIONS)
        (self.path / "expectations" / "text.txt").write_text("anna lives in rome .\nthe parrot sees a lamp .\n" * 4)
        (self.path / "test_claims.py").write_text(TESTS)

    def run(self, *options):
        return self._run("-p", "no:cacheprovider", *options)

    def tables(self):
        return {name: pd.read_csv(self.path / "results" / name) for name in TABLES}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "store"


@pytest.fixture
def project(pytester, store):
    made = Project(pytester)
    made.first = made.run(f"--glu-store={store}")
    return made


def packed(store, out):
    assert main(["store", "pack", str(out), "--store", str(store)]) == 0


def outcomes(result):
    return {name: count for name, count in result.parseoutcomes().items() if not name.startswith("warning")}


def records(folder, kind=Record):
    return [Store(folder).get(each.key, kind) for each in entries(folder) if each.kind is kind]


def test_a_pack_is_judged_as_the_runs_were_and_without_the_model(project, store, monkeypatch, capsys):
    before = project.tables()
    assert len(before["scores.csv"]) == len(before["distances.csv"]) == 2
    assert before["scores.csv"][["random", "wanda", "ppm keeping 0:1,2"]].notna().all(axis=None)
    packed(store, project.path / "expectations" / "evidence" / "mine")
    assert re.search(r"evidence/mine: \d+ cells, \d+", capsys.readouterr().out)

    def absent(*_args):
        raise AssertionError

    monkeypatch.setattr(record_source, "locate", absent)
    result = project.run("--glu-evidence", "mine", "--glu-store=none")
    assert outcomes(result) == outcomes(project.first)
    for name, table in project.tables().items():
        pd.testing.assert_frame_equal(table, before[name])
    assert not (project.path / "none").exists()
    named = project.run("--glu-evidence", str(project.path / "expectations" / "evidence" / "mine"))
    assert outcomes(named) == outcomes(result)


def test_what_models_wrote_is_not_in_a_pack(project, store, tmp_path):
    packed(store, tmp_path / "pack")
    whole = {question(each): each for each in records(store)}
    for each in records(tmp_path / "pack"):
        outputs = whole[question(each)].outputs
        if each.lengths:
            assert all(len(text) == 16 for text in each.outputs)
            assert len(set(each.outputs)) == len(set(outputs))
        else:
            assert set(each.outputs) == {""}
        assert each == whole[question(each)].model_copy(update={"outputs": each.outputs})
    first, second = ({path.name: path.read_text() for path in (folder / "declared").iterdir()} for folder in (store, tmp_path / "pack"))  # fmt: skip
    assert first == second != {}
    scores = pd.read_csv(tmp_path / "pack" / SCORES)
    assert set(scores["arm"]) == {"dense", "ppm-0.5", "random-0.5", "wanda-0.5", "ppm keeping 0:1,2-0.5"}
    assert set(scores["items"]) == {8, 24}


def test_a_pack_of_a_pack_is_the_same(project, store, tmp_path):
    """Digests of texts are not taken again: else what others ran could not be held against it."""
    pack(store, tmp_path / "first", "*")
    pack(tmp_path / "first", tmp_path / "second", "*")
    one, other = (sorted(records(tmp_path / name), key=lambda each: each.key) for name in ("first", "second"))
    assert one == other
    assert any(each.lengths for each in one), "there are texts among them"


def test_records_that_a_pack_has_are_not_written_again(project, store, tmp_path):
    """Another version writes the same record in other bytes; whoever keeps a pack in git would keep both."""
    out = tmp_path / "pack"
    pack(store, out, "*")
    file = next(each.path for each in entries(out) if each.kind is Record)
    pq.write_table(pq.read_table(file), file, compression="none")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    pack(store, out, "*")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_later_answer_takes_the_place_of_an_earlier_one(project, store, tmp_path):
    out = tmp_path / "pack"
    packed(store, out)
    first = {each.key for each in entries(out)}
    again = Store(tmp_path / "again")
    changed = records(store)[0].model_copy(update={"key": "00" * 32, "created": "2999-01-01T00:00:00+00:00"})
    again.put(changed)
    pack(again.folder, out, "*")
    second = {each.key for each in entries(out)}
    assert second - first == {"00" * 32}
    assert len(second) == len(first) or len(first - second) == 2, "with its cost, which is that of the earlier answer"
    pack(store, out, "*")
    assert {each.key for each in entries(out)} == second, "what is later stays"


def test_floors_are_those_of_the_prompts(project, store, tmp_path):
    """Models were asked with and without their chat template."""
    out = tmp_path / "pack"
    packed(store, out)
    floors = next(each for each in records(out, FloorRecord) if each.task == "tiny_recall")
    plain = next(each for each in records(out) if each.task == "tiny_recall")
    chat = {each: f"chat {each}" for each in floors.items}
    for key, copied in (("00" * 32, floors), ("11" * 32, plain)):
        changed = {"key": key, "items": tuple(chat[each] for each in copied.items)}
        if copied is plain:
            changed["settings"] = {**plain.settings, "chat_template": True}
        Store(out).put(copied.model_copy(update=changed))
    pack = PackedRecords(out)
    assert pack.floors(FloorCell("tiny_recall", None)) == floors
    assert pack.floors(FloorCell("tiny_recall", None, chat=pack.located("tiny-base", None))).key == "00" * 32


def test_what_a_pack_lacks_is_not_measured(project, store, tmp_path):
    out = project.path / "expectations" / "evidence" / "mine"
    packed(store, out)
    for each in records(out):
        if each.arm == "ppm-0.5" and each.task == "tiny_recall":
            Store(out).path(each.key).unlink()
    result = project.run("--glu-evidence", "mine", "-rs")
    result.stdout.fnmatch_lines(["*not measured: *evidence/mine has no record of tiny-base ppm-0.5 tiny_recall 0-8*"])
    for each in entries(out):
        if each.kind is FloorRecord:
            each.path.unlink()
    result = project.run("--glu-evidence", "mine", "-rs", "--glu-strict")
    result.stdout.fnmatch_lines(["*has no record of floors of tiny_recall_mc*"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--glu-evidence=other"], "*'other' is neither published, a pack in *evidence (there: mine), nor a folder*"),
        (["--glu-evidence=mine", "--glu-sequential"], "*with --glu-evidence mine nothing is run"),
        (["--glu-evidence=mine", "--glu-limit=5"], "*--glu-limit asks fewer items; with --glu-evidence mine nothing is run"),
        (["--glu-evidence=mine", "--glu-save-baseline=b"], "*leave out --glu-sequential, --glu-evidence and --glu-plan"),
        (["--glu-evidence=mine", "--glu-plan"], "*leave out --glu-evidence mine"),
    ],
)  # fmt: skip
def test_what_cannot_be_judged_is_one_line(project, store, options, said):
    packed(store, project.path / "expectations" / "evidence" / "mine")
    result = project.run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [each for each in result.errlines if each.strip()]
    result.stderr.fnmatch_lines([said])
    assert line.startswith("ERROR: ")


def test_nothing_but_a_pack_is_written_to(project, store, tmp_path, capsys):
    """The store itself, a file, or anything else."""
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    (tmp_path / "file").write_text("mine")
    for out in (store, tmp_path / "file", project.path):
        assert main(["store", "pack", str(out), "--store", str(store)]) == 1
        assert f"{out} is no pack, as it has no scores.csv, and is left as it is" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_runs_are_compared_with_a_pack_item_by_item(project, store, tmp_path, capsys):
    packed(store, tmp_path / "pack")
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "pack"), str(store)]) == 0
    said = capsys.readouterr().out
    assert said.count("unchanged") >= 6
    assert "incomparable" not in said


def test_a_model_that_is_not_in_the_store_makes_no_pack(project, store, tmp_path, capsys):
    assert main(["store", "pack", str(tmp_path / "p"), "--model", "gpt*", "--store", str(store)]) == 1
    assert "has no record of a model called gpt*" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_a_damaged_pack_is_one_line(project, store):
    out = project.path / "expectations" / "evidence" / "mine"
    packed(store, out)
    next((out / "cells").glob("*.parquet")).write_bytes(b"damaged")
    result = project.run("--glu-evidence", "mine")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *cells/*.parquet: *; restore it"])
    assert json.loads(Path(out / "glu-prune-store.json").read_text()) == {"store": 1}


def test_controls_that_a_pack_lacks_are_missed_by_claims_about_them_alone(project, store):
    place = project.path / "expectations" / "evidence" / "mine"
    packed(store, place)
    lost = [each for each in entries(place) if each.kind is Record and str(each.head["arm"]).startswith("random")]
    assert {each.head["task"] for each in lost} == {"tiny_recall", "tiny_recall_mc"}
    for each in lost:
        each.path.unlink()
    before = project.tables()["scores.csv"].set_index("capability")
    project.run("--glu-evidence", "mine")
    after = project.tables()["scores.csv"].set_index("capability")
    assert ("random" in before, "random" in after) == (True, False)
    same = ["dense", "pruned", "p", "verdict"]
    assert after.loc["factual_knowledge", same].equals(before.loc["factual_knowledge", same])
    assert after.loc["factual_recall", "verdict"].startswith("inconclusive")
    assert "random not run" in after.loc["factual_recall", "note"]
