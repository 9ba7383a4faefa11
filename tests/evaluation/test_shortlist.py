import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import linear

from glu_prune.evaluation import shortlist
from glu_prune.evaluation.decoding import Decoder, Generation, StopCriteria
from glu_prune.evaluation.shortlist import OutputLayer

from .test_scorer import TOKENIZER, build

VOCABULARY, HIDDEN = 9000, 64
NEVER = StopCriteria(TOKENIZER, (), frozenset(), frozenset())


class Counted(OutputLayer):
    """An output layer that says for how many hidden states all logits were found on second thoughts."""

    in_full = 0

    def _in_full(self, hidden):
        self.in_full += len(hidden)
        return super()._in_full(hidden)


def states(length, period, drift, noise, seed=0):
    """Hidden states of a loop that drift along a line, and differ from it by chance."""
    torch.manual_seed(seed)
    one, other = torch.randn(2, period, HIDDEN)
    share = torch.arange(length)[:, None] / length
    phase = torch.arange(length) % period
    return one[phase] + drift * share * (other - one)[phase] + noise * torch.randn(length, HIDDEN)


def weights(seed=0):
    torch.manual_seed(seed)
    return torch.randn(VOCABULARY, HIDDEN) / HIDDEN**0.5


@given(
    length=st.integers(1, 300),
    period=st.integers(1, 70),
    drift=st.sampled_from([0.0, 0.1, 1.0]),
    noise=st.sampled_from([0.0, 0.01, 0.1, 1.0]),
    seed=st.integers(0, 9),
)
def test_tokens_are_those_of_all_logits(length, period, drift, noise, seed):
    hidden, matrix = states(length, period, drift, noise, seed), weights(seed)
    assert OutputLayer(matrix).likeliest(hidden, period).equal(linear(hidden, matrix).max(-1).indices)


@given(noise=st.sampled_from([0.03, 0.1, 0.3]), seed=st.integers(0, 30))
def test_a_token_that_is_likely_only_between_is_found(noise, seed):
    """Where all logits are found it is none of the first thousand."""
    matrix, hidden = weights(seed), states(shortlist.SPACING + 1, 1, 0.5, noise, seed)
    token = int(linear(hidden[[0, -1]], matrix).sum(0).argmin())
    hidden[20] = 2 * noise * hidden[20] + 6 * matrix[token]
    assert OutputLayer(matrix).likeliest(hidden, 1)[20] == token


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_second_to_many_at_both_ends_is_found_between(share, turned):
    """One token is the likeliest between two states at which it is just beyond the short list."""
    listed = 100
    rows = torch.tensor([[1.0, -1.0]] * listed + [[-7.5, 10.5]] * listed + [[0.0, 10.0]])
    rows = torch.cat([rows, torch.full((int(2 * listed / shortlist.SHARE) - len(rows), 2), -20.0)])
    rows[0], rows[listed] = torch.tensor([[1.5, -1.0], [-7.0, 10.6]])
    hidden = torch.lerp(*torch.eye(2), share).repeat(shortlist.SPACING + 1, 1)
    hidden[[0, -1]] = torch.eye(2).flip(0) if turned else torch.eye(2)
    full = linear(hidden, rows).max(-1).indices
    assert 2 * listed in full or share < 0.5
    assert OutputLayer(rows).likeliest(hidden, 1).equal(full)


def test_a_steady_loop_needs_few_logits():
    layer = Counted(weights())
    layer.likeliest(states(257, 2, 0.2, 0.0), 2)
    assert layer.in_full < 20


def test_a_loop_that_is_none_needs_all():
    layer = Counted(weights())
    layer.likeliest(states(257, 1, 0.0, 1.0), 1)
    assert layer.in_full > 240


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_proves_nothing_and_is_noticed(value):
    """Whatever is not proven is found by all logits, which are NaN then."""
    hidden = states(257, 1, 0.1, 0.0)
    hidden[30] = value
    with pytest.raises(FloatingPointError, match="logits are NaN; the model's weights or activations"):
        OutputLayer(weights()).likeliest(hidden, 1)


def test_equal_logits_prove_nothing():
    """The first of two tokens with the same weights is said, as by all logits."""
    matrix, hidden = weights(), states(257, 1, 0.1, 0.0)
    token = int(linear(hidden[:1], matrix).argmax())
    matrix[[5, 2500]] = matrix[token].clone()
    layer = Counted(matrix)
    assert layer.likeliest(hidden, 1).equal(linear(hidden, matrix).max(-1).indices)
    assert layer.in_full > 240


@given(vocabulary=st.integers(2, 200))
def test_small_vocabularies_are_no_matter(vocabulary):
    matrix, hidden = weights()[:vocabulary], states(257, 1, 0.1, 0.0)
    assert OutputLayer(matrix).likeliest(hidden, 1).equal(linear(hidden, matrix).max(-1).indices)


def test_loops_are_followed_by_short_lists(monkeypatch):
    """That a model says the same without them is tested where its texts are compared with the plain way's."""
    model = build("gemma3", vocab_size=len(TOKENIZER), max_position_embeddings=1024)
    layers = []
    monkeypatch.setattr(OutputLayer, "of", lambda model: layers.append(Counted(model.lm_head.weight)) or layers[-1])
    rows = [Generation([number], 900, NEVER) for number in range(5, 9)]
    Decoder(model, 4).run(rows)
    short = [row.generated for row in rows]
    monkeypatch.setattr(OutputLayer, "of", lambda _: None)
    rows = [Generation([number], 900, NEVER) for number in range(5, 9)]
    Decoder(model, 4).run(rows)
    assert [row.generated for row in rows] == short
    assert layers[0].in_full < 900


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_oss"])
def test_only_plain_products_are_taken(family):
    model = build(family, vocab_size=len(TOKENIZER))
    assert (OutputLayer.of(model) is None) == (family == "gemma2")


def test_scaled_logits_and_other_dtypes_are_not_taken():
    model = build("llama", vocab_size=len(TOKENIZER))
    model.lm_head.register_forward_hook(lambda _module, _inputs, logits: 2 * logits)
    assert OutputLayer.of(model) is None
    assert OutputLayer.of(build("llama", vocab_size=len(TOKENIZER), dtype=torch.bfloat16)) is None
