"""A data type that is left open: chosen once for a model and a machine, and part of keys under its own name."""

from dataclasses import replace
from decimal import Decimal

import pytest

from glu_prune.efficiency.meter import NoMeter
from glu_prune.errors import EvaluationError
from glu_prune.evaluation import half_precision
from glu_prune.evaluation.half_precision import Choice
from glu_prune.experiment import keys
from glu_prune.experiment.cell import Arm, Cell, Settings
from glu_prune.experiment.executors.local import local_engine
from glu_prune.experiment.open_dtype import settled
from glu_prune.experiment.store import Store
from glu_prune.models.source import locate

SOURCE = locate("tiny-base")
OPEN = Settings("auto")


@pytest.fixture
def takes(monkeypatch):
    """Sets what is chosen; gives the list of models that it was chosen for."""
    asked = []

    def given(dtype: str, why: str = "it is faster") -> list:
        def choose(source, attention):
            asked.append(source.name)
            return Choice(dtype, why)

        monkeypatch.setattr(half_precision, "choose", choose)
        return asked

    return given


def test_what_is_not_open_stays_as_it_is(tmp_path):
    assert settled(Settings("float16"), SOURCE, Store(tmp_path / "store"), pytest.fail) == Settings("float16")
    assert not (tmp_path / "store").exists()


def test_what_was_chosen_is_kept_whatever_is_measured_later(tmp_path, takes):
    said = []
    asked = takes("bfloat16")
    first = settled(OPEN, SOURCE, Store(tmp_path), said.append)
    assert first == Settings("bfloat16", dtype_why="it is faster")
    assert said == ["tiny-base: auto is bfloat16: it is faster"]
    takes("float32", "it is slower")
    assert settled(OPEN, SOURCE, Store(tmp_path), said.append) == first
    assert (len(asked), len(said)) == (1, 1)


def test_another_model_and_another_machine_are_chosen_for_anew(tmp_path, takes, monkeypatch):
    asked = takes("bfloat16")
    for source in (SOURCE, locate("tiny-instruct"), SOURCE):
        settled(OPEN, source, Store(tmp_path), str)
    assert asked == ["tiny-base", "tiny-instruct"]
    monkeypatch.setattr(keys, "machine", lambda: "another")
    settled(OPEN, SOURCE, Store(tmp_path), str)
    assert asked == ["tiny-base", "tiny-instruct", "tiny-base"]


def test_a_choice_that_cannot_be_read_is_made_again(tmp_path, takes):
    takes("bfloat16")
    settled(OPEN, SOURCE, Store(tmp_path), str)
    (kept,) = (tmp_path / "chosen").iterdir()
    kept.write_text("{")
    takes("float32")
    assert settled(OPEN, SOURCE, Store(tmp_path), str).dtype == "float32"
    assert "float32" in kept.read_text()


def test_a_store_that_cannot_be_written_keeps_nothing_and_stops_nothing(tmp_path, takes):
    (tmp_path / "file").write_text("")
    asked = takes("bfloat16")
    for _ in range(2):
        assert settled(OPEN, SOURCE, Store(tmp_path / "file" / "store"), str).dtype == "bfloat16"
    assert len(asked) == 2


def test_a_folder_with_a_choice_is_a_store(tmp_path, takes):
    takes("bfloat16")
    settled(OPEN, SOURCE, Store(tmp_path), str)
    (tmp_path / "glu-prune-store.json").unlink()
    with Store(tmp_path).lock("0" * 64):
        assert (tmp_path / "glu-prune-store.json").exists()


@pytest.mark.parametrize(
    ("elsewhere", "named"),
    [({"device": "cuda"}, "cuda"), ({"device_map": "balanced"}, "balanced"), ({"backend": "vllm"}, "backend vllm")],
)
def test_it_can_be_left_open_for_this_processor_only(tmp_path, elsewhere, named):
    with pytest.raises(EvaluationError, match=f"^dtype 'auto' .* for {named}, name one, such as bfloat16$"):
        settled(replace(OPEN, **elsewhere), SOURCE, Store(tmp_path), pytest.fail)


def test_a_record_says_what_was_taken_and_why_and_its_key_is_that_of_the_dtype(tmp_path, takes):
    takes("bfloat16", "it is faster")
    engine = local_engine(Store(tmp_path), NoMeter("none"), str)
    found = engine.settled(OPEN, SOURCE)
    cell = Cell(SOURCE, Arm("ppm", Decimal("0.5")), "tiny_recall_mc", None, (), found)
    record = engine.record(cell)
    assert (record.settings["dtype"], record.settings["dtype_why"]) == ("bfloat16", "it is faster")
    assert record.key == replace(cell, settings=Settings("bfloat16")).key
    assert record.size.bytes == 2 * record.size.parameters
