"""The engine: what arms share and what they do not, and what it does when memory or a meter fails."""

import errno
import os
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from threading import Thread

import psutil
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.meter import NoMeter, ReplayMeter
from glu_prune.efficiency.workload import drawn
from glu_prune.errors import EvaluationError, MeterError, NotMeasuredError, StoreError, WorkloadError
from glu_prune.evaluation import evaluate, once
from glu_prune.evaluation.decoding import Decoder
from glu_prune.evaluation.drafts import Drafts
from glu_prune.evaluation.lm import CountingLM
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE, Arm, Cell, FloorCell, SeriesCell, Settings
from glu_prune.experiment.cost_record import SeriesRecord
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.executors import local as module
from glu_prune.experiment.executors.local import local_engine
from glu_prune.experiment.locks import held
from glu_prune.experiment.record import Record
from glu_prune.experiment.store import Store
from glu_prune.models.source import load_tokenizer, locate
from tests.helpers.cost_series import NO_METER
from tests.helpers.processes import busy_process
from tests.helpers.recordings import raw
from tests.helpers.records import FLOORS, record

WHOLE = Cell(locate("tiny-base"), DENSE, "tiny_stories", None, (), Settings())
CELL = replace(WHOLE, subset=Subset(0, 48))
FAILS = raw(flaws=("the energy counter of GPU 0 went backwards",))


def engine(folder: Path, meter, said: list[str] | None = None) -> Engine:
    return local_engine(Store(folder), meter, (said if said is not None else []).append)


def test_a_meter_that_fails_at_the_end_costs_no_scores(tmp_path):
    """The evaluation is done by then; its cost has no energy, and says why."""
    first = engine(tmp_path, ReplayMeter([FAILS]))
    found, cost = first.record(CELL), first.cost(CELL).cost
    assert cost.energy == {}
    assert cost.note.startswith("not measured: the energy of this window is not known: the energy counter of GPU 0")
    assert cost.seconds > 0
    assert found.positions > 0
    said: list[str] = []
    again = engine(tmp_path, NoMeter("none"), said).record(CELL)
    assert (again, said) == (found, [])


def test_a_meter_that_does_not_start_costs_no_scores_either(tmp_path):
    runs = engine(tmp_path, ReplayMeter([]))
    cost = runs.cost(runs.record(CELL)).cost
    assert cost.energy == {}
    assert cost.note.startswith("not measured: the recording ends after 0 windows")
    assert cost.seconds > 0


@pytest.mark.parametrize("task", ["tiny_recall_mc", "tiny_stories", "tiny_instructions"])
def test_no_arm_pays_for_what_is_done_once_or_is_no_work_of_the_model(tmp_path, monkeypatch, task):
    """The dense arm comes first: what is done for all, charged to it, would look like a saving by pruning."""
    inside, seen = [False], Counter()

    class Watch(NoMeter):
        @contextmanager
        def window(self):
            with super().window() as window:
                inside[0] = True
                yield window
                inside[0] = False

    def watch(where, name):
        stock = getattr(where, name)

        def watched(*arguments, **settings):
            seen[name, inside[0]] += 1
            return stock(*arguments, **settings)

        monkeypatch.setattr(where, name, watched)

    watch(SharedPrefixLM, "_difference")
    watch(SharedPrefixLM, "windows" if task == "tiny_stories" else "pairs")
    watch(SharedPrefixLM, "_plan")
    watch(once, "_fresh")
    watch(evaluate, "samples_of")
    watch(SharedPrefixLM, "_scores")
    watch(Decoder, "run")
    arms = (DENSE, Arm("ppm", Decimal("0.5")))
    runs = engine(tmp_path, Watch("none"))
    records = [runs.record(replace(CELL, task=task, arm=arm, subset=Subset(0, 8))) for arm in arms]
    answered = {("run", True)} if task == "tiny_instructions" else {("_plan", False), ("_scores", True)}
    assert {("_difference", False), ("_fresh", False), ("samples_of", False)} | answered <= set(seen)
    assert {name for name, within in seen if within} <= {"run", "_scores"}
    assert all(runs.cost(record).cost.seconds > 0 for record in records)


def test_a_record_says_that_another_process_worked_beside(tmp_path):
    """It has one processor, or its share of one, while the model answers."""
    cell = replace(CELL, subset=Subset(0, 128))
    with busy_process():
        runs = engine(tmp_path, NoMeter("none"))
        runs.record(cell)
    assert runs.cost(cell).cost.other_load > 0.2 / psutil.cpu_count()


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
    assert not Store(tmp_path).path(series.key, SeriesRecord).exists()


def test_costs_are_measured_by_one_process_at_a_time(tmp_path, monkeypatch):
    """In different stores, too: what another one measures would be in these figures."""
    series = SeriesCell(CELL.source, (DENSE,), drawn(8, 4, 1), Settings(), Effort(rounds=2, seconds=0.1, processes=0))
    said: list[str] = []
    busy = tmp_path / "measuring.lock"
    monkeypatch.setattr(module, "_MEASURING", busy)
    with held(busy, pytest.fail):
        measuring = engine(tmp_path / "store", ReplayMeter([raw(methods=NO_METER)] * 40), said)
        worker = Thread(target=lambda: measuring.series(series))
        worker.start()
        while len(said) < 2 and worker.is_alive():
            time.sleep(0.01)
        assert said[1] == f"{series}: waiting for another, which holds {busy}"
        assert not measuring.store.path(series.key, SeriesRecord).exists()
    worker.join()
    assert measuring.store.path(series.key, SeriesRecord).exists()


def test_records_say_how_answers_were_found(tmp_path):
    found = engine(tmp_path, NoMeter("none")).record(CELL)
    assert found.settings["scoring"] == "shared prefixes"
    assert found.settings["batch_size"] == 64
    written = engine(tmp_path, NoMeter("none")).record(replace(CELL, task="tiny_arithmetic"))
    assert written.settings["generation"] == "batched"
    assert "scoring" not in written.settings


@pytest.mark.parametrize("task", ["tiny_recall_mc", "tiny_instructions"])
def test_arms_share_requests_and_plans_and_never_answers(tmp_path, task):
    """Each arm, asked after others, answers as it does when it is asked alone."""
    ppm, control = (Arm(criterion, Decimal("0.5")) for criterion in ("ppm", "random"))
    cells = [replace(CELL, arm=arm, task=task, subset=Subset(0, 16)) for arm in (DENSE, ppm, control)]
    together = engine(tmp_path / "together", NoMeter("none"))
    found = [together.record(cell) for cell in cells]
    alone = [engine(tmp_path / f"alone {cell.arm.label}", NoMeter("none")).record(cell) for cell in cells[1:]]
    assert [record.outputs for record in alone] == [record.outputs for record in found[1:]]
    assert [record.metrics for record in alone] == [record.metrics for record in found[1:]]
    assert len({record.outputs for record in found}) == len(cells)


def test_what_does_not_fit_into_memory_is_tried_in_smaller_batches(tmp_path, monkeypatch):
    """Found once: the next arm begins with what fits."""
    tried, said = [], []
    generate = CountingLM.generate_until

    def little_memory(lm, requests, **settings):
        tried.append(lm.batch_size)
        if lm.batch_size > 16:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return generate(lm, requests, **settings)

    monkeypatch.setattr(SharedPrefixLM, "generate_until", little_memory)
    runs = engine(tmp_path, NoMeter("none"), said)
    cell = replace(CELL, task="tiny_instructions", subset=Subset(0, 16))
    records = [runs.record(replace(cell, arm=arm)) for arm in (DENSE, Arm("ppm", Decimal("0.5")))]
    assert tried == [64, 32, 16, 16]
    assert [record.settings["batch_size"] for record in records] == [16, 16]
    assert "tiny-base dense tiny_instructions 0-16: out of memory in batches of 64, again in batches of 32" in said


def test_a_cell_of_texts_that_was_stopped_goes_on_where_it_was(tmp_path, monkeypatch):
    """The same record comes of it; what it cost is not said, as nobody knows what the stopped run spent."""
    cell = replace(CELL, task="tiny_instructions", subset=Subset(0, 16))
    whole = engine(tmp_path / "whole", NoMeter("none")).record(cell)
    tell = Drafts.keep

    def stop(drafts, row):
        tell(drafts, row)
        if Store(tmp_path / "stopped").draft(cell.key).read_text().count("\n") > 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(Drafts, "keep", stop)
    with pytest.raises(KeyboardInterrupt):
        engine(tmp_path / "stopped", NoMeter("none")).record(cell)
    monkeypatch.undo()
    (draft,) = (tmp_path / "stopped" / "drafts").iterdir()
    assert draft == Store(tmp_path / "stopped").draft(cell.key)
    said: list[str] = []
    again = engine(tmp_path / "stopped", NoMeter("none"), said)
    found = again.record(cell)
    assert (found.items, found.outputs, found.metrics) == (whole.items, whole.outputs, whole.metrics)
    assert again.cost(cell) is None
    assert any("goes on after" in line and "texts that a stopped run has written" in line for line in said)
    assert not draft.exists()


def test_what_fits_in_no_batch_is_one_line(tmp_path, monkeypatch):
    def no_memory(*_: object, **__: object) -> None:
        raise RuntimeError(
            "[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes\nmore"
        )

    monkeypatch.setattr(SharedPrefixLM, "generate_until", no_memory)
    with pytest.raises(EvaluationError, match=r"^tiny-base dense tiny_instructions 0-48: .*can't allocate.*9 bytes$"):
        engine(tmp_path, NoMeter("none")).record(replace(CELL, task="tiny_instructions"))


def test_a_model_that_cannot_share_prefixes_is_scored_the_plain_way_in_all_its_arms(tmp_path):
    config = LlamaConfig.from_pretrained(CELL.source.folder)
    config.rope_parameters = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    model = LlamaForCausalLM.from_pretrained(CELL.source.folder, config=config)
    folder = tmp_path / "dynamic"
    model.save_pretrained(folder)
    load_tokenizer(CELL.source).save_pretrained(folder)
    runs = engine(tmp_path / "store", NoMeter("none"))
    for arm in (DENSE, Arm("ppm", Decimal("0.5"))):
        record = runs.record(replace(CELL, source=locate(str(folder)), arm=arm))
        assert record.settings["scoring"] == "plain: dynamic RoPE"


def test_a_part_is_never_served_for_the_whole_nor_the_whole_for_a_part(tmp_path):
    first = engine(tmp_path, NoMeter("none"))
    part = replace(CELL, subset=Subset(0, 64))
    some = first.record(part)
    every = first.record(WHOLE)
    assert (len(some.items), len(every.items)) == (64, 400)
    assert set(some.items) < set(every.items)
    assert (some.settings["part"], "part" in every.settings) == ("0-64", False)
    again = engine(tmp_path, NoMeter("none"))
    assert (again.record(WHOLE), again.record(part)) == (every, some)


def test_a_store_that_cannot_be_written_serves_what_it_has(tmp_path, monkeypatch):
    """One that is mounted read-only, as the system says it; a cell that it lacks is one line."""
    kept = engine(tmp_path, NoMeter("none")).record(CELL)

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "mkdir", refuse)
    assert engine(tmp_path, NoMeter("none")).record(CELL) == kept
    missing = replace(CELL, task="tiny_recall")
    with pytest.raises(StoreError, match=r"^tiny-base dense tiny_recall 0-48 is not in the store, and the store \S+ cannot be written: \[Errno 30\] [^\n]*; choose another with --glu-store DIR$"):  # fmt: skip
        engine(tmp_path, NoMeter("none")).record(missing)


def test_whoever_waits_says_for_what(tmp_path):
    said: list[str] = []
    cell = replace(CELL, task="tiny_recall_mc", subset=Subset(0, 4))
    with Store(tmp_path).lock(cell.key):
        worker = Thread(target=lambda: engine(tmp_path, NoMeter("none"), said).record(cell))
        worker.start()
        while not said:
            time.sleep(0.01)
        assert said == [f"{cell}: waiting for another process, which holds {tmp_path / 'locks' / cell.key}"]
    worker.join()
    assert Store(tmp_path).get(cell.key, Record) is not None


OTHER_ARM = replace(CELL, arm=Arm("ppm", Decimal("0.5")))
FLOOR = FloorCell("tiny_stories", None)


@pytest.mark.parametrize(("first", "then"), [(CELL, OTHER_ARM), (FLOOR, WHOLE), (WHOLE, FLOOR)])
def test_records_of_other_items_of_one_task_are_noticed(tmp_path, first, then):
    """A data set of the hub may have been updated between two sessions: no key says so."""
    store = Store(tmp_path)
    times = {first: "2026-01-01T00:00:00+00:00", then: "2026-02-01T00:00:00+00:00"}

    def put(cell, items):
        made = FLOORS if cell is FLOOR else record()
        store.put(made.model_copy(update={"key": cell.key, "items": items, "created": times[cell]}))

    def ask(one: Engine, cell):
        return one.floors(cell) if cell is FLOOR else one.record(cell)

    put(first, ("a", "b"))
    put(then, ("a", "b"))
    same = engine(tmp_path, NoMeter("none"))
    assert ask(same, first).items == ask(same, then).items
    put(then, ("a", "c"))
    other = engine(tmp_path, NoMeter("none"))
    ask(other, first)
    with pytest.raises(EvaluationError, match=f"its data have changed: .*remove .*{first.key}"):
        ask(other, then)


def test_other_questions_have_other_items(tmp_path):
    store, part = Store(tmp_path), replace(CELL, subset=Subset(48, 96))
    for cell, items in ((CELL, ("a", "b")), (part, ("c", "d"))):
        store.put(record(cell.key, items=items))
    one = engine(tmp_path, NoMeter("none"))
    assert one.record(CELL).items != one.record(part).items
