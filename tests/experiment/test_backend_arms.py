"""Arms for which one of lm-eval's other models answers, beside the same arms in this process."""

import gc
import json
import re
import shutil
import subprocess
import sys
import weakref
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest
from lm_eval.api.model import LM
from lm_eval.api.registry import model_registry, register_model

from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.meter import NoMeter
from glu_prune.efficiency.workload import drawn
from glu_prune.errors import EvaluationError, NotMeasuredError
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE, Arm, Cell, SeriesCell, Settings
from glu_prune.experiment.engine import Engine
from glu_prune.experiment.executors.backend_arms import BackendArms
from glu_prune.experiment.executors.local import local_engine
from glu_prune.experiment.store import Store
from glu_prune.models.source import ModelSource, locate
from glu_prune.pruning.disk_model import open_disk_model
from glu_prune.pruning.disk_pruning import rank_on_disk, write_pruned
from glu_prune.pruning.target import Target
from tests.helpers.llama2c import write_checkpoint

SOURCE = locate("tiny-base")
HALF = Arm("ppm", Decimal("0.5"))
CELL = Cell(SOURCE, HALF, "tiny_recall_mc", None, ("band",), Settings(backend="hf"))
NATS = 1e-3


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Engine:
    """Shared by this module, so that each arm is loaded once."""
    return local_engine(Store(tmp_path_factory.mktemp("store")), NoMeter("no meter"), lambda _: None)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch):
    """Registers a class with lm-eval as users do; forgotten afterwards."""
    import lm_eval.models  # noqa: F401

    monkeypatch.setattr(model_registry, "_objs", dict(model_registry._objs))
    return register_model


class Oracle(LM):
    """Prefers the choice that comes first (or last) and keeps what it was told to load."""

    loaded: ClassVar[list[tuple[str, set[str], dict]]] = []
    alive: ClassVar[list[weakref.ref]] = []

    def __init__(self, pretrained: str, last: bool = False, dies: bool = False) -> None:
        super().__init__()
        files = {path.name for path in Path(pretrained).iterdir()}
        self.loaded.append((pretrained, files, json.loads((Path(pretrained) / "config.json").read_text())))
        self.alive.append(weakref.ref(self))
        self.itself = self  # as models are that only the garbage collector frees
        self.sign, self.dies = (1 if last else -1), dies

    def loglikelihood(self, requests):
        return [(float(self.sign * request.idx), False) for request in requests]

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError

    def generate_until(self, requests):
        if self.dies:
            raise OSError("the device\nis gone")
        return ["" for _ in requests]


@pytest.fixture
def oracle(register):
    Oracle.loaded.clear()
    Oracle.alive.clear()
    register("oracle")(Oracle)
    return Oracle


def on(task: str, arm: Arm = HALF, backend: str = "hf") -> Cell:
    return replace(CELL, task=task, arm=arm, fields=(), settings=Settings(backend=backend))


def left(folder: Path) -> list[Path]:
    return [path for path in (folder / "checkpoints").rglob("*") if path.is_dir()]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(Subset(0, 24), id="some"),
        pytest.param(None, id="all", marks=pytest.mark.slow("answers every item as slowly as plain lm-eval does")),
    ],
)
@pytest.mark.parametrize("arm", [DENSE, HALF], ids=["dense", "half"])
@pytest.mark.parametrize("task", ["tiny_recall_mc", "tiny_arithmetic", "tiny_stories"])
def test_transformers_loading_the_folder_gives_our_own_records(engine, task, arm, part, no_sockets):
    """Choices, text and perplexities; what is written is a stock checkpoint of the same pruned model."""
    ours, theirs = (engine.record(replace(on(task, arm, backend), subset=part)) for backend in ("", "hf"))
    assert (theirs.items, theirs.lengths, theirs.flaws, theirs.size) == (
        ours.items,
        ours.lengths,
        ours.flaws,
        ours.size,
    )
    if ours.lengths:
        assert theirs.outputs == ours.outputs
    else:
        assert [json.loads(each) for each in theirs.outputs] == [
            pytest.approx(json.loads(each), abs=NATS) for each in ours.outputs
        ]
    assert theirs.margins == pytest.approx(ours.margins, abs=NATS)
    for name, scores in ours.metrics.items():
        assert theirs.metrics[name].values == pytest.approx(scores.values, abs=NATS)
        assert theirs.metrics[name].weights == scores.weights
    assert (theirs.positions, theirs.scored_positions) == (None, None)
    costs = [engine.cost(record).cost for record in (theirs, ours)]
    assert costs[0].seconds > 0
    assert [cost.other_load is None for cost in costs] == [True, False]
    assert (theirs.settings["backend"], ours.settings["backend"]) == ("hf", "")
    assert theirs.key != ours.key


def test_records_of_backends_are_kept(engine):
    cell = replace(on("tiny_recall_mc"), subset=Subset(0, 24))
    before = engine.record(cell)
    said: list[str] = []
    again = local_engine(engine.store, NoMeter(""), said.append)
    assert (again.record(cell), said) == (before, [])


def test_backends_arguments_and_versions_are_part_of_the_key(monkeypatch):
    keys = {on("tiny_recall_mc", backend=text).key for text in ("", "hf", "vllm", "hf,softmax_dtype=float32")}
    monkeypatch.setattr("glu_prune.evaluation.backend.version", lambda package: "99")
    assert len({*keys, on("tiny_recall_mc", backend="vllm").key}) == 5


def test_what_an_argument_names_is_known_by_its_content(tmp_path):
    def key(value: object) -> str:
        return on("tiny_recall_mc", backend=f"hf,peft={value}").key

    first, second, away = tmp_path / "first", tmp_path / "second", tmp_path / "away"
    for folder in (first, second, away):
        folder.mkdir()
        (folder / "adapter.bin").write_bytes(b"1234")
    (first / "linked").symlink_to(away)
    shutil.copytree(away, second / "linked")
    before = key(first)
    assert before == key(second), "where it lies does not count"
    assert key(first / "adapter.bin") == key(second / "adapter.bin") != before
    (away / "adapter.bin").write_bytes(b"1235")
    assert before not in (changed := key(first), key(second / "adapter.bin"))
    (first / "adapter.bin").rename(first / "other.bin")
    assert key(first) not in (before, changed)
    assert key("org/adapter") != key("org/other"), "what is not here is known by its name"
    (second / "linked").chmod(0)
    (second / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(EvaluationError, match=rf"backend 'hf': peft={re.escape(str(second))} cannot be read: "):
        key(second)
    (second / "linked").chmod(0o755)


def test_a_backend_of_ones_own_answers_with_its_arguments(oracle, tmp_path):
    engine = local_engine(Store(tmp_path), NoMeter(""), lambda _: None)
    first, last = (engine.record(on("tiny_recall_mc", backend=text)) for text in ("oracle", "oracle,last=True"))
    assert set(first.outputs) == {"[0.0, -1.0, -2.0, -3.0]"}
    assert set(last.outputs) == {"[0.0, 1.0, 2.0, 3.0]"}
    assert first.metrics["acc"].score != last.metrics["acc"].score
    assert first.size.width == 320


def test_one_arm_at_a_time_is_loaded_and_on_disk(oracle, tmp_path):
    said: list[str] = []
    engine = local_engine(Store(tmp_path), NoMeter(""), said.append)
    engine.record(on("tiny_recall_mc", backend="oracle"))
    engine.record(on("tiny_recall", backend="oracle"))
    assert len(oracle.loaded) == 1, "one load serves all tasks of an arm"
    assert "loading tiny-base ppm-0.5 into oracle (float32)" in said
    folder, files, config = oracle.loaded[0]
    assert files >= {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert config["intermediate_size"] == 320
    assert Path(folder).is_relative_to(tmp_path / "checkpoints")
    engine.record(on("tiny_recall_mc", Arm("ppm", Decimal("0.25")), backend="oracle"))
    assert oracle.loaded[1][2]["intermediate_size"] == 480
    assert [ref() is None for ref in oracle.alive] == [True, False]
    engine.record(on("tiny_recall_mc", DENSE, backend="oracle"))
    assert oracle.loaded[2][0] == str(SOURCE.folder), "the dense model is loaded from where it is"
    assert not (tmp_path / "checkpoints").exists() or not any(path.name == "pruned" for path in left(tmp_path))
    del engine
    gc.collect()
    assert not (tmp_path / "checkpoints").exists()
    assert (SOURCE.folder / "model.safetensors").is_file()


def test_what_was_written_is_gone_with_the_engine(oracle, tmp_path):
    engine = local_engine(Store(tmp_path), NoMeter(""), lambda _: None)
    engine.record(on("tiny_recall_mc", backend="oracle"))
    assert left(tmp_path)
    del engine
    gc.collect()
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.slow("imports all libraries in a process of its own")
def test_what_was_written_is_gone_with_the_process(tmp_path):
    code = (
        "import sys, pathlib; from tests.experiment.test_backend_arms import *; "
        "register_model('oracle')(Oracle); "
        f"arms = BackendArms(pathlib.Path({str(tmp_path / 'checkpoints')!r}), print); "
        "arms.arm(SOURCE, HALF, Settings(backend='oracle')); "
        f"assert left(pathlib.Path({str(tmp_path)!r})); print('written'); raise KeyboardInterrupt"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "written" in done.stdout, done.stderr
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("raised", [RuntimeError("no GPU\nhere"), KeyboardInterrupt(), SystemExit(1)])
def test_a_backend_that_does_not_start_leaves_nothing(register, tmp_path, raised):
    class Broken(Oracle):
        def __init__(self, pretrained: str) -> None:
            raise raised

    register("broken")(Broken)
    engine = local_engine(Store(tmp_path), NoMeter(""), lambda _: None)
    cell = on("tiny_recall_mc", backend="broken")
    with pytest.raises((EvaluationError, KeyboardInterrupt)) as error:
        engine.record(cell)
    if isinstance(raised, RuntimeError):
        assert str(error.value) == "tiny-base ppm-0.5: backend 'broken' did not start: RuntimeError: no GPU"
    assert not any(path.name == "pruned" for path in left(tmp_path))
    assert not Store(tmp_path).path(cell.key).exists()


def test_a_backend_that_dies_is_one_line_and_is_started_anew(oracle, tmp_path):
    engine = local_engine(Store(tmp_path), NoMeter(""), lambda _: None)
    cell = on("tiny_recall", backend="oracle,dies=True")
    with pytest.raises(EvaluationError, match=r"^tiny-base ppm-0\.5: backend 'oracle' failed: OSError: the device$"):
        engine.record(cell)
    assert not Store(tmp_path).path(cell.key).exists()
    engine.record(on("tiny_recall_mc", backend="oracle,dies=True"))
    assert len(oracle.loaded) == 2


def test_a_llama2c_checkpoint_is_converted_first(oracle, tmp_path):
    write_checkpoint(tmp_path / "karpathy")
    source = ModelSource("karpathy", tmp_path / "karpathy")
    arms = BackendArms(tmp_path / "checkpoints", lambda _: None)
    sizes = [arms.arm(source, arm, Settings(backend="oracle")).size for arm in (DENSE, HALF)]
    assert [(size.width, size.hidden) for size in sizes] == [(20, 24), (10, 24)]
    assert [config["intermediate_size"] for _, _, config in oracle.loaded] == [20, 10]
    assert all("tokenizer.json" in files for _, files, _ in oracle.loaded)
    arms.close()
    assert not (tmp_path / "checkpoints").exists()


def uneven(folder: Path, *, pad_to_uniform: bool = False) -> ModelSource:
    """The embedded model with fewer neurons in its first layer."""
    checkpoint = open_disk_model(SOURCE.folder)
    target = Target.of("0.2", layer_ratios={0: "0.5"})
    write_pruned(checkpoint, rank_on_disk(checkpoint).plan(target), folder, pad_to_uniform=pad_to_uniform)
    return ModelSource("uneven", folder)


def test_what_only_we_can_load_is_refused_in_one_line(oracle, tmp_path):
    arms = BackendArms(tmp_path / "checkpoints", lambda _: None)
    with pytest.raises(EvaluationError, match=r"^uneven dense: .*only glu_prune\.load reads it.*--pad-to-uniform"):
        arms.arm(uneven(tmp_path / "uneven"), DENSE, Settings(backend="oracle"))
    assert oracle.loaded == []
    padded = uneven(tmp_path / "padded", pad_to_uniform=True)
    assert arms.arm(padded, DENSE, Settings(backend="oracle")).size.width == 512


def test_the_bytes_are_those_of_the_dtype_in_which_it_computes(oracle, tmp_path):
    arms = BackendArms(tmp_path / "checkpoints", lambda _: None)
    size = arms.arm(SOURCE, DENSE, Settings(dtype="bfloat16", backend="oracle")).size
    assert size.bytes == 2 * size.parameters


def test_folders_of_killed_runs_are_removed_and_others_are_not(oracle, tmp_path):
    copies = tmp_path / "checkpoints"
    code = f"""
import os, pathlib, time
from glu_prune.experiment.scratch import scratch
with scratch(pathlib.Path({str(copies)!r})) as folder:
    (folder / "pruned").mkdir()
    print(folder, flush=True)
    time.sleep(600)
"""
    start = [sys.executable, "-c", code]
    with (
        subprocess.Popen(start, stdout=subprocess.PIPE, text=True) as killed,
        subprocess.Popen(start, stdout=subprocess.PIPE, text=True) as alive,
    ):
        folders = [Path(process.stdout.readline().strip()) for process in (killed, alive)]
        killed.kill()
        killed.wait()
        (copies / "notes").mkdir()
        assert all(folder.is_dir() for folder in folders)
        arms = BackendArms(copies, lambda _: None)
        arms.arm(SOURCE, HALF, Settings(backend="oracle"))
        assert [folder.is_dir() for folder in (*folders, copies / "notes")] == [False, True, True]
        alive.kill()
    arms.close()
    assert {path.name.partition(".")[0] for path in copies.iterdir()} == {"notes", folders[1].name}


def test_costs_are_not_those_of_a_backend(engine):
    series = SeriesCell(SOURCE, (DENSE,), drawn(8, 4, 1), Settings(backend="hf"), Effort())
    with pytest.raises(NotMeasuredError, match=r"^not measured: .*not of a backend; leave out --glu-backend$"):
        engine.series(series)
