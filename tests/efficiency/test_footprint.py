import dataclasses
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pynvml
import pytest
import torch

from glu_prune.efficiency import footprint
from glu_prune.efficiency.footprint import Footprint, footprints
from glu_prune.efficiency.fresh import FreshProcesses
from glu_prune.errors import CheckpointError, EvaluationError
from glu_prune.models.shapes import LlamaShape, write_random_model
from glu_prune.models.source import ModelSource, locate

SMALL = LlamaShape(hidden=256, width=1024, layers=4, heads=4, kv_heads=4, head_dim=64, vocabulary=20000, tied=True, positions=16384)  # fmt: skip
SHAPES = {
    "narrow": SMALL,
    "wide": dataclasses.replace(SMALL, width=8192),
    "untied": dataclasses.replace(SMALL, vocabulary=60000, tied=False),
}
BATCH = ((1,) * 128,) * 31 + ((1, 2, 3),)
TOKENS = 4
RESIDENT_SLACK = 3_000_000
"""Bytes by which figures of one model differ from run to run: ten times what was found."""


Run = Callable[..., list[Footprint]]


@pytest.fixture(scope="module")
def run(processes: FreshProcesses) -> Run:
    """Measures with one set of processes for all."""

    def measure(source: ModelSource, repeats: int = 1, **options) -> list[Footprint]:
        settings = {"dtype": "auto", "device": "cpu", "batch": ((1, 2, 3), (4,)), "new_tokens": TOKENS, **options}
        return list(footprints(source, repeats=repeats, processes=processes, **settings))

    return measure


def test_the_process_spreads_the_model_as_it_is_told(run):
    """Devices that cannot be are found there, where the model is loaded."""
    (found,) = run(locate("tiny-base"), device_map={"": "cpu"})
    assert found.resident > found.empty
    with pytest.raises(CheckpointError, match="cannot be loaded as LlamaForCausalLM"):
        run(locate("tiny-base"), device_map={"": "no such device"})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint of every shape."""
    folder = tmp_path_factory.mktemp("shapes")
    for name, shape in SHAPES.items():
        write_random_model(shape, folder / name)
    return folder


@pytest.fixture(scope="module")
def found(run: Run, folder: Path) -> dict[str, list[Footprint]]:
    two = run(locate(str(folder / "narrow")), repeats=2)
    return {"narrow": two} | {name: run(locate(str(folder / name))) for name in ("wide", "untied")}


def parameters(name: str) -> int:
    from transformers import LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(SHAPES[name].config)
    return sum(each.numel() for each in model.parameters())


@pytest.mark.slow("measures models of a hundred megabytes in fresh processes")
@pytest.mark.parametrize("name", ["wide", "untied"])
def test_models_differ_by_the_bytes_of_their_weights(found, name):
    """Also by those that one forward pass does not touch, such as most rows of an embedding matrix."""
    known = 2 * (parameters(name) - parameters("narrow"))
    assert known > 40_000_000
    assert found[name][0].resident - found["narrow"][0].resident == pytest.approx(known, abs=RESIDENT_SLACK)


@pytest.mark.slow("measures models of a hundred megabytes in fresh processes")
def test_resident_holds_the_weights_and_repeats_agree(found):
    one, two = found["narrow"]
    assert one.resident - one.empty > 2 * parameters("narrow")
    assert one.empty == pytest.approx(two.empty, abs=RESIDENT_SLACK)
    assert one.resident == pytest.approx(two.resident, abs=RESIDENT_SLACK)


@pytest.mark.slow("measures models of a hundred megabytes in fresh processes")
def test_the_peak_holds_the_cache(run, folder):
    cache = 2 * 2 * SMALL.layers * SMALL.kv_heads * SMALL.head_dim * len(BATCH) * (len(BATCH[0]) + TOKENS)
    assert cache > 15_000_000
    (each,) = run(locate(str(folder / "narrow")), batch=BATCH)
    assert each.peak - each.resident > cache
    assert each.how == "resident set; its high-water mark since loading"


@pytest.mark.slow("measures models of a hundred megabytes in fresh processes")
def test_what_loading_took_is_not_in_the_peak(run, folder):
    """Weights that are converted are in memory as they are in the file and as they will be, for a while."""
    (each,) = run(locate(str(folder / "wide")), dtype="float32", batch=((1,),), new_tokens=1)
    assert each.resident - each.empty > 4 * parameters("wide")
    assert each.peak - each.resident < 2 * parameters("wide") / 4


@pytest.mark.slow("measures models of a hundred megabytes in fresh processes")
def test_there_is_no_device_without_cuda(found):
    one = found["narrow"][0]
    assert (one.device_resident, one.device_peak, one.device_used) == (None, None, None)


@pytest.mark.slow("imports all libraries in a process of its own")
def test_a_broken_or_missing_checkpoint_is_one_clear_error(run, tmp_path, capfd):
    broken = tmp_path / "broken"
    shutil.copytree(locate("tiny-base").folder, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    for folder, complaint in [(broken, "fetch it again"), (tmp_path / "absent", "no usable configuration")]:
        with pytest.raises(CheckpointError) as caught:
            run(ModelSource("mine", folder))
        assert str(folder) in str(caught.value)
        assert complaint in str(caught.value)
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow("imports all libraries in a process of its own")
def test_a_failure_names_the_model(run):
    with pytest.raises(EvaluationError, match="the memory of tiny-base cannot be measured: IndexError: "):
        run(locate("tiny-base"), batch=((10**6,),))


@pytest.mark.parametrize(("listed", "expected"), [(True, 5_000), (False, None)])
def test_what_a_process_holds_on_the_device_is_its_own_or_absent(monkeypatch, listed, expected):
    """NVML is a stand-in here; another process on the device counts in neither case."""
    processes = [SimpleNamespace(pid=-1, usedGpuMemory=9_000)]
    processes += [SimpleNamespace(pid=os.getpid(), usedGpuMemory=5_000)] * listed
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: None)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetHandleByUUID", lambda uuid: {"GPU-1234": "handle"}[uuid])
    monkeypatch.setattr(pynvml, "nvmlDeviceGetComputeRunningProcesses", lambda handle: processes)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid="1234"))
    assert footprint._used_on_device("cuda:0") == expected


def test_where_nvml_is_not_there_nothing_is_known(monkeypatch):
    monkeypatch.setattr(pynvml, "nvmlInit", lambda: (_ for _ in ()).throw(pynvml.NVMLError(12)))
    assert footprint._used_on_device("cuda") is None


@pytest.mark.slow("imports all libraries in a process of its own")
def test_a_model_is_loaded_with_the_attention_that_is_asked_for(run, folder):
    source = locate(str(folder / "narrow"))
    assert run(source, attention="eager")
    with pytest.raises(CheckpointError, match="no_such_attention"):
        run(source, attention="no_such_attention")
