"""Texts that a stopped run has written are not written again."""

import json

import pytest

from glu_prune.evaluation.decoding import Generation
from glu_prune.evaluation.drafts import Drafts
from glu_prune.evaluation.scorer import SharedPrefixLM

from .test_decoding import NEVER, model_of, requests
from .test_scorer import TOKENIZER


class StoppedError(Exception):
    """The run is killed."""


def lm_with(model, file, told=lambda _: None) -> SharedPrefixLM:
    lm = SharedPrefixLM(model, TOKENIZER, 4)
    lm.drafts = Drafts(file, told)
    return lm


def test_a_stopped_run_goes_on_after_what_it_has_written(tmp_path):
    model, asked, file = model_of(), requests(12), tmp_path / "drafts" / "a.jsonl"
    expected = SharedPrefixLM(model, TOKENIZER, 4).generate_until(asked)
    whole = lm_with(model, None)
    assert whole.generate_until(asked) == expected
    stopped = lm_with(model, file)
    stopped.items = 12

    def stop(done: int, *_: int) -> None:
        if done >= 5:
            raise StoppedError

    stopped.progress = stop
    with pytest.raises(StoppedError):
        stopped.generate_until(asked)
    file.write_bytes(file.read_bytes() + b'\n["of a line that was being writ')
    told: list[int] = []
    again = lm_with(model, file, told.append)
    seen: list[int] = []
    again.items, again.progress = 12, lambda done, *_: seen.append(done)
    assert again.generate_until(asked) == expected
    assert told == [again.drafts.taken]
    assert 5 <= again.drafts.taken < 12
    assert seen[0] >= 5, "progress counts what is there"
    assert seen[-1] == 12
    assert 0 < again.positions < whole.positions
    third = lm_with(model, file)
    assert third.generate_until(asked) == expected
    assert (third.drafts.taken, third.positions) == (12, 0)


def row(prompt=(1, 2, 3), limit=3) -> Generation:
    return Generation(prompt, limit, NEVER)


def kept(file) -> None:
    done = row()
    for token in (7, 8, 9):
        done.append_token(token, near_tie=True)
    Drafts(file).keep(done)


def test_texts_come_back_whole_with_their_near_ties(tmp_path):
    file = tmp_path / "a.jsonl"
    kept(file)
    again = row()
    assert Drafts(file).left([again]) == []
    assert (again.generated, again.finished, again.near_tie) == ([7, 8, 9], True, True)


@pytest.mark.parametrize("other", [{"prompt": (1, 2)}, {"limit": 4}])
def test_texts_of_other_prompts_and_limits_are_not_taken(tmp_path, other):
    file = tmp_path / "a.jsonl"
    kept(file)
    asked = row(**other)
    assert Drafts(file).left([asked]) == [asked]
    assert (asked.generated, asked.finished, asked.near_tie) == ([], False, False)


@pytest.mark.parametrize("tokens", [[7, 8], [7, 8, 9, 10], []])
def test_what_is_no_whole_text_is_written_again(tmp_path, tokens):
    file = tmp_path / "a.jsonl"
    kept(file)
    digest, *_ = json.loads(file.read_text())
    file.write_text(json.dumps([digest, tokens, True]))
    asked = row()
    assert Drafts(file).left([asked]) == [asked]
    assert (asked.generated, asked.finished, asked.near_tie) == ([], False, False)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b'{"a": 1}', b"[1, 2, 3]", b'["a", null, true]', b"\n\n"])
def test_a_file_of_anything_else_holds_no_text(tmp_path, content):
    file = tmp_path / "a.jsonl"
    file.write_bytes(content)
    asked = row()
    assert Drafts(file).left([asked]) == [asked]


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    kept(tmp_path / "file" / "a.jsonl")
