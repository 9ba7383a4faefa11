import json
import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils_hf import MultiTokenEOSCriteria
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from glu_prune.evaluation import decoding, local_data
from glu_prune.evaluation.decoding import Decoder, Generation, StopCriteria, greedy_obstacle, stop_criteria
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.lm import ANSWER_LIMIT, CountingLM
from glu_prune.evaluation.scorer import BATCHED, SharedPrefixLM
from glu_prune.evaluation.shortlist import OutputLayer
from glu_prune.models.source import load, locate

from .test_scorer import DYNAMIC, EACH_FAMILY, TOKENIZER, Blind, build, of_class

REAL = os.environ.get(local_data.VARIABLE)
needs_data = pytest.mark.skipif(not REAL, reason=f"{local_data.VARIABLE} names no folder of benchmark data")
LENGTH, LIMIT = 128, 24
NEVER = StopCriteria(TOKENIZER, (), frozenset(), frozenset())
WORDS = ["Anna", "lives", "in", "Rome.", "Where", "does", "Bo", "live?", "1", "2", "\n", "é", "日本"]


def model_of(family="llama", **changes):
    return build(family, vocab_size=len(TOKENIZER), max_position_embeddings=LENGTH, **changes)


def requests(count, seed=0, **settings):
    """Prompts of 1 to about 100 tokens, the longest of which must be truncated."""
    draw = random.Random(seed)
    texts = [" ".join(draw.choices(WORDS, k=draw.choice([1, 2, 5, 10, 20, 40]))) for _ in range(count)]
    return [SimpleNamespace(args=(text, {"until": [], "max_gen_toks": LIMIT, **settings})) for text in texts]


def plain_texts(model, asked, tokenizer=TOKENIZER, batch_size=1):
    return CountingLM(model, tokenizer, batch_size).generate_until(asked, disable_tqdm=True)


def texts(model, asked, batch_size, tokenizer=TOKENIZER):
    lm = SharedPrefixLM(model, tokenizer, batch_size)
    assert lm.generating == BATCHED
    return lm.generate_until(asked)


@pytest.fixture
def shapes():
    """The shapes of what goes into a model that `watch` was called with."""
    seen = []

    def watch(model):
        model.base_model.register_forward_pre_hook(lambda _module, args, given: seen.append((args[0] if args else given["input_ids"]).shape), with_kwargs=True)  # fmt: skip
        return model

    return SimpleNamespace(seen=seen, watch=watch)


@EACH_FAMILY
def test_families_say_what_they_say_by_the_plain_way(family):
    model, asked = model_of(family), requests(10)
    expected = plain_texts(model, asked)
    assert len(set(expected)) > 5
    for batch_size in (1, 3, 64):
        assert texts(model, asked, batch_size) == expected
    assert plain_texts(model, asked, batch_size=3) == expected


@EACH_FAMILY
def test_loops_that_end_are_left(family, monkeypatch):
    """A model that says few different tokens soon says two of them again, and then often something else."""
    monkeypatch.setattr(decoding, "LOOP_TOKENS", 2)
    monkeypatch.setattr(decoding, "LOOP_CHECK_INTERVAL", 1)
    left = []
    follow = Decoder._follow_loop
    monkeypatch.setattr(Decoder, "_follow_loop", lambda self, batch: (follow(self, batch), left.extend(batch.rows)))
    model, asked = model_of(family, tie_word_embeddings=False), requests(8, seed=1)
    weight = torch.zeros_like(model.lm_head.weight)
    torch.manual_seed(0)
    weight[300:330] = 0.3 * torch.randn(30, weight.shape[1])
    model.lm_head.weight = torch.nn.Parameter(weight)
    assert texts(model, asked, 3) == plain_texts(model, asked)
    assert any(row.loop_threshold > 2 for row in left)


def said_freely(model):
    """The tokens that a model says after each of the prompts."""
    rows = [Generation(TOKENIZER(request.args[0]).input_ids[-60:], LIMIT, NEVER) for request in requests(10)]
    Decoder(model, 64).run(rows)
    return [row.generated for row in rows]


@pytest.mark.parametrize(
    "family",
    ["gemma3", *(pytest.param(each, marks=pytest.mark.slow("repeats gemma3")) for each in ("llama", "qwen2, window"))],
)
def test_stop_strings_end_texts(family):
    """Strings of tokens that follow each other, of parts of two tokens, and of what any text may hold."""
    model = model_of(family)
    texts_said = [TOKENIZER.decode(said) for said in said_freely(model)]
    across = [TOKENIZER.decode(said[9:10])[-1:] + TOKENIZER.decode(said[10:11])[:1] for said in said_freely(model)]
    for until in ([text[20:26] for text in texts_said], across, ["e", " a"], ["日", "\n"], " ", [""]):
        asked = requests(6, until=until)
        expected = plain_texts(model, asked)
        for batch_size in (1, 3, 64):
            assert texts(model, asked, batch_size) == expected
    assert max(map(len, expected)) < 20


def test_each_of_several_tokens_ends_texts():
    model, asked = model_of("gemma3"), requests(6)
    free = plain_texts(model, asked)
    for ends in ([0, *(said[10] for said in said_freely(model))], said_freely(model)[0][5], None):
        model.generation_config.eos_token_id = ends
        expected = plain_texts(model, asked)
        assert (expected == free) == (ends is None)
        for batch_size in (1, 3, 64):
            assert texts(model, asked, batch_size) == expected


def test_settings_may_differ_between_requests():
    model = model_of()
    asked = [*requests(3, max_gen_toks=5), *requests(3), *requests(3, until=["e"]), *requests(2, max_gen_toks=100)]
    assert texts(model, asked, 4) == plain_texts(model, asked)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("family", ["gemma2", "mistral, window"])
def test_limits_are_exact(family, batch_size):
    rows = [Generation(list(range(1, 2 + number)), 1 + 11 * number, NEVER) for number in range(9)]
    decoder = Decoder(model_of(family), batch_size)
    decoder.run(rows)
    assert [len(row.generated) for row in rows] == [row.limit for row in rows]
    decoder.run([])


def test_rows_that_are_over_are_soon_dropped(monkeypatch):
    """Whether they are few or many, and what stood at the left of the others with them."""
    monkeypatch.setattr(decoding, "LOOP_TOKENS", 1000)
    monkeypatch.setattr(decoding, "SPARE_POSITIONS", 8)
    model, widths = model_of(), []
    model.register_forward_pre_hook(lambda _module, _args, given: widths.append(given["attention_mask"].shape), with_kwargs=True)  # fmt: skip
    rows = [Generation(list(range(1, 60)), 2, NEVER), *(Generation([1, 2, number], 40, NEVER) for number in range(7))]
    Decoder(model, 8).run(rows)
    assert [len(row.generated) for row in rows] == [2, *[40] * 7]
    assert max(columns for _, columns in widths) <= 59 + 8
    assert widths[-1] == (7, 3 + 39)


def test_rows_wait_until_there_is_room(shapes):
    model, asked = shapes.watch(model_of("gemma2")), requests(20)
    assert texts(model, asked, 4) == plain_texts(model_of("gemma2"), asked)
    assert max(rows for rows, _ in shapes.seen) == 4


def test_padding_that_no_row_needs_is_dropped(monkeypatch):
    monkeypatch.setattr(decoding, "LOOP_TOKENS", 1000)
    model = model_of()
    long, short = Generation(list(range(1, 60)), 2, NEVER), Generation([1, 2, 3], 40, NEVER)
    widths = []
    model.register_forward_pre_hook(lambda _module, _args, given: widths.append(given["attention_mask"].shape[1]), with_kwargs=True)  # fmt: skip
    decoder = Decoder(model, 2)
    decoder.run([long, short])
    assert widths[:3] == [59, 60, 5]
    assert decoder.positions == 2 * 59 + 2 + 38


def test_loops_are_followed_many_tokens_at_a_time(shapes, monkeypatch):
    monkeypatch.setattr(OutputLayer, "of", lambda model: OutputLayer(model.lm_head.weight))
    model = shapes.watch(model_of("gemma3"))
    rows = [Generation([number], 100, NEVER) for number in range(5, 9)]
    decoder = Decoder(model, 4)
    decoder.run(rows)
    assert any(row.period() for row in rows)
    assert len(shapes.seen) < 80
    assert decoder.positions == sum(rows * tokens for rows, tokens in shapes.seen)
    asked = requests(6)
    lm = SharedPrefixLM(model, TOKENIZER, 4)
    assert lm.generating == BATCHED
    shapes.seen.clear()
    lm.generate_until(asked)
    assert lm.positions == sum(rows * tokens for rows, tokens in shapes.seen)
    assert lm.scored_positions == 0


def test_only_needed_logits_are_computed():
    model, counts = model_of("gemma3"), []
    model.lm_head.register_forward_hook(lambda _module, _inputs, logits: counts.append(logits.shape[:2]))
    Decoder(model, 3).run([Generation(list(range(1, length)), 20, NEVER) for length in (3, 20, 40)])
    assert all(tokens == 1 or rows == 1 for rows, tokens in counts)


@given(start=st.lists(st.integers(0, 5), max_size=30), loop=st.lists(st.integers(0, 5), min_size=1, max_size=16))
def test_loops_are_found(start, loop):
    row = Generation([], 2000, NEVER, generated=start + loop * (1 + max(2, -(-decoding.LOOP_TOKENS // len(loop)))))
    period = row.period()
    assert 0 < period <= len(loop)
    draft = row.draft(period, 50)
    assert len(draft) == 50
    again = Generation([], 2000, NEVER, generated=row.generated + draft)
    assert again.generated[-50 - period :][:50] == draft


@given(said=st.lists(st.integers(0, 2), min_size=1, max_size=80))
def test_what_does_not_repeat_is_no_loop(said):
    period = Generation([], 100, NEVER, generated=said, loop_threshold=4).period()
    if period:
        seen = max(2 * period, period + 4)
        assert all(said[-at] == said[-at - period] for at in range(1, seen - period + 1))
    assert Generation([], 100, NEVER, generated=list(range(80))).period() == 0


def metaspace():
    """A tokenizer in the manner of SentencePiece, whose decoder drops the first space, with bytes for what it lacks."""
    pieces = [
        "<unk>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        "a",
        "b",
        ".",
        "▁a",
        "▁b",
        "a.",
        "\n",
        "\n\n",
        "▁▁",
    ]
    inner = Tokenizer(models.BPE({piece: at for at, piece in enumerate(pieces)}, [("▁", "a"), ("▁", "b"), ("a", "."), ("\n", "\n"), ("▁", "▁")], unk_token="<unk>", byte_fallback=True))  # fmt: skip
    inner.pre_tokenizer = pre_tokenizers.Metaspace()
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])  # fmt: skip
    return transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", pad_token="</s>")


def cleaning():
    return transformers.PreTrainedTokenizerFast(tokenizer_object=metaspace().backend_tokenizer, eos_token="</s>", clean_up_tokenization_spaces=True)  # fmt: skip


TOKENIZERS = {"bytes": TOKENIZER, "metaspace": metaspace(), "cleaning": cleaning()}
STOPS = [
    " ",
    "a ",
    " a",
    "a.",
    "..",
    "\n\n",
    "é",
    "日本",
    "本a",
    "b a",
    "a b",
    "\n ",
    "</s>",
    "<|endoftext|>",
    "a\ufffd",
]
WRITTEN = ["a", "b", " ", ".", "\n", "é", "日", "本", "a.", "\n\n", "</s>", "<|endoftext|>"]


@pytest.mark.parametrize("name", TOKENIZERS)
@given(data=st.data(), stops=st.lists(st.sampled_from(STOPS), min_size=1, max_size=3, unique=True))
def test_texts_end_where_lm_eval_ends_them(name, data, stops):
    """Token by token, whole texts and their tokens in any order."""
    tokenizer = TOKENIZERS[name]
    parts = data.draw(st.lists(st.lists(st.sampled_from(WRITTEN), min_size=1, max_size=4).map("".join), max_size=8))
    said = [token for part in parts for token in tokenizer(part, add_special_tokens=False).input_ids]
    if name == "metaspace":
        said += data.draw(st.lists(st.sampled_from([258, 259, 260, 261, 262, 263, 264, 265, 2 + 0xC3, 2 + 0xA9])))
    criteria = [MultiTokenEOSCriteria(stop, tokenizer, 0, 1) for stop in stops]
    expected = [any(each(torch.tensor([said[:end]]), None) for each in criteria) for end in range(1, len(said) + 1)]
    rule = stop_criteria(tokenizer, tuple(stops), frozenset())
    found = [rule.reached(said[:end]) for end in range(1, len(said) + 1)]
    assert (True in found, (*found, True).index(True)) == (True in expected, (*expected, True).index(True))


def test_few_tokens_are_looked_at():
    assert len(stop_criteria(TOKENIZER, ("\n\n", "<|endoftext|>"), frozenset()).last_tokens) < 0.2 * len(TOKENIZER)


def test_sampling_goes_the_plain_way():
    model = model_of()
    settings = {"do_sample": True, "temperature": 2.0}
    asked = [*requests(2), *requests(3, **settings)]
    torch.manual_seed(0)
    expected = plain_texts(model, asked, batch_size=3)
    torch.manual_seed(0)
    assert texts(model, asked, 3) == expected
    assert plain_texts(model, asked, batch_size=3) != expected


@pytest.mark.parametrize("settings", [{"num_beams": 3}, {"repetition_penalty": 1.5}, {"min_new_tokens": 9}])
def test_settings_that_change_what_is_said_go_the_plain_way(settings):
    model, asked = model_of(), requests(3, until=["e"], **settings)
    assert texts(model, asked, 1) == plain_texts(model, asked)


GREEDY = [{}, {"do_sample": False}, {"temperature": 0.0}, {"do_sample": False, "temperature": 1.0}, {"max_gen_toks": None, "max_new_tokens": 7}]  # fmt: skip


@pytest.mark.parametrize("settings", GREEDY)
def test_greedy_settings_are_decoded_in_batches(settings, monkeypatch):
    model, asked = model_of(), requests(5, **settings)
    expected = plain_texts(model, asked)
    monkeypatch.setattr(CountingLM, "generate_until", None)
    assert texts(model, asked, 8) == expected


def test_an_impossible_limit_is_the_same_error():
    model, asked = model_of(), requests(2, max_gen_toks=0)
    with pytest.raises((AssertionError, ValueError)) as plain:
        plain_texts(model, asked)
    with pytest.raises(plain.type, match=r"tokens|length"):
        texts(model, asked, 2)


@pytest.mark.parametrize("limit", [LENGTH, pytest.param(10 * LENGTH, marks=pytest.mark.slow("repeats the other"))])
def test_answers_that_the_context_cannot_hold_get_half_of_it(limit):
    """lm-eval refuses such limits, so that models with a small context could not do IFEval at all."""
    model, asked = model_of(), requests(4, max_gen_toks=limit)
    with pytest.raises(AssertionError, match="must be less than model's maximum sequence length"):
        HFLM(pretrained=model, tokenizer=TOKENIZER).generate_until(asked)
    expected = plain_texts(model, requests(4, max_gen_toks=LENGTH // 2))
    for lm in (SharedPrefixLM(model, TOKENIZER, 2), CountingLM(model, TOKENIZER, 2)):
        assert lm.generate_until(asked) == expected
        assert lm.scoring_facts[ANSWER_LIMIT] == LENGTH // 2
        assert [each.args[1]["max_gen_toks"] for each in asked] == [limit] * 4
        lm.reset_counters()
        lm.generate_until(requests(1, max_gen_toks=LENGTH - 1))
        assert ANSWER_LIMIT not in lm.scoring_facts


OTHER = {
    "repetition_penalty": 1.1, "num_beams": 2, "no_repeat_ngram_size": 2, "suppress_tokens": [3], "min_new_tokens": 4,
    "forced_eos_token_id": 1, "max_new_tokens": 5, "stop_strings": ["a"], "penalty_alpha": 0.5, "guidance_scale": 2.0,
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_models_that_do_not_say_the_likeliest_go_the_plain_way(name):
    model = model_of()
    setattr(model.generation_config, name, OTHER[name])
    lm = SharedPrefixLM(model, TOKENIZER, 2)
    assert lm.generating == f"plain: the generation configuration sets {name}"


def test_a_penalty_is_applied():
    model, asked = model_of("gemma3"), requests(4)
    free = plain_texts(model, asked)
    model.generation_config.repetition_penalty = 1.5
    assert SharedPrefixLM(model, TOKENIZER, 2).generate_until(asked, disable_tqdm=True) != free


def test_settings_of_sampling_do_not_matter():
    config = transformers.GenerationConfig(temperature=0.6, top_p=0.9, top_k=20, do_sample=True, repetition_penalty=1.0, num_beams=1)  # fmt: skip
    assert greedy_obstacle(config) is None


@pytest.mark.parametrize("case", ["dynamic RoPE", "ignores the mask"])
def test_what_is_not_proven_goes_the_plain_way(case):
    asked = requests(2, max_gen_toks=4)
    model = model_of(rope_parameters=DYNAMIC) if case == "dynamic RoPE" else of_class(Blind)
    lm = SharedPrefixLM(model, TOKENIZER, 2)
    assert lm.generating == lm.scoring
    assert lm.generating.startswith("plain: ")
    if case == "dynamic RoPE":
        assert lm.generate_until(asked, disable_tqdm=True) == plain_texts(model, asked, batch_size=2)


def test_thoughts_go_the_plain_way():
    lm = SharedPrefixLM(model_of(), TOKENIZER, 2)
    lm.think_end_token = "</think>"
    assert lm.generating == "plain: answers begin with thoughts"


def test_half_precision_says_the_same_row_by_row(monkeypatch):
    """With other rows or a draft in a pass, sums are rounded otherwise, and tokens that are about as likely swap."""
    monkeypatch.setattr(decoding, "LOOP_TOKENS", 1000)
    model, asked = model_of(dtype=torch.bfloat16), requests(6)
    assert texts(model, asked, 1) == plain_texts(model, asked)


def test_answers_are_given_to_the_cache_of_responses():
    lm = SharedPrefixLM(model_of(), TOKENIZER, 2)
    kept = []
    lm.cache_hook = SimpleNamespace(add_partial=lambda *given: kept.append(given))
    asked = requests(3)
    assert kept == [("generate_until", request.args, text) for request, text in zip(asked, lm.generate_until(asked), strict=True)]  # fmt: skip


def test_an_embedded_task_is_answered_as_by_the_plain_way():
    model, tokenizer = load(locate("tiny-base"), "float32", "cpu")
    plain, batched = (
        Evaluator().evaluate(kind(model, tokenizer, 64), "tiny_arithmetic") for kind in (CountingLM, SharedPrefixLM)
    )
    assert batched.outputs == plain.outputs


@needs_data
@pytest.mark.slow("answers prompts of IFEval one by one, too")
def test_a_trained_model_answers_ifeval_as_by_the_plain_way():
    model, tokenizer = load(locate(str(Path(REAL) / "stories260K")), "float32", "cpu")
    lines = (Path(REAL) / "ifeval" / "input_data.jsonl").read_text(encoding="utf-8").splitlines()[:12]
    asked = [SimpleNamespace(args=(json.loads(line)["prompt"], {"until": [], "max_gen_toks": 300})) for line in lines]
    assert texts(model, asked, 5, tokenizer) == plain_texts(model, asked, tokenizer)
