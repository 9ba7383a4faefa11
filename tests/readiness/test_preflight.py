"""What would stop a run late is found early, of runs that have something left to do."""

import json
import os
import shutil
import sys
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest
import torch
from huggingface_hub import constants
from transformers import LlamaForCausalLM

from glu_prune.errors import NotReadyError
from glu_prune.evaluation.local_data import VARIABLE
from glu_prune.experiment.cell import Settings
from glu_prune.judgement.expectation import Case, read
from glu_prune.models.source import MODELS
from glu_prune.readiness import preflight
from glu_prune.readiness.check import Run
from glu_prune.readiness.network import offline
from glu_prune.readiness.requirements import requirements

CLAIM = """\
model: {model}
suite: {suite}
ratios: [0.5]
expect:
  - {of}: {capability}
    direction: down
    why: of this test
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data folder, and nothing in the caches."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def refuse_obstacles(cases: list[Case], settings: Settings, store: Path = Path("store")) -> None:
    preflight.refuse_obstacles(Run(requirements(cases), settings, store))


def cases(
    folder: Path,
    suite: str = "embedded",
    capability: str = "reading",
    model: object = "tiny-base",
    of: str = "capability",
    more: str = "",
):
    file = folder / "claims.yaml"
    file.write_text(CLAIM.format(model=model, suite=suite, of=of, capability=capability) + more)
    return read(file)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch):
    """A hub that answers, if only to refuse."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Refuse)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()


def test_an_embedded_run_has_no_obstacle(tmp_path, no_sockets):
    refuse_obstacles(cases(tmp_path), Settings())


def test_memory_that_is_too_small_is_found(tmp_path, monkeypatch):
    free = psutil.virtual_memory()._replace(available=1_000_000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: free)
    with pytest.raises(
        NotReadyError, match=r"^memory for tiny-base: 1.0 MB free on cpu; .* even in batches of 1; close"
    ):
        refuse_obstacles(cases(tmp_path), Settings())
    refuse_obstacles(cases(tmp_path), replace(Settings(), backend="hf"))


def test_a_store_that_cannot_be_written_stops_no_run_as_it_may_hold_all_that_is_asked(tmp_path):
    (tmp_path / "file").write_text("")
    refuse_obstacles(cases(tmp_path), Settings(), tmp_path / "file" / "store")


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        (Settings(backend="vlllm"), r"^backend vlllm: lm-eval has no backend 'vlllm'; did you mean 'vllm'"),
        (Settings(device="nowhere"), r"^device nowhere: RuntimeError: .*; take the device cpu"),
        (Settings(attention="guess"), r"^attention guess for tiny-base: ValueError: .*guess.*; leave out"),
    ],
)
def test_what_cannot_be_used_is_found(tmp_path, settings, complaint):
    with pytest.raises(NotReadyError, match=complaint):
        refuse_obstacles(cases(tmp_path), settings)
    refuse_obstacles(cases(tmp_path), Settings(attention="eager"))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda folder: [path.unlink() for path in folder.glob("tokenizer*")], "has no tokenizer; complete the folder"),
        (lambda folder: os.truncate(folder / "model.safetensors", 1000), r"not whole: .* missing or truncated"),
    ],
)
def test_a_model_that_is_not_whole_is_found(tmp_path, damage, complaint):
    shutil.copytree(MODELS / "tiny-base", tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(NotReadyError, match=f"^model {tmp_path}/model: .*{complaint}"):
        refuse_obstacles(cases(tmp_path, model=tmp_path / "model"), Settings())


OWN = """\
import torch
def fails(neurons):
    return {}["nothing"]
def sixteen_bits_only(neurons):
    assert neurons.weights.gate.dtype == torch.bfloat16, neurons.weights.gate.dtype
    return neurons.weights.gate.float().norm(dim=1)
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Criteria of a user's own in the current folder."""
    (tmp_path / "ways.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("ways", None)


def test_criteria_that_look_at_text_or_spare_neurons_are_tried_too(tmp_path):
    def run(criterion: str) -> None:
        (tmp_path / "text.txt").write_text("anna lives in rome .\n" * 8)
        more = f"criterion: {criterion}\n" + ("calibration: text.txt\n" if "wanda" in criterion else "")
        refuse_obstacles(cases(tmp_path, more=more), Settings())

    for criterion in ("wanda", "reversed-wanda", "ppm keeping 0:97", "wanda keeping 4:639"):
        run(criterion)
    (tmp_path / "text.txt").write_text("a b\n")
    few = cases(tmp_path, more="criterion: wanda\ncalibration: text.txt\n")
    with pytest.raises(NotReadyError, match=r"^pruning of tiny-base: calibration by \d+ tokens of .* tells little"):
        refuse_obstacles(few, Settings())
    with pytest.raises(NotReadyError, match=r"^pruning of tiny-base: criterion ppm keeping 4:640: .* has 640 neurons"):
        run("ppm keeping 4:640")


def test_a_criterion_is_tried_before_a_model_loads(tmp_path, own):
    def run(criterion: str, dtype: str = "float32") -> None:
        refuse_obstacles(cases(tmp_path, more=f"criterion: {criterion}"), Settings(dtype=dtype))

    first = r"^pruning of tiny-base: model\.layers\.0\.mlp: criterion"
    with pytest.raises(NotReadyError, match=rf"{first} ways:fails fails \(.*ways\.py:3\): KeyError: 'nothing'$"):
        run("ways:fails")
    run("ways:sixteen_bits_only", "bfloat16")
    with pytest.raises(NotReadyError, match=rf"{first} ways:sixteen_bits_only fails .*: AssertionError: torch.float32"):
        run("ways:sixteen_bits_only")
    with pytest.raises(NotReadyError, match=rf"{first} reversed-ways:fails fails"):
        refuse_obstacles(cases(tmp_path, more="controls: [random, reversed-ways:fails]"), Settings())


def test_weights_that_are_no_numbers_are_found(tmp_path):
    model = LlamaForCausalLM.from_pretrained(MODELS / "tiny-base")
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[3, 4] = float("nan")
    shutil.copytree(MODELS / "tiny-base", tmp_path / "model")
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(NotReadyError, match=r"layers\.0\.mlp: 1 weights of up are NaN or infinite; the checkpoint is"):
        refuse_obstacles(cases(tmp_path, model=tmp_path / "model"), Settings())


def test_costs_alone_need_no_tokenizer(tmp_path):
    shutil.copytree(MODELS / "tiny-base", tmp_path / "model")
    for path in (tmp_path / "model").glob("tokenizer*"):
        path.unlink()
    refuse_obstacles(
        cases(tmp_path, capability="time_to_first_token", model=tmp_path / "model", of="efficiency"), Settings()
    )


def test_absent_data_is_an_obstacle_without_a_connection(tmp_path, no_sockets):
    with (
        offline(),
        pytest.raises(NotReadyError, match=r"^data of piqa: .* not in the cache of datasets; `glu-prune prefetch`"),
    ):
        refuse_obstacles(cases(tmp_path, "study", "physical_commonsense"), Settings())


def test_absent_data_is_an_obstacle_where_the_hub_cannot_be_reached(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(
        NotReadyError, match=r"^data of piqa: .*, and http://127\.0\.0\.1:9 cannot be reached: .*refused"
    ):
        refuse_obstacles(cases(tmp_path, "study", "physical_commonsense"), Settings())


def test_absent_data_is_left_to_the_run_where_the_hub_answers(tmp_path, hub):
    refuse_obstacles(cases(tmp_path, "study", "physical_commonsense"), Settings())


def test_a_data_folder_without_the_task_is_an_obstacle_and_a_sample_is_none(tmp_path, monkeypatch, no_sockets):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(NotReadyError, match=r"^data of piqa: "):
        refuse_obstacles(cases(tmp_path, "study", "physical_commonsense"), Settings())
    (tmp_path / "piqa").mkdir()
    item = {"goal": "open a door", "sol1": "push it", "sol2": "eat it", "label": 0}
    (tmp_path / "piqa" / "validation.jsonl").write_text(json.dumps(item) + "\n")
    refuse_obstacles(cases(tmp_path, "study", "physical_commonsense"), Settings())
