"""Tasks that ask the same questions: scored in one call, and kept as if each had been asked alone."""

import json
import os
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from glu_prune.efficiency.meter import NoMeter, ReplayMeter, Window
from glu_prune.evaluation import capability, local_data
from glu_prune.evaluation.capability import SCORED_TOGETHER, SUITES, scored_together
from glu_prune.evaluation.evaluate import TASKS, Evaluator, shares
from glu_prune.evaluation.lm import CountingLM
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE, Arm, Cell, Settings
from glu_prune.experiment.cost_record import shared_costs
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.executors.local import local_engine
from glu_prune.experiment.record import Record
from glu_prune.experiment.store import Store
from glu_prune.models.source import load, locate
from tests.helpers.recordings import raw

ROWS = 8
NATS = 1e-3
SOURCE = locate("tiny-base")
REAL = os.environ.get(local_data.VARIABLE)
MC1, MC2 = (
    Cell(SOURCE, Arm("ppm", Decimal("0.25")), task, 0, (), Settings()) for task in ("truthfulqa_mc1", "truthfulqa_mc2")
)


def made() -> list[dict]:
    """The embedded questions about beliefs in the columns of TruthfulQA."""
    rows = []
    for line in islice((TASKS / "data" / "beliefs.jsonl").read_text().splitlines(), ROWS):
        row = json.loads(line)
        one, many = [row["choices"][index] for index in row["mc1"]], row["choices"]
        rows.append(
            {
                "question": row["question"],
                "mc1_targets": {"choices": one, "labels": [1] + [0] * (len(one) - 1)},
                "mc2_targets": {"choices": many, "labels": row["labels"]},
            }
        )
    return rows


def real() -> list[dict]:
    if not REAL:
        pytest.skip(f"{local_data.VARIABLE} names no folder of benchmark data")
    return local_data._rows(Path(REAL) / "truthfulqa" / "validation.jsonl")[:ROWS]


def serve(rows: list[dict], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "truthfulqa").mkdir()
    (folder / "truthfulqa" / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setenv(local_data.VARIABLE, str(folder))


@pytest.fixture
def data(tmp_path, monkeypatch):
    serve(made(), tmp_path, monkeypatch)


@pytest.fixture
def engines(tmp_path):
    """Makes engines, each with a store of its own name."""

    def make(name: str, said: list[str] | None = None, meter=None) -> Engine:
        return local_engine(
            Store(tmp_path / name), meter or NoMeter("no meter"), (said if said is not None else []).append
        )

    return make


def facts(record: Record) -> dict:
    """All but the time at which it was made."""
    return record.model_dump(exclude={"created"})


def cells(cell: Cell) -> tuple[Cell, Cell]:
    return tuple(replace(cell, task=task) for task in (MC1.task, MC2.task))


def test_companions_are_tasks_of_a_suite_in_one_order():
    tasks = [task for each in SCORED_TOGETHER for task in each]
    assert len(tasks) == len(set(tasks))
    assert set(tasks) <= {each.task for suite in SUITES.values() for each in suite.values()}
    assert scored_together(MC1.task) == scored_together(MC2.task) == (MC1.task, MC2.task)
    assert scored_together("piqa") == ("piqa",)


def test_shares_are_whole_and_sum_up():
    assert shares(10, [1, 1, 1]) == [3, 3, 4]
    assert shares(7, [3]) == [7]
    assert shares(None, [1, 2]) == [None, None]
    for total in range(50):
        assert sum(shares(total, [4, 7, 2])) == total


@pytest.mark.parametrize("rows", [made, real])
def test_together_tasks_score_what_each_scores_alone_and_cost_less(rows, tmp_path, monkeypatch):
    serve(rows(), tmp_path, monkeypatch)
    tasks, loaded = (MC1.task, MC2.task), load(SOURCE, "float32", "cpu")
    plain, shared = CountingLM(*loaded, 64), SharedPrefixLM(*loaded, 64)
    together = Evaluator().evaluate_together(shared, tasks, 0)
    total, scored = shared.positions, shared.scored_positions
    alone = {task: Evaluator().evaluate(plain, task, 0) for task in tasks}
    apart = sum(Evaluator().evaluate(shared, task, 0).positions for task in tasks)
    assert list(together) == list(tasks)
    for task, found in together.items():
        assert (found.items, found.documents) == (alone[task].items, alone[task].documents)
        assert found.requests == sum(len(json.loads(output)) for output in found.outputs) == alone[task].requests
        for ours, theirs in zip(found.outputs, alone[task].outputs, strict=True):
            assert json.loads(ours) == pytest.approx(json.loads(theirs), abs=NATS)
        assert found.margins == pytest.approx(alone[task].margins, abs=NATS)
        assert found.metrics["acc"].values == pytest.approx(alone[task].metrics["acc"].values, abs=NATS)
    assert sum(found.positions for found in together.values()) == total < 0.8 * apart
    assert sum(found.scored_positions for found in together.values()) == scored == total


def test_a_group_and_a_task_can_be_scored_together(data):
    """What one of them is aggregated from is not taken for the other's, in parts neither."""
    lm, evaluator = SharedPrefixLM(*load(SOURCE, "float32", "cpu"), 64), Evaluator()
    tasks, part = ("tiny_recall_mc", "tiny_arithmetic"), Subset(3, 8)
    together = evaluator.evaluate_together(lm, tasks, None, part)
    for task in tasks:
        alone = evaluator.evaluate(lm, task, None, part)
        assert (together[task].items, together[task].requests) == (alone.items, alone.requests)
        assert set(together[task].metrics) == set(alone.metrics)
    assert [each.requests for each in together.values()] == [5 * 4, 5]


def test_records_do_not_depend_on_which_was_asked_first(data, engines):
    first, last = (engines(name) for name in ("first", "last"))
    one = [first.record(cell) for cell in (MC1, MC2)]
    other = [last.record(cell) for cell in (MC2, MC1)][::-1]
    assert list(map(facts, one)) == list(map(facts, other))
    assert [record.key for record in one] == [MC1.key, MC2.key]
    assert [record.task for record in one] == [MC1.task, MC2.task]
    assert [len(json.loads(record.outputs[0])) for record in one] == [4, 6]
    assert [first.cost(record).cost.note for record in one] == [
        f"no meter; scored together with {task}: its share by requests" for task in (MC2.task, MC1.task)
    ]


def test_the_companion_is_not_computed_again_and_one_lock_is_for_both(data, engines, monkeypatch):
    """Two locks, taken in different orders by two processes, would wait for each other."""
    calls, locked, said = [], [], []
    score, lock = SharedPrefixLM.loglikelihood, Store.lock

    def counted(lm, requests, **settings):
        calls.append(len(requests))
        return score(lm, requests, **settings)

    @contextmanager
    def noted(store, key, waiting):
        locked.append(key)
        with lock(store, key, waiting):
            yield

    monkeypatch.setattr(SharedPrefixLM, "loglikelihood", counted)
    monkeypatch.setattr(Store, "lock", noted)
    engine = engines("one", said)
    found = [engine.record(cell) for cell in (MC2, MC1)]
    assert calls == [ROWS * (4 + 6)]
    assert locked == [min(MC1.key, MC2.key)]
    assert sum("items in" in line for line in said) == 1
    assert said[-1].endswith(f" s, with {MC1.task}")
    again: list[str] = []
    assert ([engines("one", again).record(cell) for cell in (MC2, MC1)], again) == (found, [])


def test_a_record_that_is_there_is_not_overwritten_nor_its_companion_changed_by_it(data, engines):
    engine = engines("one")
    kept = engine.record(MC1)
    whole = engine.record(MC2)
    path = engine.store.path(MC1.key)
    before = path.read_bytes()
    engine.store.path(MC2.key).unlink()
    found = engines("one").record(MC2)
    assert path.read_bytes() == before
    assert facts(found) == facts(whole)
    assert engines("one").record(MC1) == kept


def test_a_companion_that_cannot_be_trusted_is_set_aside_and_replaced(data, engines):
    engine, said = engines("one"), []
    whole = [engine.record(cell) for cell in (MC1, MC2)]
    path = engine.store.path(MC2.key)
    engine.store.path(MC1.key).unlink()
    path.write_text("broken")
    again = engines("one", said)
    assert [facts(again.record(cell)) for cell in (MC1, MC2)] == list(map(facts, whole))
    aside = engine.store.folder / "corrupt" / f"{MC2.key}.parquet.1"
    assert aside.read_text() == "broken"
    assert sum(f"record is corrupt: {path}: " in line and str(aside) in line for line in said) == 1


def test_costs_add_up_to_what_was_measured(data, engines):
    engine = engines("one", meter=ReplayMeter([raw()]))
    found = [engine.cost(engine.record(cell)).cost for cell in (MC2, MC1)]
    assert [cost.seconds for cost in found] == pytest.approx([6.0, 4.0])
    for channel, joules in (("cpu", 36.0), ("ram", 72.0)):
        assert [cost.energy[channel].joules for cost in found] == pytest.approx([0.6 * joules, 0.4 * joules])
    assert {cost.energy["cpu"].method for cost in found} == {"rapl"}
    assert [cost.note for cost in found] == [
        f"scored together with {task}: its share by requests" for task in (MC1.task, MC2.task)
    ]


def test_a_task_scored_alone_bears_the_whole_cost(data):
    with NoMeter("none").window() as window:
        result = Evaluator().evaluate(CountingLM(*load(SOURCE, "float32", "cpu"), 64), MC1.task, 0)
    cost = shared_costs(window, {MC1.task: result})[MC1.task]
    assert (cost.seconds, cost.note) == (window.seconds, "none")
    assert isinstance(window, Window)


def test_parts_are_scored_alone(data, engines):
    engine = engines("one")
    record = engine.record(replace(MC2, subset=Subset(0, 4)))
    assert len(record.items) == 4
    assert engine.cost(record).cost.note == "no meter"
    assert [path.stem for path in (engine.store.folder / "cells").glob("*.parquet")] == [record.key]


def test_backends_are_given_both(data, engines):
    """They do not tell what they computed."""
    ours, engine = engines("ours"), engines("one")
    pair = cells(replace(MC1, arm=DENSE, settings=Settings(backend="hf")))
    theirs = [engine.record(cell) for cell in pair]
    for record, cell in zip(theirs, cells(replace(MC1, arm=DENSE)), strict=True):
        assert record.positions is None
        assert "scored together with" in engine.cost(record).cost.note
        assert record.margins == pytest.approx(ours.record(cell).margins, abs=NATS)


@pytest.mark.slow("answers two tasks")
def test_whatever_is_declared_to_be_scored_together_is(engines, monkeypatch):
    """Embedded tasks, which no cell would need together: written answers beside choices."""
    monkeypatch.setattr(capability, "SCORED_TOGETHER", (("tiny_recall_mc", "tiny_arithmetic"),))
    engine = engines("one")
    read = Cell(SOURCE, DENSE, "tiny_arithmetic", None, (), Settings())
    first = engine.record(read)
    chosen = Store(engine.store.folder).get(replace(read, task="tiny_recall_mc").key, Record)
    monkeypatch.setattr(capability, "SCORED_TOGETHER", ())
    other = engines("alone")
    alone = other.record(replace(read))
    assert (first.outputs, first.lengths, first.flaws) == (alone.outputs, alone.lengths, alone.flaws)
    assert (len(chosen.items), len(chosen.margins), chosen.lengths) == (480, 480, ())
    assert other.cost(alone).cost.note == "no meter"
