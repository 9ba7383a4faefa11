import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.efficiency.workload import WORKLOADS, Prompts, Workload, drawn, prompts
from glu_prune.errors import EvaluationError, WorkloadError
from glu_prune.evaluation import local_data
from tests.helpers import ROOT

SMALL = drawn(5, 2, 3)
FILES = {
    "hellaswag": ("hellaswag/validation_preprocessed.jsonl", "query"),
    "mmlu": ("mmlu/test/anatomy.jsonl", "question"),
    "ifeval": ("ifeval/input_data.jsonl", "prompt"),
}
TEXTS = ("ab", "some longer text", "exact", "another long text")


def of(benchmark: str) -> Workload:
    return Workload("text", 3, 5, 2, benchmark)


def encode(text: str) -> list[int]:
    return [ord(letter) for letter in text]


def first(asked: Prompts, turn: int = 0, count: int = 4) -> list:
    return list(itertools.islice(asked.batches(turn), count))


def seeded(*seeds: int) -> Prompts:
    return Prompts(replace(SMALL, seeds=seeds), 1000)


def write(folder: Path, benchmark: str, rows: list) -> None:
    path = folder / FILES[benchmark][0]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with `TEXTS` for every benchmark."""
    for benchmark, (_, column) in FILES.items():
        write(tmp_path, benchmark, [{column: text} for text in TEXTS])
    monkeypatch.setenv(local_data.VARIABLE, str(tmp_path))
    return tmp_path


@given(st.integers(0, 50))
def test_prompts_are_the_same_for_the_same_turn_and_others_for_the_next(turn):
    asked = Prompts(SMALL, 1000)
    assert first(asked, turn) == first(asked, turn)
    assert not set(first(asked, turn)) & set(first(asked, turn + 1))


def test_batches_of_a_turn_differ():
    assert len(set(first(Prompts(SMALL, 1000), count=20))) == 20


def test_prompts_differ_between_seeds():
    assert not set(first(seeded(1))) & set(first(seeded(2)))


def test_seeds_are_used_in_turn():
    both = seeded(1, 2)
    one, two = seeded(1), seeded(2)
    expected = [first(one, 0), first(two, 0), first(one, 1), first(two, 1)]
    assert [first(both, turn) for turn in range(4)] == expected


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 40))
def test_drawn_prompts_have_the_exact_shape_and_stay_below_the_vocabulary(batch_size, length, vocabulary):
    for batch in first(Prompts(drawn(length, 1, batch_size), vocabulary)):
        assert [len(row) for row in batch] == [length] * batch_size
        assert all(type(token) is int and 0 <= token < vocabulary for row in batch for token in row)


def test_the_whole_vocabulary_is_drawn_from():
    (batch,) = first(Prompts(drawn(50, 1, 4), 7), count=1)
    assert {token for row in batch for token in row} == set(range(7))


def test_a_drawn_workload_says_in_its_name_what_it_is():
    assert drawn(64, 32, 8) == Workload("p64_n32_b8", batch_size=8, prompt_tokens=64, new_tokens=32)


@pytest.mark.parametrize("benchmark", FILES)
def test_text_comes_from_the_data_folder_cut_to_the_prompt_tokens(data, benchmark):
    asked = prompts(of(benchmark), 1000, encode)
    assert asked.source == f"4 prompts of {benchmark}"
    batches = first(asked, count=20)
    assert {len(batch) for batch in batches} == {3}
    assert {row for batch in batches for row in batch} == {tuple(encode(text))[:5] for text in TEXTS}


def test_text_is_the_same_for_the_same_turn_and_other_text_for_the_next(data):
    asked = prompts(of("ifeval"), 1000, encode)
    assert first(asked, 3) == first(asked, 3)
    assert first(asked, 3) != first(asked, 4)


@pytest.mark.parametrize("benchmark", FILES)
def test_without_a_data_folder_prompts_are_drawn(monkeypatch, benchmark):
    monkeypatch.delenv(local_data.VARIABLE, raising=False)
    asked = prompts(of(benchmark), 1000, encode)
    assert asked.source == "tokens drawn at random"
    assert first(asked) == first(Prompts(of(benchmark), 1000))
    assert {len(row) for batch in first(asked) for row in batch} == {5}


def test_a_workload_of_no_benchmark_leaves_the_data_folder_alone(monkeypatch, tmp_path):
    monkeypatch.setenv(local_data.VARIABLE, str(tmp_path))
    assert prompts(SMALL, 1000, encode).source == "tokens drawn at random"


@pytest.mark.parametrize("benchmark", FILES)
def test_a_missing_file_is_an_error(data, benchmark):
    (data / FILES[benchmark][0]).unlink()
    with pytest.raises(EvaluationError, match=rf"^{benchmark}: .* lacks {benchmark}/.*; add it, or unset .*$"):
        prompts(of(benchmark), 1000, encode)


@pytest.mark.parametrize("benchmark", FILES)
@pytest.mark.parametrize("row", [{"other": "x"}, {"query": 1, "question": None, "prompt": ["x"]}, [1]])
def test_a_missing_column_is_an_error(data, benchmark, row):
    column = FILES[benchmark][1]
    write(data, benchmark, [{column: "text"}, row])
    with pytest.raises(EvaluationError, match=f"^{benchmark}: a row of .* has no text in column '{column}'; .*$"):
        prompts(of(benchmark), 1000, encode)


def test_a_file_without_items_is_an_error_not_a_reason_to_draw(data):
    write(data, "ifeval", [])
    with pytest.raises(EvaluationError, match=r"^ifeval: .*input_data\.jsonl holds no items; replace the file$"):
        prompts(of("ifeval"), 1000, encode)


def test_without_a_tokenizer_prompts_are_drawn(data):
    assert prompts(of("ifeval"), 1000, None).source == "tokens drawn at random"


def test_a_prompt_needs_a_token(data):
    write(data, "ifeval", [{"prompt": ""}])
    with pytest.raises(WorkloadError, match="makes no token of a prompt of ifeval: ''"):
        first(prompts(of("ifeval"), 1000, encode))


def test_drawn_prompts_need_no_tokenizer():
    assert first(prompts(SMALL, 1000, None)) == first(prompts(SMALL, 1000, encode))


@pytest.mark.parametrize("sizes", [(0, 1, 1), (1, 0, 1), (1, 1, 0), (-1, 5, 5)])
def test_a_workload_without_work_is_an_error(sizes):
    batch_size, prompt_tokens, new_tokens = sizes
    with pytest.raises(
        WorkloadError, match=f"batch size {batch_size}, {prompt_tokens} prompt tokens, {new_tokens} new tokens"
    ):
        Workload("none", batch_size, prompt_tokens, new_tokens)


def test_one_of_everything_is_work():
    assert first(Prompts(drawn(1, 1, 1), 1), count=1) == [((0,),)]


def test_the_suite_of_the_study_is_what_its_data_say():
    with (ROOT / "expectations/evidence/efficiency_runs.csv").open(newline="") as stream:
        rows = [*csv.DictReader(stream)]
    published = {
        (row["workload"], int(row["batch_size"]), int(row["max_new_tokens"]), int(row["seed"])) for row in rows
    }
    ours = [(each.name, each.batch_size, each.new_tokens, seed) for each in WORKLOADS["study"] for seed in each.seeds]
    assert len(ours) == len(set(ours)) == 18
    assert set(ours) == published


@pytest.mark.parametrize("suite", WORKLOADS)
def test_names_within_a_suite_differ(suite):
    names = [each.name for each in WORKLOADS[suite]]
    assert len(set(names)) == len(names)


def test_workloads_of_the_study_are_named_after_the_benchmark_that_they_use():
    for each in WORKLOADS["study"]:
        assert each.name.startswith(f"{each.benchmark}_")
        assert each.benchmark in FILES
