"""Cells that are run elsewhere: JSON goes there, bytes come back, and records are as if they had been run here."""

import json
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.meter import NoMeter
from glu_prune.efficiency.workload import drawn
from glu_prune.errors import EvaluationError, GluPruneError
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE, Arm, Cell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.executors.local import LocalExecutor
from glu_prune.experiment.jobs import Job, job, jobs
from glu_prune.experiment.store import Store
from glu_prune.models.source import locate

CELL = Cell(locate("tiny-base"), DENSE, "tiny_recall_mc", None, ("band",), Settings(), Subset(0, 8))
HALF, QUARTER = (replace(CELL, arm=Arm("ppm", Decimal(ratio))) for ratio in ("0.5", "0.25"))
RANDOM = replace(CELL, arm=Arm("random", Decimal("0.5")))
FLOORS = FloorCell("tiny_recall_mc", None, chat=CELL.source)
SERIES = SeriesCell(CELL.source, (DENSE, HALF.arm), drawn(8, 4, 1), Settings(attention="eager"), Effort(seconds=0.5))


def run(folder: Path, text: str) -> tuple[bytes, ...]:
    """A job, as another process runs it."""
    return LocalExecutor(folder, NoMeter("elsewhere"), lambda _: None).submit(text).result()


@pytest.fixture(scope="module")
def local(tmp_path_factory) -> LocalExecutor:
    """Shared by this module, so that each arm is loaded once."""
    return LocalExecutor(tmp_path_factory.mktemp("scratch"), NoMeter("elsewhere"), lambda _: None)


class Elsewhere:
    """A process that shares nothing with this one but its files."""

    ahead = True

    def __init__(self, folder: Path) -> None:
        self.jobs: list[str] = []
        self._folder = folder
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))

    def submit(self, text: str, arrived=None) -> Future[tuple[bytes, ...]]:
        self.jobs.append(text)
        return self._pool.submit(run, self._folder, text)

    def shutdown(self) -> None:
        self._pool.shutdown()


@pytest.mark.slow("imports all libraries in a process of its own")
def test_cells_run_in_another_process_leave_the_same_records(tmp_path, local):
    cells = [HALF, CELL, QUARTER]
    executor = Elsewhere(tmp_path / "scratch")
    there = Engine(Store(tmp_path / "there"), executor, pytest.fail)
    here = Engine(Store(tmp_path / "here"), local, lambda _: None)
    there.submit([*cells, FloorCell("tiny_recall_mc", None)])
    assert len(executor.jobs) == 2
    plain = {"created": True}
    for cell in cells:
        assert there.record(cell).model_dump(exclude=plain) == here.record(cell).model_dump(exclude=plain)
        assert there.cost(cell).cost.note == "elsewhere"
    floor = FloorCell("tiny_recall_mc", None)
    assert there.floors(floor).nulls == here.floors(floor).nulls
    assert len(executor.jobs) == 2, "what was submitted is not submitted again"
    there.submit(cells)
    assert len(executor.jobs) == 2, "nor what the store has"
    executor.shutdown()
    assert {path.name for path in (tmp_path / "there/cells").iterdir()} == {path.name for path in (tmp_path / "here/cells").iterdir()}  # fmt: skip


class Done:
    """An executor that has run a job as soon as it is submitted, in this process."""

    ahead = True

    def __init__(self, run_job) -> None:
        self.jobs: list[Job] = []
        self._run = run_job

    def submit(self, text: str, arrived=None) -> Future[tuple[bytes, ...]]:
        self.jobs.append(Job.from_json(text))
        future: Future[tuple[bytes, ...]] = Future()
        try:
            future.set_result(self._run(text))
        except GluPruneError as error:
            future.set_exception(error)
        return future

    def shutdown(self) -> None:
        pass


def test_what_fails_in_a_job_of_several_fails_alone(tmp_path, local):
    def one_breaks(text: str) -> tuple[bytes, ...]:
        if any(cell == HALF for cell in Job.from_json(text).cells):
            raise EvaluationError("this one is broken")
        return local.submit(text).result()

    executor = Done(one_breaks)
    engine = Engine(Store(tmp_path), executor, lambda _: None)
    engine.submit([CELL, HALF])
    assert engine.record(CELL).key == CELL.key
    with pytest.raises(EvaluationError, match="this one is broken"):
        engine.record(HALF)
    assert [each.cells for each in executor.jobs] == [(CELL, HALF), (CELL,), (HALF,)]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda text: (), "tiny-base dense tiny_recall_mc 0-8: the record that came is of another cell"),
        (lambda text: (b"{}\n{}\n",), "what came for tiny-base dense tiny_recall_mc 0-8: it holds a None, which is no"),
        (
            lambda text: (b"PAR1 broken",),
            "what came for tiny-base dense tiny_recall_mc 0-8: it is no record in Parquet",
        ),
    ],
)
def test_what_comes_must_be_what_was_asked_for(tmp_path, change, complaint):
    engine = Engine(Store(tmp_path), Done(change), lambda _: None)
    with pytest.raises(GluPruneError, match=complaint):
        engine.record(CELL)
    assert not Store(tmp_path).path(CELL.key).exists()


def test_records_of_other_code_are_not_taken(tmp_path, local):
    """A machine that has other weights, libraries or code computes another key."""

    def elsewhere(text: str) -> tuple[bytes, ...]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("glu_prune.experiment.keys.code_fingerprint", lambda _: "other code")
            return local.submit(text).result()

    with pytest.raises(EvaluationError, match="what ran it has other code, libraries or data"):
        Engine(Store(tmp_path), Done(elsewhere), lambda _: None).record(CELL)
    assert not (tmp_path / "cells").exists()


def test_a_local_executor_runs_nothing_ahead(tmp_path, local):
    engine = Engine(Store(tmp_path), local, lambda _: None)
    engine.submit([CELL, HALF, QUARTER])
    assert not (tmp_path / "cells").exists()
    engine.record(HALF)
    assert [path.stem for path in (tmp_path / "cells").glob("*.parquet")] == [HALF.key]


@pytest.mark.parametrize("cell", [CELL, RANDOM, FLOORS, SERIES, replace(CELL, subset=None, folder=Path("own"))])
def test_a_job_is_json_from_which_the_same_cells_come(cell):
    text = job(cell).to_json()
    assert json.loads(text)
    assert Job.from_json(text) == job(cell)
    assert job(cell).answers == (cell,)
    assert [each.key for each in Job.from_json(text).answers] == [cell.key]


def test_jobs_hold_cells_of_one_task_in_the_order_in_which_arms_are_cut():
    other, elsewhere = replace(CELL, task="tiny_reading"), replace(CELL, settings=Settings(batch_size=8))
    found = list(jobs([HALF, RANDOM, QUARTER, other, elsewhere, CELL, HALF, FLOORS, SERIES]))
    assert [each.cells for each in found if each.cells] == [(CELL, QUARTER, HALF, RANDOM), (other,), (elsewhere,)]
    assert [each.answers for each in found if not each.cells] == [(FLOORS,), (SERIES,)]


def test_tasks_that_are_answered_together_are_one_job():
    mc1, mc2 = (Cell(CELL.source, DENSE, task, 0, (), Settings()) for task in ("truthfulqa_mc1", "truthfulqa_mc2"))
    (one,) = jobs([mc2, mc1])
    assert one.cells == (mc2,)
    assert one.answers == (mc1, mc2)
