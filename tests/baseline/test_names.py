"""What models are called in a baseline, and that a gate looks for all that is pinned."""

import json
import shutil

import pytest

from glu_prune.baseline.compare import compare, paired
from glu_prune.baseline.file import Environment, load, save
from glu_prune.baseline.gate import Gate
from glu_prune.baseline.names import Names
from glu_prune.errors import BaselineError
from glu_prune.experiment.record import ScoreRecord
from glu_prune.experiment.store import Store
from glu_prune.results.baselines import Pin, PinnedCapability
from tests.helpers.outcomes import made
from tests.helpers.records import record

HERE = Environment(machine="a computer", versions={})
ACC = PinnedCapability(name="facts", task="tiny_recall", metric="acc", higher_is_better=True, cluster=None)


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELS", str(tmp_path.parent / "elsewhere"))
    monkeypatch.setenv("INSIDE", str(tmp_path))
    (tmp_path / "sub").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("written", "one"),
    [
        ("mine", "./mine"), ("./mine", "./mine"), ("sub/../mine", "./mine"), ("$INSIDE/mine", "./mine"),
        ("tiny-base", "tiny-base"), ("owner/name", "owner/name"), ("./tiny-base", "./tiny-base"), ("a/b/c", "./a/b/c"),
    ],
)  # fmt: skip
def test_a_model_has_one_name_that_moves_with_the_project(project, written, one):
    names = Names.beside(project / "baselines")
    assert (names.one(written), names.write(written), names.read(one)) == (one, one, one)
    assert names.one(str(project / "mine")) == "./mine"


def test_a_model_outside_is_written_as_the_user_names_it(project):
    names, there = Names.beside(project / "baselines"), str(project.parent / "elsewhere" / "m")
    assert names.write("$MODELS/m") == "$MODELS/m"
    assert names.one("$MODELS/m") == names.read("$MODELS/m") == names.one("../elsewhere/m") == there


def test_a_baseline_that_moves_with_its_project_is_about_the_same_models(project, tmp_path):
    save(project / "one" / "baselines" / "b.json", HERE, [made([1.0], model="./mine")])
    shutil.move(project / "one", project / "two")
    (found,) = load(project / "two" / "baselines" / "b.json").outcomes
    assert found.about.model == Names.beside(project / "two" / "baselines").one("./two/mine") == "./mine"


def test_names_of_earlier_versions_are_read(project):
    path = project / "baselines" / "b.json"
    save(path, HERE, [made([1.0], model="mine", comparable={"chat_template": True})])
    path.write_text(path.read_text().replace('"mine"', '"mine (chat)"'))
    (found,) = load(path).outcomes
    assert (found.about.model, found.about.subject) == ("./mine", "./mine (chat)")


def test_a_folder_called_chat_is_not_the_model_asked_in_its_template(project):
    plain = made([1.0], model="./mine (chat)", comparable={"chat_template": False})
    asked = made([1.0], model="./mine", comparable={"chat_template": True})
    assert plain.about.key != asked.about.key


def test_models_of_other_names_are_the_same_where_their_files_are():
    other = made([1.0, 0.0], model="./other", weights=[1.0, 1.0])
    before = [made([1.0, 1.0], model="./old"), other]
    after = [made([1.0, 1.0], model="./new"), other]
    before, after = ([_with(each, f"{place}") for place, each in enumerate(side)] for side in (before, after))
    assert {each.outcome for each in compare(paired(before, after))} == {"unchanged"}
    assert {each.outcome for each in compare(paired(before, [_with(after[0], "x"), after[1]]))} == {
        "unchanged", "missing", "incomparable",
    }  # fmt: skip


def _with(outcome, weights):
    return type(outcome)(
        outcome.about.model_copy(update={"weights": weights}), outcome.items, outcome.values, outcome.weights
    )


def pins(*keys: str) -> list[Pin]:
    return [Pin(model="./m", key=key, dense=key, replicate="ff" * 32, capability=ACC, floor=None) for key in keys]


def test_two_answers_to_one_question_are_not_pinned_as_one(tmp_path):
    """Two revisions of a model, say: one would take the place of the other."""
    store, one, other = Store(tmp_path / "store"), "aa" * 32, "bb" * 32
    again = record("ff" * 32, settings={"batch_size": 17, "threads": 1})
    worse = record(other, metrics={"acc": ScoreRecord(score=0.0, values=(0.0, 0.0), weights=(1.0, 1.0))})
    for each in (record(one), worse, again):
        store.put(each)
    gate = Gate(tmp_path / "baselines", save_as="b")
    with pytest.raises(BaselineError, match=r"was measured twice, with other answers \(records a{12} and b{12}"):
        gate.pin(store, pins(one, other))
    store.put(record(other))
    assert "1 outcomes pinned" in gate.pin(store, pins(one, other))
    assert json.loads((tmp_path / "baselines" / "b.json").read_text())["outcomes"][0]["model"] == "./m"
