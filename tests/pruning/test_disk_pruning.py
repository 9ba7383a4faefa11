"""From disk to disk: equal to pruning in memory, in little memory, whole or not at all."""

import json
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from glu_prune.errors import CheckpointError, PlanError
from glu_prune.models.source import ModelSource
from glu_prune.pruning.checkpoint import PLAN_FILE, load
from glu_prune.pruning.disk_model import open_disk_model
from glu_prune.pruning.disk_pruning import rank_on_disk, verify_plan, write_pruned
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.shards import INDEX, open_shards
from glu_prune.pruning.surgery import apply, prune
from glu_prune.pruning.target import Target
from glu_prune.report.card import pruned_card
from tests.helpers.models import TOKENS, llama


def save(model, folder: Path, shard: str = "5GB") -> Path:
    model.save_pretrained(folder, max_shard_size=shard)
    (folder / "notes.txt").write_text("beside the weights")
    return folder


def same(one, other) -> bool:
    first, second = one.state_dict(), other.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def answers(model) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS).logits


def prune_folder(folder: Path, out: Path, target: Target, criterion: str = "ppm", **options) -> PruningPlan:
    checkpoint = open_disk_model(folder)
    plan = rank_on_disk(checkpoint, criterion).plan(target)
    card = pruned_card(ModelSource(str(folder), folder), checkpoint, plan)
    write_pruned(checkpoint, plan, out, card=card, **options)
    return plan


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return save(llama(width=24, layers=3), tmp_path / "dense")


@pytest.mark.parametrize("shard", ["5GB", "3KB"])
@pytest.mark.parametrize("criterion", ["ppm", "pon3", "random"])
def test_disk_and_memory_agree(tmp_path, shard, criterion):
    model = llama(width=24, layers=3, bias=True, dtype=torch.bfloat16)
    folder = save(model, tmp_path / "dense", shard)
    plan = prune_folder(folder, tmp_path / "out", Target.of(0.4), criterion)
    assert plan == rank(model, criterion).plan(0.4)
    apply(model, plan)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert same(again, model)
    assert torch.equal(answers(again), answers(model))
    assert again.config.intermediate_size == 15
    assert again.dtype == torch.bfloat16


def test_shards_stay_shards(tmp_path):
    folder = save(llama(width=24, layers=3), tmp_path / "dense", "3KB")
    prune_folder(folder, tmp_path / "out", Target.of(0.5))
    before, after = open_shards(folder), open_shards(tmp_path / "out")
    assert len(before.files) > 3
    assert before.weight_map == after.weight_map
    index = json.loads((tmp_path / "out" / INDEX).read_text())
    tensors = [tensor for name in after.files for tensor in load_file(tmp_path / "out" / name).values()]
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors)


def test_what_is_beside_the_weights_comes_along(dense, tmp_path):
    (dense / "pytorch_model.bin").write_bytes(b"pickled, perhaps")
    (dense / "README.md").write_text("the card of the dense model")
    plan = prune_folder(dense, tmp_path / "out", Target.of(0.5))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert "notes.txt" in names
    assert "generation_config.json" in names
    assert "pytorch_model.bin" not in names
    assert PruningPlan.from_json((tmp_path / "out" / PLAN_FILE).read_text()) == plan
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Target: ratio 0.5" in card
    assert "| model.layers.0.mlp and 2 more | 24 | 12 |" in card
    assert "AutoModel" in card or "LlamaForCausalLM.from_pretrained" in card


def test_unequal_widths_go_through_our_loader(dense, tmp_path):
    target = Target.of(0.5, layer_ratios={0: 0.1}, skip=[-1])
    plan = prune_folder(dense, tmp_path / "out", target)
    model = llama(width=24, layers=3)
    apply(model, plan)
    again = load(tmp_path / "out")
    assert [layer.mlp.gate_proj.out_features for layer in again.model.layers] == [22, 12, 24]
    assert type(again) is LlamaForCausalLM
    assert same(again, model)
    assert torch.equal(answers(again), answers(model))
    with pytest.raises(RuntimeError, match="mismatch"):
        AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert "glu_prune.load" in (tmp_path / "out" / "README.md").read_text()


def test_unequal_widths_can_be_cut_and_saved_again(dense, tmp_path):
    prune_folder(dense, tmp_path / "once", Target.of(0.5, layer_ratios={0: 0.1}))
    prune_folder(tmp_path / "once", tmp_path / "twice", Target.of(width=7))
    stock = AutoModelForCausalLM.from_pretrained(tmp_path / "twice")
    assert stock.config.intermediate_size == 7
    assert not hasattr(stock.config, "glu_widths")
    model = load(tmp_path / "once")
    model.save_pretrained(tmp_path / "saved")
    assert same(load(tmp_path / "saved"), model)


def test_zeros_fill_unequal_widths_up(dense, tmp_path):
    target = Target.of(0.5, layer_ratios={0: 0.1})
    prune_folder(dense, tmp_path / "uneven", target)
    prune_folder(dense, tmp_path / "padded", target, pad_to_uniform=True)
    padded = AutoModelForCausalLM.from_pretrained(tmp_path / "padded").eval()
    assert padded.config.intermediate_size == 22
    assert not bool(padded.model.layers[1].mlp.down_proj.weight[:, 12:].any())
    torch.testing.assert_close(answers(padded), answers(load(tmp_path / "uneven")), rtol=1e-6, atol=1e-6)


def test_ratio_zero_copies_every_bit(dense, tmp_path):
    prune_folder(dense, tmp_path / "out", Target.of(0))
    before, after = (load_file(folder / "model.safetensors") for folder in (dense, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_plan_is_checked_against_the_weights_on_disk(dense, tmp_path):
    checkpoint = open_disk_model(dense)
    plan = rank_on_disk(checkpoint).plan(0.5)
    verify_plan(checkpoint, plan)
    wrong = replace(plan, blocks=(*plan.blocks[:2], replace(plan.blocks[2], checksum="0" * 16)))
    with pytest.raises(PlanError, match=r"other weights: those of model\.layers\.2\.mlp differ"):
        verify_plan(checkpoint, wrong)
    with pytest.raises(PlanError, match="the plan is for another model"):
        write_pruned(checkpoint, rank(llama(width=25, layers=3)).plan(0.5), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def break_nan(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.1.mlp.down_proj.weight"][2, 3] = float("nan")
    save_file(tensors, folder / "model.safetensors")


def break_truncated(folder: Path) -> None:
    data = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(data[: len(data) - 100])


def break_renamed(folder: Path) -> None:
    tensors = {f"old.{key}": tensor for key, tensor in load_file(folder / "model.safetensors").items()}
    save_file(tensors, folder / "model.safetensors")


def break_pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def break_quantised(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (break_nan, r"layers\.1\.mlp: 1 weights of down are NaN or infinite; the checkpoint is broken"),
        (break_truncated, r"model\.safetensors cannot be read: .*; it may be missing or truncated, fetch it again"),
        (
            break_renamed,
            r"contradicts itself: .* has lm_head\.weight and 29 more, .* have old\.model\..* and 28 more",
        ),
        (break_pickled, r"holds 0 \.safetensors files and no .*; pickled weights are not read"),
        (break_config, "has no usable configuration"),
        (break_quantised, "holds quantised weights; prune the weights they were made from, then quantise"),
    ],
)
def test_damage_gives_one_line_and_nothing_is_written(dense, tmp_path, damage, complaint):
    damage(dense)
    with pytest.raises((CheckpointError, PlanError), match=complaint) as caught:
        prune_folder(dense, tmp_path / "out", Target.of(0.5))
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


@pytest.mark.parametrize("lost", ["a file", "an entry"])
def test_a_broken_set_of_shards_is_named(tmp_path, lost):
    folder = save(llama(width=24, layers=3), tmp_path / "dense", "3KB")
    shards = open_shards(folder)
    if lost == "a file":
        (folder / shards.files[1]).unlink()
    else:
        index = json.loads((folder / INDEX).read_text())
        index["weight_map"]["model.norm.weight"] = shards.files[0]
        (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"cannot be read|says that model\.norm\.weight is in"):
        prune_folder(folder, tmp_path / "out", Target.of(0.5))
    assert not (tmp_path / "out").exists()


def test_a_full_disk_gives_one_line_and_leaves_nothing(dense, tmp_path):
    """The limit on the size of files is the system's own way to refuse a write."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"out cannot be written: .*File too large"):
            prune_folder(dense, tmp_path / "out", Target.of(0.5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert [path.name for path in tmp_path.iterdir()] == ["dense"]


def test_too_little_room_is_seen_before_anything_is_written(dense, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(CheckpointError, match=r"1 bytes are free at .*, too few for a checkpoint of"):
        prune_folder(dense, tmp_path / "out", Target.of(0.5))


@pytest.fixture(scope="module")
def big(tmp_path_factory) -> Path:
    """About 200 MB in a dozen shards."""
    folder = tmp_path_factory.mktemp("big") / "dense"
    config = LlamaConfig(
        vocab_size=64, hidden_size=512, intermediate_size=4096, num_hidden_layers=16, num_attention_heads=4
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).bfloat16().save_pretrained(folder, max_shard_size="20MB")
    return folder


_MEASURED = """\
import resource, sys
from glu_prune.cli import main
main(["prune", "tiny-base", "--ratio", "0.4", "--out", sys.argv[2] + "-first"])  # whatever has to be imported is
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
code = main(["prune", sys.argv[1], "--ratio", "0.4", "--out", sys.argv[2]])
print("grew", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
sys.exit(code)
"""


@pytest.mark.slow("prunes 200 MB in a process of its own")
def test_memory_holds_a_shard_and_a_block(big, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, big, tmp_path / "out"], capture_output=True, text=True, check=True
    )
    shards = open_shards(big)
    shard, block = max((big / name).stat().st_size for name in shards.files), 3 * 512 * 4096 * 2
    grew = int(done.stdout.split("grew ")[1])
    assert shards.nbytes > 200e6
    assert grew < shard + block + 24e6  # the interpreter and some 100 bytes a neuron, 9 to 20 MB here
    assert grew < shards.nbytes / 3


@pytest.mark.slow("prunes 200 MB in processes that are killed")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_run_leaves_all_or_nothing(sessions, big, tmp_path, how):
    """Killed at several moments of writing; what a kill leaves behind goes with the next run."""
    (place := tmp_path / "place").mkdir()
    out, log = place / "out", tmp_path / "log"
    command = (place, log, "prune", str(big), "--ratio", "0.4", "--out", str(out))
    for share in (0.0, 0.3, 0.8):
        process, deadline = sessions.command(*command), time.monotonic() + 60
        while not out.exists() and written(place) < share * 140e6 + 1:
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.002)
        sessions.kill(process, how)
        if out.exists():  # it was faster
            assert load(out).config.intermediate_size == 2458
            shutil.rmtree(out)
        elif how != signal.SIGKILL:
            assert log.read_text().splitlines()[-1] == "glu-prune: interrupted; nothing was written"
            assert written(place) == 0
    assert sessions.wait(sessions.command(*command)) == 0
    assert load(out).config.intermediate_size == 2458
    assert [path.name for path in place.iterdir()] == ["out"]


def written(folder: Path) -> int:
    """Bytes in unfinished folders."""
    found = 0
    for path in folder.glob(".out.*/*"):
        try:
            found += path.stat().st_size
        except FileNotFoundError:
            continue
    return found


def test_two_runs_into_one_folder_do_not_mix(dense, tmp_path):
    checkpoint = open_disk_model(dense)
    plan = rank_on_disk(checkpoint).plan(0.5)

    def interfere(read: int, total: int) -> None:
        (tmp_path / "out").mkdir(exist_ok=True)

    with pytest.raises(CheckpointError, match="out exists; choose another folder"):
        write_pruned(checkpoint, plan, tmp_path / "out", progress=interfere)
    assert list((tmp_path / "out").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dense", "out"]


def test_pruning_in_memory_and_saving_gives_the_same_folder(dense, tmp_path):
    prune_folder(dense, tmp_path / "out", Target.of(0.4))
    model = load(dense)
    prune(model, 0.4)
    model.save_pretrained(tmp_path / "saved")
    ours, stock = (load_file(folder / "model.safetensors") for folder in (tmp_path / "out", tmp_path / "saved"))
    assert ours.keys() == stock.keys()
    assert all(torch.equal(ours[key], stock[key]) for key in ours)
    configs = [json.loads((folder / "config.json").read_text()) for folder in (tmp_path / "out", tmp_path / "saved")]
    assert configs[0] == configs[1]
