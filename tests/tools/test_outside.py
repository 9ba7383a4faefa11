import json
import random

import pytest

from glu_prune.efficiency.meter import NoMeter
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE, Cell, Settings
from glu_prune.experiment.executors.local import local_engine
from glu_prune.experiment.store import Store
from glu_prune.models.source import load, locate
from perf.sweep_items import BENCHMARKS
from tools.outside import agreement, answers

MODEL = "tiny-base"
WORDS = "parrot lamp river stone music garden window letter yellow mouse".split()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Forty questions of PIQA's form."""
    folder, draw = tmp_path_factory.mktemp("data"), random.Random(0)
    (folder / "piqa").mkdir()
    lines = [
        {"goal": " ".join(draw.sample(WORDS, 3)), "sol1": draw.choice(WORDS), "sol2": " ".join(draw.sample(WORDS, 2)), "label": draw.randrange(2)}
        for _ in range(40)
    ]  # fmt: skip
    (folder / "piqa" / "validation.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


@pytest.mark.parametrize("part", [pytest.param("", marks=pytest.mark.slow("as below, of all items")), "0-16"])
def test_a_record_agrees_with_lm_eval_item_by_item(tmp_path, data, monkeypatch, part):
    monkeypatch.setenv("GLU_PRUNE_DATA", str(data))
    subset = Subset(*map(int, part.split("-"))) if part else None
    engine = local_engine(Store(tmp_path), NoMeter("none"), str)
    record = engine.record(Cell(locate(MODEL), DENSE, "piqa", 0, (), Settings(), subset))
    (piqa,) = (each for each in BENCHMARKS if each.name == "piqa")
    samples = answers(*load(locate(MODEL), "float32", "cpu"), piqa, data, part)
    found = agreement(record, samples)
    count = 16 if part else 40
    assert (found["items"], found["equal choices"]) == (count, count)
    assert found["items scored otherwise"] == {"acc": 0, "acc_norm": 0}
    assert found["scores"]["acc"]["pack"] == pytest.approx(found["scores"]["acc"]["lm-eval"])
    other = next(item for item in record.items if samples[item]["acc"] == 1)
    swapped = {**samples[other], "filtered_resps": samples[other]["filtered_resps"][::-1], "acc": 0.0}
    worse = agreement(record, {**samples, other: swapped})
    assert (worse["equal choices"], worse["items scored otherwise"]["acc"]) == (count - 1, 1)
