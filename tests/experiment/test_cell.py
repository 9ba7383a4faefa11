import os
import shutil
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from glu_prune.efficiency.benchmark import Effort
from glu_prune.efficiency.workload import WORKLOADS, drawn
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment import cell as module
from glu_prune.experiment.cell import DENSE, Arm, Cell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.machine import machine
from glu_prune.models.source import ModelSource, locate

CELL = Cell(locate("tiny-base"), Arm("ppm", Decimal("0.5")), "tiny_recall", None, ("band",), Settings())
SERIES = SeriesCell(CELL.source, (DENSE, CELL.arm), drawn(64, 32, 8), Settings(), Effort())


@pytest.mark.parametrize(
    "other",
    [
        replace(CELL, arm=DENSE),
        replace(CELL, arm=Arm("random", Decimal("0.5"))),
        replace(CELL, arm=Arm("ppm", Decimal("0.4"))),
        replace(CELL, arm=Arm("ppm", Decimal("0.5"), seed=1)),
        replace(CELL, task="tiny_recall_mc"),
        replace(CELL, num_fewshot=5),
        replace(CELL, fields=()),
        replace(CELL, settings=Settings(dtype="bfloat16")),
        replace(CELL, settings=Settings(device="cuda")),
        replace(CELL, settings=Settings(batch_size=1)),
        replace(CELL, settings=Settings(backend="hf")),
        replace(CELL, part=Subset(0, 64)),
    ],
)
def test_everything_that_changes_the_answer_changes_the_key(other):
    assert other.key != CELL.key


def test_every_part_has_its_own_key():
    found = [
        CELL,
        *(replace(CELL, part=part) for part in (Subset(0, 64), Subset(0, 128), Subset(64, 128), Subset(0, 64, "band"))),
    ]
    assert len({each.key for each in found}) == 5
    assert str(found[1]) == "tiny-base ppm-0.5 tiny_recall 0-64"


def test_the_same_cell_has_the_same_key():
    assert replace(CELL, arm=Arm("ppm", Decimal("0.50"))).key == CELL.key


def test_one_changed_weight_changes_the_key(tmp_path: Path):
    for name in ("same", "changed"):
        shutil.copytree(CELL.source.folder, tmp_path / name)
    weights = tmp_path / "changed" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    same, changed = (replace(CELL, source=ModelSource("m", tmp_path / name)) for name in ("same", "changed"))
    assert same.key == CELL.key != changed.key


def test_changed_code_changes_the_key(monkeypatch):
    before = CELL.key, SERIES.key
    monkeypatch.setattr(module, "code_fingerprint", lambda _: "other code")
    assert replace(CELL).key != before[0]
    assert replace(SERIES).key != before[1]


@pytest.mark.parametrize("cell", [replace(CELL, task="piqa"), FloorCell("piqa", None)])
def test_other_data_changes_the_key(tmp_path, monkeypatch, cell):
    keys = [replace(cell).key]
    monkeypatch.setenv("GLU_PRUNE_DATA", str(tmp_path))
    (tmp_path / "piqa").mkdir()
    for text in ('{"query": "a"}', '{"query": "b"}'):
        (tmp_path / "piqa" / "validation.jsonl").write_text(text)
        keys.append(replace(cell).key)
    assert len(set(keys)) == 3


@pytest.mark.parametrize("cell", [CELL, FloorCell("tiny_recall", None)])
def test_a_folder_of_tasks_changes_the_key_and_so_does_each_file_in_it(tmp_path, cell):
    keys = [cell.key]
    for text in ("task: tiny_recall\n", "task: tiny_recall\nnum_fewshot: 1\n"):
        (tmp_path / "own.yaml").write_text(text)
        keys.append(replace(cell, folder=tmp_path).key)
    (tmp_path / "items.jsonl").write_text("{}")
    keys.append(replace(cell, folder=tmp_path).key)
    assert len(set(keys)) == 4


def test_floors_belong_to_a_task_and_its_prompts():
    keys = {FloorCell("tiny_recall", None).key, FloorCell("tiny_recall", 5).key, FloorCell("tiny_reading", None).key}
    assert len(keys) == 3
    assert CELL.key not in keys


@pytest.mark.parametrize(
    "other",
    [
        replace(SERIES, source=locate("tiny-instruct")),
        replace(SERIES, arms=(DENSE,)),
        replace(SERIES, arms=(CELL.arm, DENSE)),
        replace(SERIES, arms=(DENSE, Arm("random", Decimal("0.5")))),
        replace(SERIES, arms=(DENSE, Arm("ppm", Decimal("0.4")))),
        replace(SERIES, arms=(DENSE, Arm("ppm", Decimal("0.5"), seed=1))),
        replace(SERIES, workload=drawn(64, 32, 1)),
        replace(SERIES, workload=replace(SERIES.workload, new_tokens=33)),
        replace(SERIES, workload=replace(SERIES.workload, seeds=(1,))),
        replace(SERIES, settings=Settings(dtype="bfloat16")),
        replace(SERIES, settings=Settings(device="cuda")),
        replace(SERIES, effort=Effort(rounds=9)),
        replace(SERIES, effort=Effort(seconds=1.0)),
        replace(SERIES, effort=Effort(processes=5)),
    ],
)
def test_everything_that_changes_a_measurement_changes_its_key(other):
    assert other.key not in (SERIES.key, CELL.key)


def test_the_batch_size_of_evaluations_changes_no_measurement():
    assert replace(SERIES, settings=Settings(batch_size=1)).key == SERIES.key


def test_a_measurement_belongs_to_a_machine_and_a_score_does_not(monkeypatch):
    before = CELL.key, SERIES.key
    monkeypatch.setattr(module, "machine", lambda: "another")
    assert replace(SERIES).key != before[1]
    assert replace(CELL).key == before[0]


def test_the_machine_is_named():
    """As Linux names it, or as Python does."""
    named = machine()
    assert f", {len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} cores" in named
    info = Path("/proc/cpuinfo")
    models = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []  # fmt: skip
    for name in models[:1]:
        assert name
        assert f", {name}, " in named


def test_prompts_of_a_benchmark_change_the_key(tmp_path, monkeypatch):
    cell = replace(SERIES, workload=WORKLOADS["study"][0])
    keys = [replace(cell).key]
    monkeypatch.setenv("GLU_PRUNE_DATA", str(tmp_path))
    (tmp_path / "hellaswag").mkdir()
    for text in ('{"query": "a"}', '{"query": "b"}'):
        (tmp_path / "hellaswag" / "validation_preprocessed.jsonl").write_text(text)
        keys.append(replace(cell).key)
    assert len(set(keys)) == 3


@pytest.mark.parametrize(
    ("file", "measurements", "scores"),
    [
        ("efficiency/evaluation_meter.py", True, False),
        ("efficiency/meter.py", True, False),
        ("efficiency/tracking.py", True, False),
        ("efficiency/footprint.py", True, False),
        ("evaluation/evaluate.py", False, True),
        ("evaluation/result.py", False, True),
        ("pruning/surgery.py", True, True),
        ("models/source.py", True, True),
        ("experiment/engine.py", True, True),
        ("experiment/record.py", True, True),
        ("experiment/backend_arms.py", False, True),
        ("units.py", True, False),
        ("judgement/verdict.py", False, False),
        ("report/columns.py", False, False),
    ],
)
def test_changed_code_changes_the_keys_of_what_it_computes(tmp_path, monkeypatch, file, measurements, scores):
    package = tmp_path / "package"
    shutil.copytree(module._PACKAGE, package, ignore=shutil.ignore_patterns("embedded", "__pycache__"))
    monkeypatch.setattr(module, "_PACKAGE", package)
    monkeypatch.setattr(module, "code_fingerprint", module.code_fingerprint.__wrapped__)  # which remembers nothing
    floor = FloorCell("tiny_recall", None)
    before = [replace(each).key for each in (SERIES, CELL, floor)]
    assert [replace(each).key for each in (SERIES, CELL, floor)] == before
    with (package / file).open("a") as stream:
        stream.write("# changed\n")
    changed = [replace(each).key != key for each, key in zip((SERIES, CELL, floor), before, strict=True)]
    assert changed == [measurements, scores, scores]
