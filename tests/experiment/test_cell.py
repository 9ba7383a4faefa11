import os
import shutil
from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import pytest
import torch

from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.workload import WORKLOADS, Workload, drawn
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment import code, keys
from glu_prune.experiment import machine as machines
from glu_prune.experiment.cell import DENSE, Arm, Cell, DistanceCell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.keys import cost_key
from glu_prune.experiment.machine import machine
from glu_prune.models.source import ModelSource, locate
from glu_prune.pruning.calibration_text import CalibrationText
from glu_prune.pruning.target import Target

CELL = Cell(locate("tiny-base"), Arm("ppm", Decimal("0.5")), "tiny_recall", None, ("band",), Settings())
SERIES = SeriesCell(CELL.source, (DENSE, CELL.arm), drawn(64, 32, 8), Settings(), Effort())


def test_every_part_has_its_own_key():
    found = [
        CELL,
        *(
            replace(CELL, subset=part)
            for part in (Subset(0, 64), Subset(0, 128), Subset(64, 128), Subset(0, 64, "band"))
        ),
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
    floor = FloorCell("tiny_recall", None)
    before = [CELL.key, SERIES.key, floor.key, cost_key(CELL.key)]
    monkeypatch.setattr(keys, "code_fingerprint", lambda _: "other code")
    after = [*(replace(each).key for each in (CELL, SERIES, floor)), cost_key(before[0])]
    assert all(one != other for one, other in zip(before, after, strict=True))


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


ADAPTER = Path(__file__).parent / "data" / "adapter"
"""What a key reads of an adapter; it is none that could be merged."""
OTHER = {
    Settings: {
        "dtype": "bfloat16", "device": "cuda", "batch_size": 1, "backend": "hf", "attention": "eager",
        "device_map": "auto", "chat_template": True, "threads": 1, "dtype_why": "it is faster",
    },
    Arm: {
        "criterion": "random", "ratio": Decimal("0.4"), "seed": 1, "calibration": CalibrationText(Path(__file__)),
        "target": Target.of(0.3), "checkpoint": "tiny-instruct", "source": locate("tiny-instruct"), "adapter": ADAPTER,
    },
    CalibrationText: {"file": Path(pytest.__file__), "tokens": 9, "seed": 1},
    Subset: {"start": 1, "stop": 128, "cluster": "band", "step": 2},
    Workload: {
        "name": "other", "batch_size": 9, "prompt_tokens": 65, "new_tokens": 33, "benchmark": "mmlu", "seeds": (1,),
    },
    Effort: {"rounds": 9, "seconds": 1.0, "processes": 5, "grid": "FRA"},
    Cell: {
        "source": locate("tiny-instruct"), "arm": DENSE, "task": "tiny_recall_mc", "num_fewshot": 5, "fields": (),
        "settings": Settings("bfloat16"), "subset": Subset(0, 64), "folder": Path("own"),
    },
    FloorCell: {"task": "tiny_recall_mc", "num_fewshot": 5, "folder": Path("own"), "chat": locate("tiny-instruct")},
    SeriesCell: {
        "source": locate("tiny-instruct"), "arms": (DENSE,), "workload": drawn(64, 32, 1),
        "settings": Settings("bfloat16"), "effort": Effort(9),
    },
}  # fmt: skip
"""Another value for every field of all that keys are made of: one that is new fails the tests until it has one."""
OTHER[DistanceCell] = {**OTHER[Cell], "reference": CELL.arm}
BASE = {
    Cell: CELL,
    DistanceCell: DistanceCell(**{each.name: getattr(CELL, each.name) for each in fields(Cell)}),
    FloorCell: FloorCell("tiny_recall", None),
    SeriesCell: SERIES,
}
INSIDE = {"settings": Settings, "arm": Arm, "subset": Subset, "workload": Workload, "effort": Effort}


def _compared(kind):
    """Its fields but for what it is only called by."""
    return [each for each in fields(kind) if each.compare]


def variants(kind):
    """(name, another cell): of each field of a kind of cell, and of each field of what stands in that field."""
    base = BASE[kind]
    for field in fields(kind):
        yield field.name, base, replace(base, **{field.name: OTHER[kind][field.name]})
        if inner := INSIDE.get(field.name):
            whole = replace(base, subset=Subset(0, 64)) if inner is Subset else base
            value = getattr(whole, field.name)
            for each in _compared(inner):
                other = replace(value, **{each.name: OTHER[inner][each.name]})
                yield f"{field.name}.{each.name}", whole, replace(whole, **{field.name: other})


EVERY = [
    pytest.param(base, other, name, id=f"{kind.__name__}-{name}")
    for kind in BASE
    for name, base, other in variants(kind)
]


@pytest.mark.parametrize(("base", "other", "name"), EVERY)
def test_every_field_is_in_every_key_unless_a_reason_is_given(tmp_path, monkeypatch, base, other, name):
    """What was measured by one kind of attention must not be served for another; a setting that is new neither."""
    monkeypatch.chdir(tmp_path)
    Path("own").mkdir()
    setting = name.removeprefix("settings.")
    left_out = setting in keys._NO_PART_IN_ANSWERS or (
        isinstance(base, SeriesCell) and setting in keys._NO_PART_IN_A_SERIES
    )
    assert other != base
    assert (replace(other).key == replace(base).key) == left_out


@pytest.mark.parametrize(
    "arms",
    [
        (CELL.arm, DENSE),
        *(
            (DENSE, replace(CELL.arm, **{name: value}))
            for name, value in OTHER[Arm].items()
            if f"arm.{name}" not in keys._NO_PART_IN_ANSWERS
        ),
    ],
)
def test_which_arms_are_measured_and_in_which_order_is_in_the_key(arms):
    assert replace(SERIES, arms=arms).key != SERIES.key


@pytest.mark.parametrize("name", OTHER[CalibrationText])
def test_whatever_of_a_text_is_shown_is_in_the_key(name):
    shown = CalibrationText(Path(__file__), 5)
    other = replace(shown, **{name: OTHER[CalibrationText][name]})
    arms = [Arm("wanda", Decimal("0.4"), 0, each) for each in (shown, other, replace(shown, tokens=None))]
    assert len({replace(CELL, arm=arm).key for arm in arms}) == 3


def test_no_field_of_what_keys_are_made_of_is_forgotten():
    for kind, others in OTHER.items():
        assert {field.name for field in _compared(kind)} == set(others)


def test_a_number_of_threads_holds_for_as_long_as_it_is_applied():
    before = torch.get_num_threads()
    with Settings(threads=before + 1).applied():
        assert torch.get_num_threads() == before + 1
        with Settings().applied():
            assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_few_settings_have_no_part_in_a_measurement():
    assert set(keys._NO_PART_IN_A_SERIES) == {"batch_size", "backend", "chat_template"}


def test_costs_belong_to_a_machine_and_scores_do_not(monkeypatch):
    before = CELL.key, SERIES.key, cost_key(CELL.key)
    monkeypatch.setattr(keys, "machine", lambda: "another")
    assert replace(SERIES).key != before[1]
    assert cost_key(CELL.key) != before[2]
    assert replace(CELL).key == before[0]


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"])
def test_costs_belong_to_so_many_threads_and_scores_do_not(monkeypatch, name):
    before = CELL.key, SERIES.key, cost_key(CELL.key)
    monkeypatch.setenv(name, "7")
    assert replace(SERIES).key != before[1]
    assert cost_key(CELL.key) != before[2]
    assert replace(CELL).key == before[0]


def test_the_kind_of_accelerator_is_in_the_keys_of_what_runs_on_it(monkeypatch):
    there = Settings(device="cuda")
    cells = [replace(each, settings=how) for each in (CELL, SERIES) for how in (Settings(), there)]
    before = [cell.key for cell in cells]
    monkeypatch.setattr(machines, "_gpus", lambda: ["NVIDIA T4", "NVIDIA T4"])
    on_one = [replace(cell).key for cell in cells]
    monkeypatch.setattr(machines, "_gpus", lambda: ["NVIDIA H100"])
    on_other = [replace(cell).key for cell in cells]
    assert [len(set(each)) for each in zip(before, on_one, on_other, strict=True)] == [1, 3, 1, 3]


@pytest.mark.parametrize(
    ("settings", "kinds", "named"),
    [
        (Settings(), ["T4"], ""),
        (Settings(device="cuda"), [], ""),
        (Settings(device="cuda:1"), ["T4", "T4"], "T4"),
        (Settings(device_map="auto"), ["T4"], "T4"),
        (Settings(backend="vllm"), ["T4"], "T4"),
        (Settings(device="cuda"), ["T4", "H100"], "T4 + H100 (CUDA_VISIBLE_DEVICES=1)"),
    ],
)
def test_an_accelerator_is_named_where_it_is_used(monkeypatch, settings, kinds, named):
    """Where kinds differ, those that this process may see tell one session from another."""
    monkeypatch.setattr(machines, "_gpus", lambda: kinds)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert machines.accelerator(settings) == named


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
    ("file", "scores", "costs", "measurements"),
    [
        ("efficiency/evaluation_meter.py", False, True, False),
        ("efficiency/processors.py", False, True, True),
        ("efficiency/meter.py", False, True, True),
        ("efficiency/tracking.py", False, True, True),
        ("efficiency/footprint.py", False, False, True),
        ("efficiency/benchmark.py", False, False, True),
        ("evaluation/evaluate.py", True, True, False),
        ("evaluation/result.py", True, True, False),
        ("evaluation/scorer.py", True, True, False),
        ("evaluation/tasks/functions.py", True, True, True),
        ("pruning/surgery.py", True, True, True),
        ("models/source.py", True, True, True),
        ("experiment/executors/arms.py", True, True, True),
        ("experiment/executors/scoring.py", True, True, False),
        ("experiment/executors/measuring.py", False, False, True),
        ("experiment/executors/backend_arms.py", True, True, False),
        ("experiment/record.py", True, True, True),
        ("evaluation/few_tokens.py", True, True, False),
        ("models/gguf.py", True, True, True),
        ("models/fetchable.py", False, False, False),
        ("experiment/keys.py", False, False, False),
        ("experiment/engine.py", False, False, False),
        ("models/shapes.py", False, False, False),
        ("judgement/verdict.py", False, False, False),
        ("report/columns.py", False, False, False),
    ],
)
def test_code_is_part_of_the_keys_of_what_it_computes(file, scores, costs, measurements):
    module = "glu_prune." + file.removesuffix(".py").replace("/", ".")
    assert code._path(module).is_file()
    reached = [code.reached(roots) for roots in (code.SCORING, code.METERING, code.MEASURING)]
    assert [module in each for each in reached] == [scores, costs, measurements]


@pytest.mark.parametrize(
    ("file", "changes"),
    [("evaluation/scorer.py", [True, True, False]), ("efficiency/footprint.py", [False, False, True])],
)
def test_changed_code_changes_keys_and_a_changed_comment_or_docstring_does_not(package, file, changes):
    before = fingerprints()
    path = package / file
    text = path.read_text()
    path.write_text("# a comment\n" + text.replace('"""', '"""Said otherwise. ', 1) + "\n\n# another\n")
    assert fingerprints() == before
    path.write_text(f"{text}\nADDED = 1\n")
    assert [one != other for one, other in zip(fingerprints(), before, strict=True)] == changes


@pytest.mark.parametrize("file", ["tiny_recall.yaml", "data/recall.jsonl"])
def test_changed_tasks_change_the_keys_of_scores(package, file):
    before = fingerprints()
    path = package / "evaluation" / "tasks" / file
    path.write_text(path.read_text() + "\n")
    assert [one != other for one, other in zip(fingerprints(), before, strict=True)] == [True, True, False]


def test_changed_c_changes_the_keys_of_what_it_computes(package):
    before = fingerprints()
    path = package / "evaluation" / "few_tokens.c"
    path.write_text(path.read_text() + "\n")
    assert [one != other for one, other in zip(fingerprints(), before, strict=True)] == [True, True, False]


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A copy of the package, of which keys are taken to be."""
    copy = tmp_path / "glu_prune"
    shutil.copytree(code._PACKAGE, copy, ignore=shutil.ignore_patterns("embedded", "__pycache__"))
    monkeypatch.setattr(code, "_PACKAGE", copy)
    yield copy
    code.code_fingerprint.cache_clear()
    code._code.cache_clear()


def fingerprints() -> list[str]:
    """Of the code behind scores, their costs, and measurements, as it is now."""
    code.code_fingerprint.cache_clear()
    code._code.cache_clear()
    return [code.code_fingerprint(roots) for roots in (code.SCORING, code.METERING, code.MEASURING)]


def test_code_that_only_type_checkers_import_is_not_reached():
    assert "glu_prune.efficiency.meter" not in code.reached(code.SCORING)
    assert "glu_prune.evaluation.scorer" in code.reached(code.SCORING), "though it is imported in a function"
    assert not any(name.startswith("glu_prune.judgement") for name in code.reached((*code.METERING, *code.MEASURING)))
