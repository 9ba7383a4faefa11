import pytest
import torch

from glu_prune.evaluation import slots
from glu_prune.evaluation.products import MOST_TOKENS, even, weights_on_the_left
from glu_prune.evaluation.slots import How, Piece, Slots, Step, slots_obstacle

from .test_scorer import EACH_FAMILY, build

CPU = torch.device("cpu")
HEADS, SHARE, SIZE = 2, 3, 8


@EACH_FAMILY
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_family_runs_over_slots(family, dtype):
    assert slots_obstacle(build(family).to(dtype), 64) is None


@pytest.mark.parametrize(
    ("family", "lost"),
    [
        ("mistral, window", "window"),
        ("gemma2", "cap"),
        ("gpt_oss", "sinks"),
        ("llama", "scaling"),
        ("gemma2", "window"),
    ],
)
def test_a_model_that_needs_more_than_attention_is_told_is_found_out(family, lost, monkeypatch):
    values = {"scaling": 0.01, "window": None, "cap": None, "sinks": None}
    told = slots.How
    monkeypatch.setattr(
        slots, "How", lambda *given: told(*given).__class__(**{**vars(told(*given)), lost: values[lost]})
    )
    model = build(family)
    torch.manual_seed(0)
    for parameter in model.parameters():  # as they are initialised, attention is flat, and matters little
        parameter.data = parameter.data * 3 + 0.2 * torch.randn_like(parameter)
    assert "changes log-likelihoods by" in (slots_obstacle(model, 64) or "")


def plain(query, keys, values, how, share=SHARE):
    """`(queries, heads, size)`: attention of the last tokens of one text, by definition."""
    count, length = query.shape[0], keys.shape[0]
    keys, values = (each.repeat_interleave(share, 1).double() for each in (keys, values))
    scores = torch.einsum("qhd,khd->hqk", query.double(), keys) * how.scaling
    if how.cap:
        scores = torch.tanh(scores / how.cap) * how.cap
    ahead = torch.arange(length) - torch.arange(length - count, length)[:, None]
    scores = scores.masked_fill((ahead > 0) | (ahead <= -(how.window or length)), -torch.inf)
    if how.sinks is not None:
        scores = torch.cat([scores, how.sinks.double()[:, None, None].expand(-1, count, 1)], -1)
    return torch.einsum("hqk,khd->qhd", scores.softmax(-1)[..., :length], values)


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("cap", [None, 2.0])
@pytest.mark.parametrize("sinks", [None, torch.linspace(-1, 1, HEADS * SHARE)])
def test_each_text_sees_its_own_slot_alone(window, cap, sinks):
    """Texts of several lengths and numbers of new tokens, in neighbouring slots and not, over what a slot held before."""
    how = How(0.7, window, cap, sinks)
    torch.manual_seed(0)
    store, held = Slots(9, 40), {}
    for counts in (
        {0: 7, 1: 1, 2: 20, 3: 3, 4: 3, 6: 1, 8: 2},
        {0: 1, 1: 1, 2: 1, 3: 1, 4: 2, 6: 17, 8: 1},
        {1: 4, 2: 1},
    ):
        if len(counts) == 2:  # what was guessed and rejected is written over
            held = {slot: [each[:-1] for each in parts] for slot, parts in held.items()}
        pieces = [Piece(slot, len(held[slot][0]) if slot in held else 0, count) for slot, count in counts.items()]
        total = sum(counts.values())
        query = torch.randn(1, HEADS * SHARE, total, SIZE)
        new = [torch.randn(1, HEADS, total, SIZE) for _ in range(2)]
        seen = Step(store, pieces, CPU).attend(0, query, *new, how)
        assert seen.shape == (1, total, HEADS * SHARE, SIZE)
        first = 0
        for piece in pieces:
            part = slice(first, first + piece.count)
            first += piece.count
            added = [each[0, :, part].transpose(0, 1) for each in new]
            before = held.get(piece.slot, [each[:0] for each in added])
            held[piece.slot] = [torch.cat(each) for each in zip(before, added, strict=True)]
            expected = plain(query[0, :, part].transpose(0, 1), *held[piece.slot], how)
            assert torch.allclose(seen[0, part].double(), expected, atol=1e-5)


def test_memory_is_taken_as_it_is_written_to():
    store = Slots(64, 10**5)
    like = torch.zeros(1, 8, 1, 64, dtype=torch.bfloat16)
    keys, _ = store.layer(0, like, like)
    assert keys.shape == (64, 8, 10**5, 64)
    assert keys.dtype == torch.bfloat16
    keys[3, :, :5] = 1
    store.copy(3, 63, 4)
    assert keys[63, :, :6].sum() == 4 * 8 * 64


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3, 7), (1, MOST_TOKENS + 1), (1, 0)])
def test_products_from_the_left_are_the_same(bias, shape):
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 96, bias=bias)
    states = torch.randn(*shape, 48)
    expected = layer(states)
    with torch.inference_mode(), weights_on_the_left(layer):
        assert "forward" in vars(layer)
        found = layer(states)
        turned = layer(states.transpose(-1, -2).contiguous().transpose(-1, -2))
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(turned, expected, atol=1e-5)
    assert "forward" not in vars(layer)


def test_products_are_filled_up_to_even_numbers():
    found = [even(tokens) for tokens in (1, 2, 3, 5, 8, 9, 16, 17, 31, 32, 33, 48, 128)]
    assert found == [2, 2, 4, 8, 8, 16, 16, 32, 32, 32, 48, 48, 128]


def test_layers_that_others_have_wrapped_are_left_alone():
    layers = torch.nn.ModuleList(torch.nn.Linear(4, 4) for _ in range(2))
    layers[0].forward = forward = lambda states: states
    layers[1].to(torch.bfloat16)
    with weights_on_the_left(layers):
        assert layers[0].forward is forward
        assert "forward" not in vars(layers[1])
    assert layers[0].forward is forward
