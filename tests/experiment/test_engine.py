"""The engine with a meter that fails: scores are kept, and nothing is made up."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from glu_prune.efficiency.measure import Effort
from glu_prune.efficiency.meter import NoMeter, ReplayMeter
from glu_prune.efficiency.workload import drawn
from glu_prune.errors import MeterError, NotMeasuredError, WorkloadError
from glu_prune.experiment.cell import DENSE, Cell, SeriesCell, Settings
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.store import Store
from glu_prune.zoo.source import locate
from tests.efficiency.made import NO_METER
from tests.efficiency.recordings import raw

CELL = Cell(locate("tiny-base"), DENSE, "tiny_stories", None, (), Settings())
FAILS = raw(flaws=("the energy counter of GPU 0 went backwards",))


def engine(folder: Path, meter, said: list[str] | None = None) -> Engine:
    return Engine(Store(folder), meter, (said if said is not None else []).append)


def test_a_meter_that_fails_at_the_end_costs_no_scores(tmp_path):
    """The evaluation is done by then; its cost has no energy, and says why."""
    found = engine(tmp_path, ReplayMeter([FAILS])).record(CELL)
    assert found.cost.energy == {}
    assert found.cost.note.startswith(
        "not measured: the energy of this window is not known: the energy counter of GPU 0"
    )
    assert found.cost.seconds > 0
    assert found.cost.positions > 0
    said: list[str] = []
    again = engine(tmp_path, NoMeter("none"), said).record(CELL)
    assert (again, said) == (found, [])


def test_a_meter_that_does_not_start_costs_no_scores_either(tmp_path):
    found = engine(tmp_path, ReplayMeter([])).record(CELL)
    assert found.cost.energy == {}
    assert found.cost.note.startswith("not measured: the recording ends after 0 windows")
    assert found.cost.seconds > 0


def test_costs_are_not_measured_without_a_meter(tmp_path):
    said: list[str] = []
    series = SeriesCell(CELL.source, (DENSE,), drawn(8, 4, 1), Settings(), Effort())
    with pytest.raises(NotMeasuredError, match="because"):
        engine(tmp_path, NoMeter("because"), said).series(series)
    assert said == []


def test_a_model_that_cannot_generate_is_one_line_with_what_helps(tmp_path, monkeypatch):
    def out_of_memory(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    series = SeriesCell(CELL.source, (DENSE,), drawn(8, 4, 1), Settings(), Effort(rounds=2, processes=0))
    monkeypatch.setattr(LlamaForCausalLM, "generate", out_of_memory)
    with pytest.raises(
        WorkloadError, match=r"^tiny-base dense p8_n4_b1: CUDA out of memory.*GiB\.; if memory ran out: "
    ):
        engine(tmp_path, ReplayMeter([raw(methods=NO_METER)])).series(series)


def test_a_counter_that_fails_ends_a_measurement_of_costs(tmp_path):
    series = SeriesCell(CELL.source, (DENSE,), drawn(8, 4, 1), Settings(), Effort(rounds=2, seconds=0.1, processes=0))
    with pytest.raises(MeterError, match="energy counter of GPU 0 went backwards"):
        engine(tmp_path, ReplayMeter([raw(methods=NO_METER), FAILS])).series(series)
    assert not Store(tmp_path).path(series.key).exists()
