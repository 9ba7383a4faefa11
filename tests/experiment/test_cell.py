from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from glu_prune.experiment import cell as module
from glu_prune.experiment.cell import DENSE, Arm, Cell, FloorCell, Settings
from glu_prune.zoo.source import ModelSource, locate

CELL = Cell(locate("tiny-base"), Arm("ppm", Decimal("0.5")), "tiny_recall", None, ("band",), Settings())


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
    ],
)
def test_everything_that_changes_the_answer_changes_the_key(other):
    assert other.key != CELL.key


def test_the_same_cell_has_the_same_key():
    assert replace(CELL, arm=Arm("ppm", Decimal("0.50"))).key == CELL.key


def test_one_changed_weight_changes_the_key(tmp_path: Path):
    import shutil

    for name in ("same", "changed"):
        shutil.copytree(CELL.source.folder, tmp_path / name)
    weights = tmp_path / "changed" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    same, changed = (replace(CELL, source=ModelSource("m", tmp_path / name)) for name in ("same", "changed"))
    assert same.key == CELL.key != changed.key


def test_changed_code_changes_the_key(monkeypatch):
    monkeypatch.setattr(module, "code_fingerprint", lambda: "other code")
    assert replace(CELL).key != CELL.key


@pytest.mark.parametrize("cell", [replace(CELL, task="piqa"), FloorCell("piqa", None)])
def test_other_data_changes_the_key(tmp_path, monkeypatch, cell):
    keys = [replace(cell).key]
    monkeypatch.setenv("GLU_PRUNE_DATA", str(tmp_path))
    (tmp_path / "piqa").mkdir()
    for text in ("{}", "{} "):
        (tmp_path / "piqa" / "validation.jsonl").write_text(text)
        keys.append(replace(cell).key)
    assert len(set(keys)) == 3


def test_floors_belong_to_a_task_and_its_prompts():
    keys = {FloorCell("tiny_recall", None).key, FloorCell("tiny_recall", 5).key, FloorCell("tiny_reading", None).key}
    assert len(keys) == 3
    assert CELL.key not in keys
