"""Cells of distances: run by the engine once, kept as other cells are, and refused where they cannot be had."""

from dataclasses import fields, replace
from decimal import Decimal
from pathlib import Path

import pytest
import torch

from glu_prune.efficiency.meter import NoMeter
from glu_prune.errors import NotMeasuredError
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE, Arm, Cell, DistanceCell, Settings
from glu_prune.experiment.distance_record import DistanceRecord
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.executors.arms import Arms
from glu_prune.experiment.executors.local import local_engine
from glu_prune.experiment.jobs import Job, job
from glu_prune.experiment.store import Store
from glu_prune.models.source import ModelSource, locate

SOURCE = locate("tiny-base")
CELL = DistanceCell(SOURCE, Arm("ppm", Decimal("0.3")), "tiny_recall", None, ("band",), Settings(), Subset(0, 8))


def engine(folder: Path, said: list[str] | None = None) -> Engine:
    return local_engine(Store(folder), NoMeter("none"), (said if said is not None else []).append)


def test_a_distance_is_computed_once_and_kept(tmp_path):
    said: list[str] = []
    found = engine(tmp_path, said).distance(CELL)
    assert said[-1].startswith("tiny-base ppm-0.3 from dense, tiny_recall 0-8: 8 items in ")
    assert (found.key, found.model, found.arm, found.task) == (CELL.key, "tiny-base", "ppm-0.3", "tiny_recall")
    assert min(found.divergences) > 0
    assert len(found.fields["band"]) == 8
    assert found.settings["part"] == "0-8"
    said.clear()
    assert (engine(tmp_path, said).distance(CELL), said) == (found, [])


def test_a_damaged_record_is_set_aside_and_computed_again(tmp_path):
    found = engine(tmp_path).distance(CELL)
    path = Store(tmp_path).path(CELL.key, DistanceRecord)
    path.write_bytes(path.read_bytes()[:-40])
    said: list[str] = []
    again = engine(tmp_path, said).distance(CELL)
    assert again.divergences == found.divergences
    assert any("computed again, as its record is corrupt" in line for line in said)


@pytest.mark.parametrize("arm", [DENSE, Arm("ppm", Decimal("0.001")), Arm("random", Decimal("0.001"), 3)])
def test_where_nothing_is_cut_the_distance_is_0(tmp_path, arm):
    assert set(engine(tmp_path).distance(replace(CELL, arm=arm)).divergences) == {0.0}


def test_a_checkpoint_is_as_far_as_the_cut_that_it_is(tmp_path):
    """Whoever wrote it; and the two are not apart, in whichever order."""
    folder = tmp_path / "cut"
    Arms(SOURCE, Settings()).copy(CELL.arm).save_pretrained(folder)
    checkpoint = Arm(checkpoint="./cut", source=ModelSource("./cut", folder))
    runs = engine(tmp_path / "store")
    far = runs.distance(replace(CELL, arm=checkpoint))
    assert far.divergences == runs.distance(CELL).divergences
    assert far.arm == f"checkpoint {checkpoint.source.fingerprint[:8]}"
    for one, other in ((checkpoint, CELL.arm), (CELL.arm, checkpoint)):
        assert set(runs.distance(replace(CELL, reference=one, arm=other)).divergences) == {0.0}
    back = runs.distance(replace(CELL, reference=checkpoint, arm=DENSE))
    assert back.divergences != far.divergences  # of which of the two is the truth, much depends
    assert min(back.divergences) > 0
    assert replace(CELL, arm=replace(checkpoint, checkpoint="elsewhere")).key == far.key


def test_scores_are_the_same_beside_it(tmp_path):
    """Both models stay as they are, and so does what they answer."""
    cells = [Cell(SOURCE, arm, "tiny_recall", None, ("band",), Settings(), Subset(0, 8)) for arm in (DENSE, CELL.arm)]
    alone = [engine(tmp_path / "alone").record(cell) for cell in cells]
    runs = engine(tmp_path / "beside")
    distance = runs.distance(CELL)
    beside = [runs.record(cell) for cell in cells]
    assert [each.outputs for each in beside] == [each.outputs for each in alone]
    assert {each.items for each in beside} == {distance.items}


@pytest.mark.parametrize(
    "other",
    [
        {"arm": Arm("ppm", Decimal("0.2"))},
        {"arm": Arm("random", Decimal("0.3"))},
        {"task": "tiny_reading"},
        {"num_fewshot": 1},
        {"fields": ()},
        {"subset": None},
        {"settings": Settings(batch_size=8)},
    ],
)
def test_everything_that_changes_the_answer_changes_the_key(other):
    assert replace(CELL, **other).key != CELL.key


def test_scores_of_the_same_have_another_key():
    assert Cell(**{each.name: getattr(CELL, each.name) for each in fields(Cell)}).key != CELL.key


def test_a_job_travels_as_json():
    assert Job.from_json(job(CELL).to_json()) == job(CELL)
    assert job(CELL).answers == (CELL,)


def test_a_backend_cannot_tell(tmp_path):
    with pytest.raises(NotMeasuredError, match="leave out --glu-backend"):
        engine(tmp_path).distance(replace(CELL, settings=Settings(backend="hf")))


def test_where_memory_runs_out_batches_are_half_as_large(tmp_path, monkeypatch):
    stock, sizes = SharedPrefixLM.logits, []

    def scarce(self, made):
        sizes.append(int(self.batch_size))
        if self.batch_size > 16:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return stock(self, made)

    monkeypatch.setattr(SharedPrefixLM, "logits", scarce)
    said: list[str] = []
    assert min(engine(tmp_path, said).distance(CELL).divergences) > 0
    assert list(dict.fromkeys(sizes)) == [64, 32, 16]
    assert sum("out of memory in batches of" in line for line in said) == 2
