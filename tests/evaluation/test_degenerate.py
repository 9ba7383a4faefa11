import pytest
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.evaluation.degenerate import flaws

STORY = "Once upon a time a small bee went to the field with a dusty bell and asked the owl for help"


@pytest.mark.parametrize(
    ("prompt", "output", "tokens", "expected"),
    [
        ("Say.", "", 0, ("empty",)),
        ("Say.", " \n\t ", 3, ("empty",)),
        ("Say.", STORY, 22, ()),
        ("Say.", "the " * 40, 40, ("loop",)),
        ("Say.", "the " * 64, 64, ("loop", "cut")),
        ("Say.", f"{STORY}. " * 3, 60, ("loop",)),
        (f"Repeat: {STORY}", STORY, 22, ("echo",)),
        (f"Repeat: {STORY}", f"{STORY} " * 3, 64, ("loop", "echo", "cut")),
        ("Say.", "yes yes yes yes", 4, ()),
        ("What is 1 plus 1?", "2", 1, ()),
        ("Say.", STORY, 61, ("cut",)),
        ("Say.", STORY, 60, ()),
    ],
)
def test_what_is_wrong_with_a_text(prompt, output, tokens, expected):
    assert flaws(prompt, output, tokens, 64) == expected


@given(st.text(), st.text(), st.integers(0, 100))
def test_any_text_can_be_looked_at(prompt, output, tokens):
    assert set(flaws(prompt, output, tokens, 64)) <= {"empty", "loop", "echo", "cut"}


@given(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=8, max_size=26, unique=True))
def test_a_text_without_repeated_words_is_no_loop(words):
    assert "loop" not in flaws("", " ".join(words), 10, 64)


@given(st.lists(st.sampled_from("abcdefghijklmnopqrstuvwxyz"), min_size=4, max_size=20), st.integers(5, 9))
def test_a_text_said_many_times_is_a_loop(words, times):
    assert "loop" in flaws("", " ".join(words * times), 10, 64)
