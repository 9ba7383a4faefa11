"""Capabilities that an expectation file declares itself."""

from pathlib import Path

import pytest

from glu_prune.errors import ExpectationError
from glu_prune.evaluation.capability import SUITES, Capability
from glu_prune.judgement.expectation import EfficiencyCase, read

GOOD = """\
model: tiny-base
ratios: [0.5]
tasks: tasks
capabilities:
  science:
    task: sciq
    metric: acc_norm
    chance: 0.25
    num_fewshot: 2
    groups: [topic]
  reading:
    task: pets
    metric: bits_per_byte
    higher_is_better: false
expect:
  - capability: science
    direction: down
    why: facts are lost
  - capability: arithmetic
    direction: down
    why: as the suite has it
  - trend: [reading, science]
    relation: positive
    why: both fall
  - efficiency: joules_per_correct_answer
    questions: science
    direction: up
    why: fewer answers are right
"""


def cases(folder: Path, text: str = GOOD):
    (folder / "tasks").mkdir(exist_ok=True)
    (folder / "tasks" / "pets.yaml").write_text("task: pets\ncustom_dataset: !function pets.load\n")
    (folder / "model.yaml").write_text(text)
    return read(folder / "model.yaml")


def test_declared_capabilities_stand_beside_the_suite_or_in_its_place(tmp_path):
    science, arithmetic, costs, trend = cases(tmp_path)
    assert science.id == "tiny-base-ratio_0.5-science"
    assert science.capability == Capability(
        "science", "sciq", "acc_norm", "", chance=0.25, num_fewshot=2, groups=("topic",)
    )
    assert arithmetic.capability == SUITES["embedded"]["arithmetic"]
    assert isinstance(costs, EfficiencyCase)
    assert costs.questions == science.capability
    assert trend.capabilities[0].metric == "bits_per_byte"


def test_tasks_of_the_folder_are_taken_from_there_and_others_are_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cases(tmp_path)
    science, *_, trend = read(Path("model.yaml"))
    assert science.capability.folder is None
    assert trend.capabilities[0].folder == tmp_path / "tasks"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("    metric: acc_norm\n", "", "model.yaml:5: capabilities.science.metric is missing"),
        ("chance: 0.25", "chanse: 0.25", "model.yaml:8: capabilities.science.chanse: key 'chanse' does not exist; did you mean 'chance'?"),
        ("chance: 0.25", "chance: much", "model.yaml:8: capabilities.science.chance: it is a number .*found 'much'"),
        ("chance: 0.25", "chance: .nan", "model.yaml:8: capabilities.science.chance: .*finite number"),
        ("num_fewshot: 2", "num_fewshot: -1", "model.yaml:9: capabilities.science.num_fewshot: it is at least 0"),
        ("    higher_is_better: false\n", "", "model.yaml:11: capabilities.reading: a lower bits_per_byte is better; say so with"),
        ("  science:\n", "  'all science':\n", "model.yaml:5: capabilities.all science: it is a text like"),
        ("capability: science", "capability: sciense", "model.yaml:16: capability 'sciense' does not exist; did you mean 'science'?"),
        ("  reading:\n", "  listening:\n", "model.yaml:11: no claim is about capability 'listening', which is declared here"),
        ("tasks: tasks", "tasks: task", "model.yaml:3: .*task is no folder; name one with lm-eval's YAML files, relative to this file"),
        ("task: pets", "task: petz", "model.yaml:3: no capability that is declared here is measured by a task of .*tasks; its tasks: pets"),
        ("questions: science", "questions: reading", "model.yaml:26: capability reading is no share of right answers"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line_that_names_file_line_and_value(tmp_path, old, new, complaint):
    assert old in GOOD
    with pytest.raises(ExpectationError, match=complaint) as caught:
        cases(tmp_path, GOOD.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_a_file_of_the_folder_that_is_no_yaml_is_named(tmp_path):
    cases(tmp_path)
    (tmp_path / "tasks" / "bad.yaml").write_text("a: [")
    with pytest.raises(ExpectationError, match=r"model.yaml:3: .*bad\.yaml:1: not YAML"):
        read(tmp_path / "model.yaml")
