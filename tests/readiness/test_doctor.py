import json
import os
import shutil
from pathlib import Path

import pytest

from glu_prune.cli import main
from glu_prune.evaluation import local_data
from glu_prune.experiment.cell import Arm, Settings
from glu_prune.models.source import MODELS
from glu_prune.readiness import host, models
from glu_prune.readiness.asked import Model, asked
from glu_prune.readiness.data import cached, data, items, sentences
from tests.helpers import ROOT

TINY = [str(ROOT / "expectations" / f"tiny-{name}.yaml") for name in ("base", "instruct")]
REAL = os.environ.get(local_data.VARIABLE)
needs_data = pytest.mark.skipif(not REAL, reason=f"{local_data.VARIABLE} names no folder of benchmark data")


def a_model(name: object, criteria: int = 0, *, measured: bool = False) -> Model:
    return Model(str(name), None, tuple(Arm(f"criterion-{number}") for number in range(criteria)), measured)


@pytest.fixture
def no_folder(monkeypatch):
    monkeypatch.delenv(local_data.VARIABLE, raising=False)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A data folder with two questions of GSM8K and no worked examples."""
    (tmp_path / "gsm8k").mkdir()
    (tmp_path / "gsm8k" / "test.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n' * 2)
    monkeypatch.setenv(local_data.VARIABLE, str(tmp_path))
    return tmp_path


def test_all_is_ready_for_the_embedded_models(no_sockets, capsys, tmp_path):
    assert main(["doctor", *TINY, "--store", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "all that is needed is ready"
    assert {line[:36].split("  ")[0] for line in lines[2:-2]} == {
        "model tiny-base", "memory for tiny-base", "model tiny-instruct", "memory for tiny-instruct",
        "data of 7 embedded tasks", "checkers", "device cpu", "energy", f"disk for {tmp_path}"[:36], "libraries",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "complaint"),
    [(None, "mine.yaml"), ("model: tiny-base\nratios: [2]\n", "mine.yaml:2: "), ("]", "mine.yaml")],
)
def test_unusable_files_are_one_line_and_exit_code_2(tmp_path, capsys, text, complaint):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    for command in ("doctor", "prefetch"):
        assert main([command, str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert complaint in line


def test_folders_that_are_none_or_empty_are_exit_code_2(tmp_path, capsys):
    assert main(["doctor", str(tmp_path)]) == 2
    assert "holds no expectation files" in capsys.readouterr().err
    for option, value, complaint in [
        ("--data", str(tmp_path / "absent"), "absent' is no folder; name a folder of benchmark data"),
        ("--batch-size", "0", "'0' is not allowed; it is a whole number of at least 1"),
    ]:
        with pytest.raises(SystemExit) as stopped:
            main(["doctor", *TINY, option, value])
        assert stopped.value.code == 2
        assert complaint in capsys.readouterr().err


def test_files_are_read_for_models_and_tasks_each_once(no_folder):
    found = asked([ROOT / "expectations" / "llama-3.2-1b.yaml", *map(Path, TINY)])
    assert [(each.name, each.copies, each.measured) for each in found.models] == [
        ("meta-llama/Llama-3.2-1B", 3, True), ("tiny-base", 3, True), ("tiny-instruct", 3, True)
    ]  # fmt: skip
    assert len(found.tasks) == len(set(found.tasks))
    assert {"ifeval", "truthfulqa_mc1", "truthfulqa_mc2", "leaderboard_musr", "tiny_recall"} <= set(found.tasks)


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("tokenizer", "has no tokenizer"),
        ("weights", "not whole: "),
        ("truncated", "model.safetensors cannot be read"),
        ("config", "not on this machine"),
    ],
)
def test_a_model_that_is_not_whole_is_missing(tmp_path, damage, found):
    mine = tmp_path / "mine"
    shutil.copytree(MODELS / "tiny-base", mine)
    if damage == "truncated":
        (mine / "model.safetensors").write_bytes((mine / "model.safetensors").read_bytes()[:1000])
    else:
        for name in {"tokenizer": "tokenizer*", "weights": "*.safetensors", "config": "config.json"}[damage].split():
            for path in mine.glob(name):
                path.unlink()
    need = models.model(a_model(mine))
    assert (need.state, found in need.detail) == ("missing", True), need
    assert need.remedy


def test_memory_is_that_of_all_copies_and_of_answering():
    small = Settings()
    assert models.memory(a_model("tiny-base"), small).state == "ready"
    assert models.memory(a_model("tiny-base", 10**5), small).state == "missing"
    assert [a_model("tiny-base", 2, measured=measured).copies for measured in (False, True)] == [3, 3]
    assert [a_model("tiny-base", measured=measured).copies for measured in (False, True)] == [1, 3]
    need = models.memory(a_model("tiny-base"), Settings(batch_size=10**8))
    assert (need.state, "halved" in need.remedy) == ("note", True)
    assert models.memory(a_model("someone/absent"), small) is None
    saved = (MODELS / "tiny-base" / "model.safetensors").stat().st_size
    assert models.weights_in(models.locate("tiny-base"), "bfloat16") == saved
    assert models.weights_in(models.locate("tiny-base"), "float32") == 2 * saved


def test_a_container_has_less_than_its_machine(tmp_path):
    for name, text in {
        "memory.max": "1000",
        "memory.current": "700",
        "memory.stat": "anon 1\ninactive_file 50",
    }.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert models._container(tmp_path) == (350,)
    (tmp_path / "memory.max").write_text("max\n")
    assert models._container(tmp_path) == models._container(tmp_path / "absent") == ()


def test_items_in_a_folder_are_counted_against_the_whole_split(folder):
    need = items("gsm8k")
    assert need.state == "missing"
    assert need.detail == "test: 2 of 1,319 items; train: 0 of 7,473 items, lacks gsm8k/train.jsonl"
    assert need.remedy.startswith("complete test and train in the folder that GLU_PRUNE_DATA names")
    row = json.dumps({"question": "?", "answer": "!"}) + "\n"
    for split, count in {"test": 1319, "train": 7473}.items():
        (folder / "gsm8k" / f"{split}.jsonl").write_text(row * count)
    assert items("gsm8k").state == "ready"
    (folder / "gsm8k" / "test.jsonl").write_text(row * 1319 + "{\n")
    assert "test.jsonl:1320 is not JSON" in items("gsm8k").detail


def test_the_files_of_a_group_are_counted_together(folder):
    (folder / "mmlu" / "dev").mkdir(parents=True)
    (folder / "mmlu" / "dev" / "virology.jsonl").write_text("{}\n" * 5)
    assert items("mmlu").detail == (
        "test: 0 of 14,042 items, lacks mmlu/test/abstract_algebra.jsonl and 56 more; "
        "dev: 5 of 285 items, lacks mmlu/dev/abstract_algebra.jsonl and 55 more"
    )
    assert items("mmlu_virology").detail == "test: 0 items, lacks mmlu/test/virology.jsonl; dev: 5 items"


def test_a_folder_without_language_data_lacks_the_sentence_splitter(folder):
    (need,) = sentences("ifeval")
    assert (need.state, str(folder / "nltk_data") in need.detail) == ("missing", True)
    (folder / "nltk_data" / local_data.SENTENCES).mkdir(parents=True)
    assert next(sentences("ifeval")).state == "ready"
    assert list(sentences("gsm8k")) == []


def test_a_data_folder_that_is_none_is_told_once(monkeypatch, tmp_path):
    monkeypatch.setenv(local_data.VARIABLE, str(tmp_path / "absent"))
    need, checkers = data(["ifeval"])
    assert (need.state, "which is no folder" in need.detail, checkers.state) == ("missing", True, "ready")


@needs_data
def test_the_real_data_is_whole():
    for task in local_data.TASKS:
        assert items(task).state == ("missing" if local_data.is_sample(task) else "ready"), items(task)


def test_a_dataset_is_looked_for_without_a_connection(no_sockets, no_folder, tmp_path):
    from glu_prune.evaluation.lm_eval_tasks import Dataset, datasets_of

    (tmp_path / "test.jsonl").write_text("{}\n")
    assert cached(Dataset(str(tmp_path), None))
    assert not cached(Dataset("someone/nothing", "main"))
    assert datasets_of("gsm8k", "gsm8k") == (Dataset("openai/gsm8k", "main"),)
    assert len(datasets_of("mmlu", "mmlu/default")) == 57
    assert datasets_of("leaderboard_musr") == (Dataset("TAUR-Lab/MuSR", None),)


def test_a_device_that_torch_cannot_use_is_missing():
    assert host.device("cpu").state in ("ready", "note")
    for name in ("nonsense", "cuda:99"):
        need = host.device(name)
        assert (need.state, "the device cpu" in need.remedy) == ("missing", True)


def test_a_store_that_cannot_be_written_is_missing(tmp_path):
    tiny = a_model("tiny-base", measured=True)
    need = host.disk([tiny, a_model("someone/absent", measured=True)], Settings(), tmp_path / "new" / "store")
    assert (need.state, need.detail.endswith("110.8 MB wanted")) == ("ready", True), need
    (tmp_path / "file").write_text("")
    assert host.disk([tiny], Settings(), tmp_path / "file" / "store").state == "missing"


@pytest.mark.parametrize(("dtype", "rows"), [("float32", 0), ("bfloat16", 1)])
def test_a_processor_is_asked_how_fast_16_bits_are(tmp_path, dtype, rows):
    found = [each for each in host.host([], Settings(dtype=dtype), tmp_path) if each.what == f"arithmetic in {dtype}"]
    assert len(found) == rows
    assert all("times as long as in float32" in each.detail and not each.missing for each in found)


@pytest.mark.parametrize(("seconds", "state"), [(0.9, "ready"), (6.8, "note")])
def test_slow_16_bits_are_worth_a_note(monkeypatch, seconds, state):
    monkeypatch.setattr(host, "_product", {"bfloat16": seconds, "float32": 1.0}.__getitem__)
    need = host.arithmetic("bfloat16")
    assert (need.state, need.detail) == (state, f"a matrix product takes {seconds} times as long as in float32")


def test_the_libraries_are_those_that_are_asked_for():
    need = host.libraries()
    assert (need.state, "torch " in need.detail) == ("ready", True), need
