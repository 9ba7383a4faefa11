import random
import re
from types import SimpleNamespace

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.evaluation import memory, prefix_sharing, prefixes
from glu_prune.evaluation.lm import CountingLM
from glu_prune.evaluation.prefixes import WORTH_CACHING, PlanCache, plan
from glu_prune.evaluation.scorer import SHARED, SharedPrefixLM
from glu_prune.models.source import load_tokenizer, locate
from tests.helpers.examples import examples
from tools.survey import tiny

VOCABULARY, MAX_LENGTH, WINDOW, ROW = 96, 64, 12, 48
LLAMA3 = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}  # fmt: skip
WINDOWS = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}
FAMILIES = {
    "llama": ("Llama", {}),
    "llama, tied": ("Llama", {"tie_word_embeddings": True}),
    "llama, llama3": ("Llama", {"rope_parameters": LLAMA3}),
    "llama, eager": ("Llama", {"attn_implementation": "eager"}),
    "mistral, window": ("Mistral", {"sliding_window": WINDOW}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "qwen2, window": ("Qwen2", {**WINDOWS, "use_sliding_window": True}),
    "qwen2": ("Qwen2", {}),
    "gemma2": ("Gemma2", {**WINDOWS, "query_pre_attn_scalar": 8, "final_logit_softcapping": 3.0, "attn_logit_softcapping": 5.0}),
    "gemma3": ("Gemma3", {**WINDOWS, "query_pre_attn_scalar": 8}),
    "qwen3": ("Qwen3", {}),
    "phi3, window": ("Phi3", {"sliding_window": WINDOW}),
    "smollm3": ("SmolLM3", {"no_rope_layers": [1, 0]}),
    "olmo2": ("Olmo2", {}),
    "gpt_oss": ("GptOss", {**WINDOWS, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}),
}  # fmt: skip
_ALWAYS = {"llama", "mistral, window", "gemma3"}
"""One of each way of attending: to all, in windows, and both."""
EACH_FAMILY = pytest.mark.parametrize(
    "family",
    [each if each in _ALWAYS else pytest.param(each, marks=pytest.mark.slow("attends as another does")) for each in FAMILIES],
)  # fmt: skip
TOKENIZER = load_tokenizer(locate("tiny-base"))


def build(family="llama", dtype=torch.float32, **changes):
    name, extra = FAMILIES[family]
    kind = f"{name}Text" if name == "Gemma3" else name
    given = {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": MAX_LENGTH, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
    } | extra | changes  # fmt: skip
    attention = given.pop("attn_implementation", None)
    config = getattr(transformers, f"{kind}Config")(**given)
    torch.manual_seed(0)
    with torch.no_grad():
        model = getattr(transformers, f"{name}ForCausalLM")._from_config(
            config, attn_implementation=attention, dtype=torch.float32
        )
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.copy_(torch.randn_like(parameter) * 0.3)
            else:
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval().to(dtype)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch):
    """Caches, recursion and several paths per step on requests of a few dozen tokens."""
    monkeypatch.setattr(memory, "TOKENS_PER_SEQUENCE", {"cpu": ROW // 16})
    monkeypatch.setattr(memory, "_PATH", ROW)


def plain_lm(model):
    """The plain way without lm-eval's cache of logits: see `test_tokens_cut_at_two_places_are_scored_each_on_its_own`."""
    lm = CountingLM(model, TOKENIZER, 16)
    lm.logits_cache = False
    return lm


def both(model, plans=None):
    lm = SharedPrefixLM(model, TOKENIZER, 16, plans)
    assert lm.scoring == SHARED
    return plain_lm(model), lm


def answers(lm, pairs):
    return lm._loglikelihood_tokens([(None, *pair) for pair in pairs], disable_tqdm=True)


def compare(model, pairs, tolerance=1e-3):
    plain, shared = (answers(lm, pairs) for lm in both(model))
    assert [value for value, _ in shared] == pytest.approx([value for value, _ in plain], rel=0, abs=tolerance)
    assert [greedy for _, greedy in shared] == [greedy for _, greedy in plain]


def requests(seed=0):
    """Six questions with related choices: shorter and longer than a step, than a window, and than the model's length."""
    draw = random.Random(seed)

    def tokens(count):
        return draw.choices(range(VOCABULARY), k=count)

    pairs = []
    for length in (2, 20, 30, 45, 62, 80):
        stem = tokens(length)
        for _ in range(4):
            context = stem + tokens(draw.randint(0, 12))
            pairs += [(context, tokens(draw.choice([1, 1, 2, 5, 20]))) for _ in range(3)]
    return pairs


def greedy_requests(model, count):
    """Continuations that the model would say, and the same with another last token."""
    context = list(range(1, 30))
    said = model.generate(torch.tensor([context]), max_new_tokens=count, do_sample=False, min_new_tokens=count)[
        0
    ].tolist()
    rest = said[len(context) :]
    return [(context, rest), (context, [*rest[:-1], (rest[-1] + 1) % VOCABULARY]), (said[:-1], said[-1:])]


@EACH_FAMILY
def test_families_score_as_by_the_plain_way(family):
    model = build(family)
    compare(model, [*requests(), *greedy_requests(model, 6)])


def test_what_the_model_would_say_is_recognised():
    model = build()
    _, lm = both(model)
    assert [greedy for _, greedy in answers(lm, greedy_requests(model, 6))] == [True, False, True]


def test_of_equally_likely_tokens_the_first_is_what_the_model_says():
    model = build()
    with torch.no_grad():
        model.lm_head.weight[50] = model.lm_head.weight[7]
        model.lm_head.weight[[7, 50]] *= 40
    pairs = [([first, second], [token]) for first in range(8) for second in range(4) for token in (7, 50)]
    plain, shared = (answers(lm, pairs) for lm in both(model))
    assert {greedy for _, greedy in shared[::2]} == {True, False}
    assert not any(greedy for _, greedy in shared[1::2])
    assert [greedy for _, greedy in shared] == [greedy for _, greedy in plain]


SPECIAL = {
    "one request": [([1, 2, 3], [4])],
    "one token each": [([5], [6])],
    "single-token continuations": [(list(range(20)), [token]) for token in range(5)],
    "long continuations": [([1], list(range(2, 2 + MAX_LENGTH))), ([1], list(range(2, 60)))],
    "duplicates": [([1, 2, 3], [4, 5])] * 3 + [([1, 2], [3, 4, 5])] * 2,
    "one path, cut elsewhere": [(list(range(cut)), list(range(cut, 50))) for cut in range(1, 50)],
    "prefixes of each other": [(list(range(end - 1)), [end - 1]) for end in range(2, MAX_LENGTH + 2)],
    "prefixes, all scored": [([0], list(range(1, end))) for end in range(2, MAX_LENGTH + 2)],
    "nothing in common": [([token, *range(50)], [token, 3]) for token in range(60, 70)],
    "truncated": [([*range(length), first], [5, 6]) for length in (62, 63, 64, 65, 90) for first in (1, 2)],
    "truncated alike": [(list(range(10, 90)), [token]) for token in range(4)],
    "truncated to its continuation": [(list(range(90)), list(range(MAX_LENGTH))), (list(range(64)), list(range(63)))],
    "a truncated one that is the start of another": [(list(range(1, 66)), [7]), (list(range(2, 40)), [40, 41])],
}  # fmt: skip


@pytest.mark.parametrize("case", SPECIAL)
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_special_requests(case, family):
    compare(build(family), SPECIAL[case])


def test_tokens_cut_at_two_places_are_scored_each_on_its_own():
    """lm-eval 0.4.13 scores the shorter continuation of the two by the logits at the start of the longer one."""
    pairs = [([1, 2, 3], [4, 5, 6]), ([1, 2, 3, 4, 5], [6])]
    _, lm = both(build())
    cached = CountingLM(build(), TOKENIZER, 16)
    alone = [answers(cached, [pair])[0][0] for pair in pairs]
    assert [value for value, _ in answers(lm, pairs)] == pytest.approx(alone, rel=0, abs=1e-3)
    assert answers(cached, pairs)[1][0] != pytest.approx(alone[1], rel=0, abs=1e-3)


def test_no_request():
    assert answers(both(build())[1], []) == []


@pytest.mark.parametrize("pair", [([], [1]), ([1], []), ([1], list(range(MAX_LENGTH + 1)))])
def test_what_cannot_be_scored_is_an_error(pair):
    plain, shared = both(build())
    with pytest.raises(AssertionError):
        answers(plain, [pair])
    with pytest.raises(ValueError, match="continuations at most 64"):
        answers(shared, [pair])


few = st.lists(st.integers(0, 2), min_size=1, max_size=6)
trees = st.lists(
    st.tuples(st.lists(few, min_size=1, max_size=3), st.integers(1, 30), few).map(
        lambda drawn: ([token for part in drawn[0] for token in part * drawn[1]][:90], drawn[2])
    ),
    min_size=1,
    max_size=20,
)
MODELS = {family: build(family) for family in ("llama", "qwen2, window")}


@pytest.mark.parametrize("family", MODELS)
@given(pairs=trees, row_tokens=st.sampled_from([1, 8, ROW, 512]), path_tokens=st.sampled_from([1, 7, ROW, 512]))
def test_any_tree_scores_as_by_the_plain_way(family, pairs, row_tokens, path_tokens):
    plain, lm = plain_lm(MODELS[family]), SharedPrefixLM(MODELS[family], TOKENIZER, 16)
    expected, found = answers(plain, pairs), lm._answers(plan(pairs, MAX_LENGTH, row_tokens, path_tokens))
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], rel=0, abs=1e-3)


@given(pairs=trees, row_tokens=st.integers(1, 100), path_tokens=st.integers(1, 100), length=st.integers(6, 100))
def test_plans_are_bounded_and_complete(pairs, row_tokens, path_tokens, length):
    made = plan(pairs, length, row_tokens, path_tokens)
    paths = {tuple((context + rest)[-(length + 1) :][:-1]) for context, rest in pairs}
    nodes = {path[:end] for path in paths for end in range(1, len(path) + 1)}
    computed = sum(len(step.tokens) for step in made.steps)
    assert len(nodes) <= computed <= sum(map(len, paths))
    assert sorted(made.destinations.tolist()) == list(range(sum(len(rest) for _, rest in pairs)))
    for step in made.steps:
        assert step.base + len(set(step.positions.tolist())) <= length
        assert len(step.tokens) <= max(row_tokens, path_tokens)
        if len(step.runs) > 1:
            assert len(step.tokens) <= row_tokens
            assert (step.visible().sum(1) == step.positions - step.base + 1).all()


@examples(10)
@given(order=st.permutations(range(len(requests()))))
def test_the_order_of_requests_does_not_matter_to_the_last_bit(order):
    pairs = requests()
    lm = SharedPrefixLM(MODELS["llama"], TOKENIZER, 16)
    expected = answers(lm, pairs)
    assert answers(lm, [pairs[index] for index in order]) == [expected[index] for index in order]


def test_shared_tokens_are_computed_once():
    stem = list(range(WORTH_CACHING + 4))
    pairs = [([*stem, token], [1, 2, 3]) for token in range(40)]
    plain, lm = both(build())
    answers(plain, pairs)
    answers(lm, pairs)
    assert lm.positions == lm.scored_positions == len(stem) + 40 * 3
    assert plain.positions == 40 * (len(stem) + 3)
    lm.reset_counters()
    lm.generate_until([SimpleNamespace(args=("", {"until": [], "max_gen_toks": 2}))], disable_tqdm=True)
    assert (lm.positions > 0, lm.scored_positions) == (True, 0)


def test_only_predicting_tokens_go_through_the_output_layer(monkeypatch):
    _, lm = both(build())
    seen = []
    lm.model.lm_head.register_forward_hook(lambda _module, _inputs, logits: seen.append(logits.shape[1]))
    answers(lm, [([*range(30), token], [1, 2]) for token in range(5)])
    assert sum(seen) == 5 * 2


def test_half_precision_is_no_further_from_the_truth():
    model = build("llama", torch.bfloat16, num_hidden_layers=4)
    exact = build("llama", num_hidden_layers=4)
    exact.load_state_dict(model.state_dict())
    pairs = [pair for seed in range(4) for pair in requests(seed)]
    truth = [value for value, _ in answers(CountingLM(exact, TOKENIZER, 16), pairs)]
    plain, shared = ([abs(value - true) for (value, _), true in zip(answers(lm, pairs), truth, strict=True)] for lm in both(model))  # fmt: skip
    assert 0 < sum(shared) <= 1.2 * sum(plain)
    assert max(shared) <= 2 * max(plain)


def asked(*args):
    return [SimpleNamespace(args=each) for each in args]


TEXTS = asked(
    ("", "Anna"), ("", "<|endoftext|>Anna lives"), ("Where does Anna live? ", "In Rome."), ("Where does Anna live?", " In Rome."),
    ("Where does Anna live?", " In"), ("Where " * 40, "does"), ("<|endoftext|>Where", " is"), ("<|endoftext|>Where", " does"), ("Where does Anna live?", " In Rome."),
)  # fmt: skip


def test_texts_score_as_by_the_plain_way():
    plain, lm = both(build(vocab_size=len(TOKENIZER)))
    expected, found = plain.loglikelihood(TEXTS, disable_tqdm=True), lm.loglikelihood(TEXTS)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], rel=0, abs=1e-3)
    assert [greedy for _, greedy in found] == [greedy for _, greedy in expected]


def test_models_share_plans_and_never_answers(monkeypatch):
    plans = PlanCache()
    model = build(vocab_size=len(TOKENIZER))
    _, lm = both(model, plans)
    first = lm.loglikelihood(TEXTS)
    with torch.no_grad():
        model.lm_head.weight.mul_(1.5)
    plain, other = both(model, plans)
    expected = plain.loglikelihood(TEXTS, disable_tqdm=True)
    monkeypatch.setattr(SharedPrefixLM, "pairs", None)
    found = other.loglikelihood(TEXTS)
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected], rel=0, abs=1e-3)
    assert all(abs(one - two) > 1e-3 for (one, _), (two, _) in zip(first, found, strict=True))


def test_plans_differ_where_tokens_do():
    plans = PlanCache()
    long, short = build(vocab_size=len(TOKENIZER)), build(vocab_size=len(TOKENIZER), max_position_embeddings=32)
    for model in (long, short):
        plain, lm = both(model, plans)
        for add_bos in (None, False):
            plain.add_bos_token = lm.add_bos_token = add_bos
            expected = [value for value, _ in plain.loglikelihood(TEXTS, disable_tqdm=True)]
            assert [value for value, _ in lm.loglikelihood(TEXTS)] == pytest.approx(expected, rel=0, abs=1e-3)


def test_the_plans_used_last_are_kept(monkeypatch):
    monkeypatch.setattr(prefixes, "TOKENS_KEPT", 5)
    plans = PlanCache()
    made = {key: plans.get(key, lambda: plan([([1], [2])], 8, 8, 8)) for key in range(5)}
    assert plans.get(0, lambda: None) is made[0]
    plans.get("another", lambda: plan([([1], [2])], 8, 8, 8))
    assert plans.get(0, lambda: None) is made[0]
    assert plans.get(1, lambda: made[2]) is made[2]


def test_rolling_windows_score_as_by_the_plain_way():
    plain, lm = both(build(vocab_size=len(TOKENIZER)))
    texts = asked(("Anna lives in Rome. " * 40,), ("Bo.",), ("",), ("Anna lives in Rome. " * 3,), ("Bo.",))
    expected, found = plain.loglikelihood_rolling(texts, disable_tqdm=True), lm.loglikelihood_rolling(texts)
    assert found == pytest.approx(expected, rel=0, abs=1e-3)
    assert lm.loglikelihood_rolling(texts[::-1]) == found[::-1]
    assert lm.positions < 2 * plain.positions


class Blind(transformers.LlamaForCausalLM):
    """Sees all tokens before the one it is at, whatever the mask says."""

    def forward(self, *args, attention_mask=None, **kwargs):
        return super().forward(*args, **kwargs)


class Uncached(transformers.LlamaForCausalLM):
    """Forgets what it is given as a cache."""

    def forward(self, *args, past_key_values=None, use_cache=None, **kwargs):
        return super().forward(*args, **kwargs)


class Unkind(transformers.LlamaForCausalLM):
    """Takes nothing but tokens."""

    def forward(self, input_ids):
        return super().forward(input_ids)


DYNAMIC = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}


def of_class(kind, dtype=torch.float32):
    model = build(dtype=dtype)
    model.__class__ = kind
    return model


PLAIN = {
    "dynamic RoPE": (lambda: build(rope_parameters=DYNAMIC, max_position_embeddings=32), "plain: dynamic RoPE"),
    "unknown type": (lambda: tiny.build("gpt_neox"), "plain: sharing is not proven for models of type gpt_neox"),
    "recurrent": (lambda: tiny.build("mamba"), "plain: sharing is not proven for models of type mamba"),
    "ignores the mask": (lambda: of_class(Blind), "plain: on random requests, sharing changes"),
    "ignores the mask in half precision": (lambda: of_class(Blind, torch.bfloat16), "plain: on random requests, sharing changes"),
    "has no cache": (lambda: of_class(Uncached), "plain: sharing fails: "),
    "takes no mask": (lambda: of_class(Unkind), "plain: sharing fails: .*unexpected keyword argument"),
}  # fmt: skip


@pytest.mark.parametrize("case", PLAIN)
def test_what_is_not_proven_goes_the_plain_way(case):
    make, reason = PLAIN[case]
    model = make()
    plain, lm = CountingLM(model, TOKENIZER, 16), SharedPrefixLM(model, TOKENIZER, 16)
    assert re.match(reason, lm.scoring)
    assert lm.positions == 0
    pairs = [pair for pair in requests() if len(pair[1]) < 10 and len(pair[0]) < 30]
    assert answers(lm, pairs) == answers(plain, pairs)
    assert lm.positions == lm.scored_positions == plain.positions


def test_the_plain_way_serves_texts_too():
    model = build(vocab_size=len(TOKENIZER), rope_parameters=DYNAMIC)
    plain, lm = CountingLM(model, TOKENIZER, 16), SharedPrefixLM(model, TOKENIZER, 16)
    assert lm.loglikelihood(TEXTS, disable_tqdm=True) == plain.loglikelihood(TEXTS, disable_tqdm=True)
    rolling = asked(("Anna lives in Rome. " * 9,))
    assert lm.loglikelihood_rolling(rolling, disable_tqdm=True) == plain.loglikelihood_rolling(
        rolling, disable_tqdm=True
    )


def test_weights_that_are_not_numbers_are_not_proven():
    model = build()
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    lm = SharedPrefixLM(model, TOKENIZER, 16)
    assert lm.scoring == "plain: on random requests, sharing changes log-likelihoods by nan nats"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"layer_types": ["full_attention", "linear_attention"]}, "layers of type linear_attention"),
        ({"rope_parameters": {"a": {"rope_type": "default"}, "b": {"rope_type": "longrope"}}}, "longrope RoPE"),
        ({"_attn_implementation": "flash_attention_2"}, "flash_attention_2 attention takes no mask"),
        ({}, None),
    ],
)  # fmt: skip
def test_reasons_against_sharing(changes, reason):
    config = {"model_type": "qwen2", "layer_types": ["full_attention"], "rope_parameters": {"rope_type": "yarn"}, "_attn_implementation": "sdpa"} | changes  # fmt: skip
    assert prefix_sharing.sharing_obstacle(SimpleNamespace(**config)) == reason


def test_short_models_are_checked_too():
    assert SharedPrefixLM(build(max_position_embeddings=8), TOKENIZER, 16).scoring == SHARED
