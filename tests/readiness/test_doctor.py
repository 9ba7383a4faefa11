import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from glu_prune.cli import main
from glu_prune.efficiency.workload import WORKLOADS
from glu_prune.evaluation import few_tokens, half_precision, local_data
from glu_prune.evaluation.memory import _container as container
from glu_prune.experiment.cell import Arm, Settings
from glu_prune.models.source import MODELS
from glu_prune.readiness import data, host, memory, models
from glu_prune.readiness.check import CheckResult, Run
from glu_prune.readiness.checks import CHECKS
from glu_prune.readiness.data import cached, items, sentences
from glu_prune.readiness.requirements import RequiredModel, Requirements, requirements_of_files
from tests.helpers import ROOT

TINY = [str(ROOT / "expectations" / f"tiny-{name}.yaml") for name in ("base", "instruct")]
REAL = os.environ.get(local_data.VARIABLE)
needs_data = pytest.mark.skipif(not REAL, reason=f"{local_data.VARIABLE} names no folder of benchmark data")


def a_model(name: object, criteria: int = 0, *, measured: bool = False) -> RequiredModel:
    arms = tuple(Arm(f"criterion-{number}") for number in range(criteria))
    return RequiredModel(str(name), None, arms, WORKLOADS["embedded"] if measured else ())


def a_run(*models: RequiredModel, tasks: tuple[str, ...] = (), store: Path = Path(), **settings: object) -> Run:
    return Run(Requirements(models, tasks), Settings(**settings), store)


def result(results: Iterator[CheckResult]) -> CheckResult:
    """The only one."""
    (found,) = results
    return found


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


def test_all_is_ready_for_the_embedded_models(no_sockets, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    assert main(["doctor", *TINY, "--store", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "all that is needed is ready"
    assert {line[:36].split("  ")[0] for line in lines[2:-2]} == {
        "model tiny-base", "memory for tiny-base", "model tiny-instruct", "memory for tiny-instruct",
        "context of tiny-base", "context of tiny-instruct", "pruning of tiny-base", "pruning of tiny-instruct",
        "data of 7 embedded tasks", "checkers", "device cpu", "compiler", "energy", f"disk for {tmp_path}"[:36], "libraries",
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
        assert main(["doctor", *TINY, option, value]) == 2
        assert complaint in capsys.readouterr().err


def test_files_are_read_for_models_and_tasks_each_once(no_folder):
    found = requirements_of_files([ROOT / "expectations" / "llama-3.2-1b.yaml", *map(Path, TINY)])
    assert [(each.name, each.copies, bool(each.workloads)) for each in found.models] == [
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
    assert result(memory.memory(a_model("tiny-base"), a_run())).state == "ready"
    assert result(memory.memory(a_model("tiny-base", 10**5), a_run())).state == "missing"
    assert [a_model("tiny-base", 2, measured=measured).copies for measured in (False, True)] == [3, 3]
    assert [a_model("tiny-base", measured=measured).copies for measured in (False, True)] == [1, 3]
    need = result(memory.memory(a_model("tiny-base"), a_run(batch_size=10**8)))
    assert (need.state, "halved" in need.remedy) == ("note", True)
    assert list(memory.memory(a_model("someone/absent"), a_run())) == []
    saved = (MODELS / "tiny-base" / "model.safetensors").stat().st_size
    assert memory.weights_in(models.locate("tiny-base"), "bfloat16") == saved
    assert memory.weights_in(models.locate("tiny-base"), "float32") == 2 * saved


def test_a_container_has_less_than_its_machine(tmp_path):
    for name, text in {
        "memory.max": "1000",
        "memory.current": "700",
        "memory.stat": "anon 1\ninactive_file 50",
    }.items():
        (tmp_path / name).write_text(f"{text}\n")
    assert container(tmp_path) == (350,)
    (tmp_path / "memory.max").write_text("max\n")
    assert container(tmp_path) == container(tmp_path / "absent") == ()


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


def test_a_sample_of_every_split_is_a_note(folder):
    (folder / "gsm8k" / "train.jsonl").write_text('{"question": "1 + 1?", "answer": "2"}\n')
    need = items("gsm8k")
    assert (need.state, need.detail) == ("note", "test: 2 of 1,319 items; train: 1 of 7,473 items")
    assert need.remedy.startswith("complete test and train in the folder")


def test_advice_is_never_missing(monkeypatch):
    monkeypatch.setattr(half_precision, "seconds_of_product", {"bfloat16": 1e9, "float32": 1.0}.__getitem__)
    (advice,) = (check for check in CHECKS if check.name == "arithmetic")
    assert [each.state for each in advice.results(a_run(dtype="bfloat16"))] == ["note"]


def test_a_folder_without_language_data_lacks_the_sentence_splitter(folder):
    (need,) = sentences("ifeval")
    assert (need.state, str(folder / "nltk_data") in need.detail) == ("missing", True)
    (folder / "nltk_data" / local_data.SENTENCES).mkdir(parents=True)
    assert next(sentences("ifeval")).state == "ready"
    assert list(sentences("gsm8k")) == []


def test_a_data_folder_that_is_none_is_told_once(monkeypatch, tmp_path):
    monkeypatch.setenv(local_data.VARIABLE, str(tmp_path / "absent"))
    need = result(data.data(a_run(tasks=("ifeval",))))
    assert (need.state, "which is no folder" in need.detail) == ("missing", True)


@needs_data
def test_the_real_data_is_whole():
    for task in local_data.TASKS:
        assert items(task).state == "ready", items(task)


def test_a_dataset_is_looked_for_without_a_connection(no_sockets, no_folder, tmp_path):
    from glu_prune.evaluation.lm_eval_tasks import Dataset, datasets_of

    (tmp_path / "test.jsonl").write_text("{}\n")
    assert cached(Dataset(str(tmp_path), None))
    assert not cached(Dataset("someone/nothing", "main"))
    assert datasets_of("gsm8k", "gsm8k") == (Dataset("openai/gsm8k", "main"),)
    assert len(datasets_of("mmlu", "mmlu/default")) == 57
    assert datasets_of("leaderboard_musr") == (Dataset("TAUR-Lab/MuSR", None),)


def test_a_device_that_torch_cannot_use_is_missing():
    assert result(host.device(a_run())).state in ("ready", "note")
    for name in ("nonsense", "cuda:99"):
        need = result(host.device(a_run(device=name)))
        assert (need.state, "the device cpu" in need.remedy) == ("missing", True)


def test_a_store_that_cannot_be_written_is_missing(tmp_path):
    tiny = a_model("tiny-base", measured=True)
    absent = a_model("someone/absent", measured=True)
    need = result(host.disk(a_run(tiny, absent, store=tmp_path / "new" / "store")))
    assert (need.state, need.detail.endswith("110.8 MB wanted")) == ("ready", True), need
    (tmp_path / "file").write_text("")
    assert result(host.disk(a_run(tiny, store=tmp_path / "file" / "store"))).state == "missing"
    need = result(host.disk(a_run(tiny, store=tmp_path)))
    assert (need.state, "is no store of glu-prune, as it holds file" in need.detail) == ("missing", True), need


@pytest.mark.parametrize(
    ("dtype", "rows"), [("float32", ()), ("bfloat16", ("bfloat16",)), ("auto", ("bfloat16", "float16"))]
)
def test_a_processor_is_asked_how_fast_16_bits_are(dtype, rows):
    found = list(host.arithmetic(a_run(dtype=dtype)))
    assert [each.what for each in found] == [f"arithmetic in {each}" for each in rows]
    assert all("times as long as in float32" in each.detail and not each.missing for each in found)


@pytest.mark.parametrize(("seconds", "state"), [(0.9, "ready"), (6.8, "note")])
def test_slow_16_bits_are_worth_a_note(monkeypatch, seconds, state):
    found = {"bfloat16": seconds, "float16": seconds, "float32": 1.0}
    monkeypatch.setattr(half_precision, "seconds_of_product", found.__getitem__)
    need = result(host.arithmetic(a_run(dtype="bfloat16")))
    assert (need.state, need.detail) == (state, f"a matrix product takes {seconds} times as long as in float32")
    assert [each.state for each in host.arithmetic(a_run(dtype="auto"))] == ["ready"] * 2, "it will not be taken"


def test_a_machine_without_a_compiler_is_told_what_it_costs(monkeypatch):
    few_tokens.compiled.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    need = result(host.compiler(a_run()))
    few_tokens.compiled.cache_clear()
    assert (need.state, "more slowly" in need.detail, "install gcc" in need.remedy) == ("note", True, True)
    monkeypatch.undo()
    assert result(host.compiler(a_run())).state == ("ready" if shutil.which("gcc") else "note")
    for other in ({"device": "cuda"}, {"dtype": "bfloat16"}, {"backend": "hf"}):
        assert list(host.compiler(a_run(**other))) == []


def test_where_the_dtype_is_left_open_the_largest_has_to_fit():
    tiny = a_model("tiny-base")
    wanted, most = (result(memory.memory(tiny, a_run(tiny, dtype=each))) for each in ("auto", "float32"))
    assert wanted.detail.partition("; ")[2] == most.detail.partition("; ")[2]


def test_the_dtype_can_be_left_open_on_a_processor_only():
    assert list(host.dtype(a_run(dtype="auto"))) == []
    need = result(host.dtype(a_run(dtype="auto", device="cuda")))
    said = "dtype 'auto' compares data types on the device cpu; for cuda, name one, such as bfloat16"
    assert (need.state, need.detail) == ("missing", said)


def test_the_libraries_are_those_that_are_asked_for():
    need = result(host.libraries(a_run()))
    assert (need.state, "torch " in need.detail) == ("ready", True), need


CLAIM = """\
model: tiny-base
ratios: [0.5]
criterion: {criterion}
chat_template: {chat}
expect:
  - capability: reading
    direction: down
    why: of this test
"""


@pytest.mark.parametrize(
    ("options", "claim", "missing"),
    [
        (["--attention", "guess"], {}, "attention guess for tiny-base"),
        (["--backend", "vlllm"], {}, "backend vlllm"),
        ([], {"criterion": "reversed-unwell:fails"}, "pruning of tiny-base"),
        ([], {"chat": "true"}, "chat template of tiny-base"),
    ],
)
def test_what_a_run_refuses_is_missing(tmp_path, monkeypatch, capsys, options, claim, missing):
    (tmp_path / "unwell.py").write_text("def fails(neurons):\n    return {}['nothing']\n")
    (tmp_path / "claims.yaml").write_text(CLAIM.format(**{"criterion": "ppm", "chat": "false", **claim}))
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "claims.yaml", *options]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == f"missing: {missing}"
