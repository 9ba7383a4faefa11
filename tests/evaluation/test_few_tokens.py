import shutil

import pytest
import torch

from glu_prune.evaluation import few_tokens, slots

from .test_slots import CPU, How, Piece, Slots, Step, plain

COUNTS = (1, 8, 3, 1)
STARTS = (0, 61, 200, 129)

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="what is tested is compiled with gcc")


@pytest.fixture
def without_compiler(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    few_tokens.compiled.cache_clear()
    yield
    few_tokens.compiled.cache_clear()


@pytest.mark.parametrize("window", [None, 1, 5, 64, 70])
@pytest.mark.parametrize("size", [8, 64, 72, 128, 256])
@pytest.mark.parametrize(("heads", "share"), [(2, 5), (1, 1), (3, 3)])
def test_tokens_see_their_own_text_up_to_themselves(size, heads, share, window):
    """Slots lie in another order than their tokens, and what stands after the texts is never read."""
    torch.manual_seed(0)
    keys, values = (torch.full((6, heads, 220, size), torch.nan) for _ in range(2))
    queries = torch.randn(sum(COUNTS) + 2, heads, share, size) * 4
    seen = torch.full_like(queries, 7.0)
    new = few_tokens.New(queries, *torch.randn(2, len(queries), heads, size))
    pieces, first = [], 1
    for slot, start, count in zip((5, 1, 0, 3), STARTS, COUNTS, strict=True):
        for store in (keys, values):
            store[slot, :, :start] = torch.randn(heads, start, size)
        pieces.append((slot, start, count, first))
        first += count
    few_tokens.attend(new, keys, values, torch.tensor(pieces), seen, window=window, scaling=size**-0.5)
    for slot, start, count, first in pieces:
        of = [store[slot, :, : start + count].transpose(0, 1) for store in (keys, values)]
        assert torch.equal(of[0][start:], new.keys[first : first + count])
        assert torch.equal(of[1][start:], new.values[first : first + count])
        given = queries[first : first + count].flatten(1, 2)
        expected = plain(given, *of, How(size**-0.5, window, None, None), share)
        assert torch.allclose(seen[first : first + count].flatten(1, 2).double(), expected, atol=2e-6)
    assert (seen[[0, -1]] == 7).all()


def test_weights_are_exact_to_the_last_places():
    """One key of score 0 and another of less, down to where its weight is lost."""
    scores = torch.linspace(-100, 0, 4001)
    keys, values = torch.zeros(2, len(scores), 1, 2, 8)
    new = few_tokens.New(
        torch.ones(len(scores), 1, 1, 8), torch.zeros(len(scores), 1, 8), torch.ones(len(scores), 1, 8)
    )
    new.keys[:, 0, 0] = scores
    seen = torch.empty_like(new.queries)
    pieces = torch.tensor([(number, 1, 1, number) for number in range(len(scores))])
    few_tokens.attend(new, keys, values, pieces, seen, window=None, scaling=1.0)
    expected = scores.double().sigmoid()
    some = scores > -80
    assert ((seen[some, 0, 0, 0] - expected[some]).abs() / expected[some]).max() < 1e-6
    assert seen[~some].max() < 1e-34


@pytest.mark.parametrize("wrong", [torch.nan, torch.inf])
def test_what_is_not_finite_is_seen(wrong):
    keys = torch.zeros(1, 1, 70, 8)
    keys[0, 0, 66, 2] = wrong
    new, seen = few_tokens.New(torch.ones(1, 1, 1, 8), *torch.ones(2, 1, 1, 8)), torch.zeros(1, 1, 1, 8)
    pieces = torch.tensor([(0, 69, 1, 0)])
    few_tokens.attend(new, keys, torch.ones_like(keys), pieces, seen, window=None, scaling=1.0)
    assert seen.isnan().all()


def step(how: How, dtype: torch.dtype = torch.float32) -> tuple[Step, list[torch.Tensor]]:
    torch.manual_seed(0)
    pieces = [Piece(0, 0, 3), Piece(1, 0, 20), Piece(3, 0, 1)]
    made = [torch.randn(1, heads, 24, 8, dtype=dtype) for heads in (6, 2, 2)]
    return Step(Slots(4, 30), pieces, CPU), made


@pytest.mark.parametrize(
    ("how", "dtype", "calls"),
    [
        (How(None, None, None, None), torch.float32, 1),
        (How(None, 3, None, None), torch.float32, 1),
        (How(None, None, 5.0, None), torch.float32, 0),
        (How(None, None, None, torch.ones(6)), torch.float32, 0),
        (How(None, None, None, None), torch.bfloat16, 0),
    ],
)
def test_it_is_asked_for_what_it_can(how, dtype, calls, monkeypatch):
    asked = []
    attend = few_tokens.attend

    def noted(*given, **named):
        asked.append(given[3].tolist())
        attend(*given, **named)

    monkeypatch.setattr(few_tokens, "attend", noted)
    made, given = step(how, dtype)
    made.attend(0, *given, how)
    assert asked == [[[0, 0, 3, 0], [1, 0, 20, 3], [3, 0, 1, 23]]] * calls


def test_without_a_compiler_it_is_the_same(without_compiler, monkeypatch):
    how = How(None, None, None, None)
    assert few_tokens.compiled() is None
    monkeypatch.setattr(few_tokens, "attend", None)
    made, given = step(how)
    alone = made.attend(0, *given, how)
    monkeypatch.undo()
    few_tokens.compiled.cache_clear()
    assert few_tokens.compiled()
    made, given = step(how)
    assert torch.allclose(made.attend(0, *given, how), alone, atol=1e-6)


def test_a_model_is_tried_with_it(monkeypatch):
    from .test_scorer import build

    monkeypatch.setattr(few_tokens, "attend", lambda *given, **named: given[4].zero_())
    assert "changes log-likelihoods by" in (slots.slots_obstacle(build("llama"), 64) or "")
