from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from glu_prune.evaluation.guessing import Echo, Odds

FEW = st.integers(0, 3)


@given(start=st.lists(FEW, max_size=30), loop=st.lists(FEW, min_size=1, max_size=16))
def test_a_loop_is_guessed_to_go_on(start, loop):
    echo = Echo([*start, *loop * 6])
    assert echo.agreed >= 2 * len(loop)
    assert echo.guess(50) == (loop * 50)[:50]


@given(text=st.lists(FEW, max_size=80))
def test_what_agreed_stands_at_the_end_and_before_the_guess(text):
    echo = Echo(text)
    pairs = set(pairwise(text[:-1]))
    assert (echo.agreed > 0) == (tuple(text[-2:]) in pairs)
    if echo.agreed:
        guess = echo.guess(5)
        assert guess
        stem = text[len(text) - echo.agreed :]
        begins = range(len(text) - len(stem))
        assert any((text[at:] + guess)[: len(stem) + len(guess)] == stem + guess for at in begins)


def test_without_a_repetition_nothing_is_guessed():
    echo = Echo(range(40))
    assert (echo.agreed, echo.guess(5)) == (0, [])
    assert list(Odds().further(0, 3)) == [0, 0, 0]


def test_what_fails_is_less_likely_and_what_holds_likelier():
    odds = Odds()
    first = list(odds.further(3, 50))
    assert 0.5 < first[0] < 0.8
    assert first == sorted(first, reverse=True)
    assert first[-1] < 0.1
    for _ in range(20):
        odds.learn(3, 0, 1)
        odds.learn(30, 20, 20)
    assert next(odds.further(3, 50)) < 0.1
    assert list(odds.further(30, 5))[-1] > 0.9
