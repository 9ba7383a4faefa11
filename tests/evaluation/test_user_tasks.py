"""Tasks in a folder of a user's own."""

import pytest

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import user_tasks
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.floors import null_results
from glu_prune.readiness.data import own

TASK = """\
task: pets
custom_dataset: !function pets.load
test_split: test
output_type: multiple_choice
doc_to_text: "A pet:"
doc_to_target: gold
doc_to_choice: ["cat", "dog"]
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""
CODE = """\
from datasets import Dataset

def load(**_):
    return {"test": Dataset.from_list([{"gold": i % 2} for i in range(8)])}
"""
GROUP = """\
group: animals
task: [pets, MEMBER]
aggregate_metric_list:
  - metric: acc
    aggregation: mean
    weight_by_size: true
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "pets.yaml").write_text(TASK)
    (tmp_path / "pets.py").write_text(CODE)
    return tmp_path


def test_tasks_and_groups_are_found_by_name(folder):
    (folder / "below").mkdir()
    (folder / "below" / "group.yaml").write_text(GROUP)
    (folder / "settings.yaml").write_text("output_type: multiple_choice\n")
    assert user_tasks.names(folder) == ("animals", "pets")


def test_a_task_of_the_folder_is_scored_as_any_other(folder):
    evaluator = Evaluator()
    results = null_results(evaluator, "pets", None, folder)
    assert results["uniform"].metrics["acc"].score == 0.5
    assert len(results["uniform"].items) == 8
    with pytest.raises(EvaluationError, match="lm-eval has no task 'pets'"):
        evaluator.tasks("pets")


def test_metrics_of_a_whole_corpus_are_left_out(folder):
    more = "  - metric: f1\n    aggregation: f1\n    higher_is_better: true\n"
    (folder / "pets.yaml").write_text(TASK + more)
    results = null_results(Evaluator(), "pets", None, folder)
    assert set(results["uniform"].metrics) == {"acc"}


def test_a_group_of_the_folder_is_its_tasks(folder):
    (folder / "more.yaml").write_text(TASK.replace("task: pets", "task: more"))
    (folder / "group.yaml").write_text(GROUP.replace("MEMBER", "more"))
    assert set(Evaluator().tasks("animals", None, folder)) == {"pets", "more"}


def test_a_name_of_lm_evals_own_is_the_folders_where_it_has_one(folder):
    (folder / "pets.yaml").write_text(TASK.replace("task: pets", "task: tiny_recall"))
    assert len(null_results(Evaluator(), "tiny_recall", None, folder)["uniform"].items) == 8


def test_every_file_in_the_folder_is_part_of_its_fingerprint(folder):
    found = [user_tasks.user_tasks_digest(folder)]
    (folder / "pets.py").write_text(CODE.replace("range(8)", "range(9)"))
    found.append(user_tasks.user_tasks_digest(folder))
    (folder / "items.jsonl").write_text("{}")
    found.append(user_tasks.user_tasks_digest(folder))
    (folder / "items.jsonl").rename(folder / "other.jsonl")
    found.append(user_tasks.user_tasks_digest(folder))
    assert len(set(found)) == 4
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "pets.pyc").write_text("compiled")
    assert user_tasks.user_tasks_digest(folder) == found[-1]


READ = "task: read\ndataset_path: json\ndataset_kwargs:\n  data_files: FILES\noutput_type: multiple_choice\n"


@pytest.mark.parametrize(
    "files", ["data/one.jsonl", "{test: [data/one.jsonl]}", "{test: data/*.jsonl}", '{test: "data/**/*.jsonl"}']
)
def test_data_elsewhere_is_part_of_it(folder, tmp_path, monkeypatch, files):
    monkeypatch.chdir(tmp_path)
    before = user_tasks.user_tasks_digest(folder)
    (folder / "read.yaml").write_text(READ.replace("FILES", files))
    without = user_tasks.user_tasks_digest(folder)
    assert without != before
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.jsonl").write_text('{"gold": 0}')
    found = user_tasks.user_tasks_digest(folder)
    (tmp_path / "data" / "one.jsonl").write_text('{"gold": 1}')
    assert len({without, found, user_tasks.user_tasks_digest(folder)}) == 3


def test_a_folder_of_data_is_part_of_it_and_what_a_hub_has_is_not(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (folder / "read.yaml").write_text("task: read\ndataset_path: mine/data\ndataset_kwargs:\n  data_files: x.jsonl\n")
    before = user_tasks.user_tasks_digest(folder)
    assert user_tasks.data_places(folder) == ()
    (tmp_path / "mine" / "data").mkdir(parents=True)
    (tmp_path / "mine" / "data" / "x.jsonl").write_text("{}")
    assert user_tasks.data_places(folder) == ("mine/data",)
    assert user_tasks.user_tasks_digest(folder) != before
    for files in ("https://example.org/x.jsonl", "hf://datasets/a/b/x.jsonl"):
        (folder / "read.yaml").write_text(READ.replace("FILES", files))
        assert user_tasks.data_places(folder) == ()


def test_data_that_is_not_there_is_missing(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert own(folder).state == "ready"
    (folder / "read.yaml").write_text(READ.replace("FILES", "data/one.jsonl"))
    result = own(folder)
    assert (result.state, result.detail) == ("missing", "data/one.jsonl is not there")


def test_a_file_that_is_in_itself_is_refused(folder):
    (folder / "loop.yaml").write_text("task: &a [*a]\n")
    with pytest.raises(EvaluationError, match=r"loop\.yaml: it is in itself"):
        user_tasks.names(folder)


def test_the_same_files_elsewhere_are_the_same(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    assert user_tasks.user_tasks_digest(other) == user_tasks.user_tasks_digest(folder)


def test_what_is_no_yaml_is_named_with_its_line(folder):
    (folder / "bad.yaml").write_text("task: a\nb: [\n")
    with pytest.raises(EvaluationError, match=r"bad\.yaml:3: not YAML"):
        user_tasks.names(folder)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("pets.load", "pets.lode", "AttributeError: Module '.*pets.py' has no function 'lode'"),
        ("pets.load", "absent_module.load", "ImportError: Cannot import module 'absent_module'"),
        ("test_split: test\n", "test_split: absent\n", "KeyError: "),
    ],
)
def test_a_task_that_cannot_be_used_is_one_line(folder, old, new, complaint):
    (folder / "pets.yaml").write_text(TASK.replace(old, new))
    with pytest.raises(EvaluationError, match=f"task 'pets' of .* cannot be loaded: {complaint}") as caught:
        user_tasks.load("pets", folder)
    assert "\n" not in str(caught.value)


def test_code_with_a_mistake_is_one_line(folder):
    (folder / "pets.py").write_text("def load(:\n")
    with pytest.raises(EvaluationError, match="cannot be loaded: SyntaxError: "):
        user_tasks.load("pets", folder)
