"""A baseline on disk: what is saved is loaded, and nothing else is."""

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.baseline.file import Environment, load, path_of, save
from glu_prune.baseline.outcome import Band
from glu_prune.errors import BaselineError
from tests.helpers.outcomes import made, names

HERE = Environment(machine="a computer", versions={"torch": "2"})
TWO = [
    made([0.25, 1.0, 0.0], arm="ppm-0.5", weights=[1.0, 2.0, 1.0], band=Band(score=0.1, items=1, run="again")),
    made([1.0, 0.0], task="u", clusters=["a", "b"], floor=0.5, floor_of="majority answer", comparable={"part": "0-2"}),
]
finite = st.floats(-700, 700)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "new" / "mine.json"
    assert save(path, HERE, TWO) == 2
    return path


def test_what_is_saved_is_loaded(path):
    found = load(path)
    assert found.environment == HERE
    assert sorted(found.outcomes, key=lambda each: each.about.arm) == sorted(TWO, key=lambda each: each.about.arm)
    assert sorted(each.name for each in path.parent.iterdir()) == ["mine.items.parquet", "mine.json"]


@given(st.lists(st.tuples(finite, st.floats(0.001, 1000)), min_size=1, max_size=20))
def test_any_values_come_back_bit_by_bit(tmp_path_factory, items):
    values, weights = zip(*items, strict=True)
    path = tmp_path_factory.mktemp("any") / "any.json"
    whole = made(values, weights=weights)
    save(path, HERE, [whole])
    assert load(path).outcomes == (whole,)


def test_the_same_outcomes_in_any_order_make_the_same_bytes(path, tmp_path):
    save(tmp_path / "again" / "mine.json", HERE, TWO[::-1])
    for file in path.parent.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()


def test_people_can_read_it(path):
    text = json.loads(path.read_text())
    assert path.read_text().count("\n") > 30
    assert [(each["arm"], each["score"], each["n"]) for each in text["outcomes"]] == [("dense", 0.5, 2), ("ppm-0.5", 0.5625, 3)]  # fmt: skip
    assert not any(item in path.read_text() for item in names(3))


def edited(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"score": 0.5625', '"score": 0.9', r"is 0.9 over 3 items, but 0.5625 over 3 by its items"),
        ('"n": 3', '"n": 4', r"over 4 items, but 0.5625 over 3 by its items"),
        ('"schema_version": 1', '"schema_version": 2', "is no baseline that this version reads: schema_version"),
        ('"task": "u"', '"task": 5', "is no baseline that this version reads"),
        ('"score": 0.5625', '"score": NaN', "is no baseline that this version reads"),
        ('"environment"', '"enviroment"', "is no baseline that this version reads"),
        ("{", "", "is no baseline that this version reads"),
    ],
)
def test_a_text_that_was_edited_is_refused(path, old, new, why):
    edited(path, old, new)
    with pytest.raises(BaselineError, match=why) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    assert "pin it again with --glu-save-baseline" in str(caught.value)


def test_items_that_are_missing_or_of_another_baseline_are_refused(path):
    items = path.with_name("mine.items.parquet")
    content = items.read_bytes()
    items.write_bytes(content[:-1])
    with pytest.raises(BaselineError, match=r"mine\.items\.parquet does not belong to mine\.json"):
        load(path)
    items.unlink()
    with pytest.raises(BaselineError, match=r"mine\.items\.parquet, the items of mine\.json, cannot be read"):
        load(path)


def test_items_with_a_right_checksum_and_no_sense_are_refused(path):
    import hashlib

    items = path.with_name("mine.items.parquet")
    edited(path, hashlib.sha256(items.read_bytes()).hexdigest(), hashlib.sha256(b"PAR1 not").hexdigest())
    items.write_bytes(b"PAR1 not")
    with pytest.raises(BaselineError, match="holds no items of a baseline"):
        load(path)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a..b", "x" * 101, "a\nb", "C:x", "-x", "é"])
def test_a_name_that_could_leave_the_folder_is_refused(tmp_path, name):
    with pytest.raises(BaselineError, match="is not allowed; it is at most 100 letters"):
        path_of(tmp_path, name)


def test_nothing_is_not_saved_as_something(tmp_path):
    with pytest.raises(BaselineError, match="nothing to pin"):
        save(tmp_path / "x.json", HERE, [])
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_leaves_what_was_there(path, monkeypatch):
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BaselineError, match=r"cannot be written: .*No space left on device; choose another folder"):
        save(path, HERE, TWO[:1])
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
