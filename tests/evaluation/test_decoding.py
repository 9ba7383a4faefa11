import json
import math
import os
import random
from operator import eq
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

from glu_prune.evaluation import decoding, local_data, memory, writer
from glu_prune.evaluation.decoding import Decoder, Generation
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.lm import ANSWER_LIMIT, CountingLM
from glu_prune.evaluation.memory import Memory
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.evaluation.stopping import StopCriteria, greedy_obstacle, stop_criteria
from glu_prune.evaluation.writer import BATCHED
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


@EACH_FAMILY
def test_families_say_what_they_say_by_the_plain_way(family):
    model, asked = model_of(family), requests(10)
    expected = plain_texts(model, asked)
    assert len(set(expected)) > 5
    for batch_size in (1, 3, 64):
        assert texts(model, asked, batch_size) == expected
    assert plain_texts(model, asked, batch_size=3) == expected


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


@pytest.fixture
def steps():
    """What `watch(model)` sees going into it: of each step, the tokens and how many are looked at, in how many texts."""
    seen = []

    def look(_module, _args, given):
        if "step" in given and "logits_to_keep" in given:
            seen.append(SimpleNamespace(tokens=given["input_ids"].shape[1], kept=len(given["logits_to_keep"]), texts=len(set(given["step"].rows.tolist()))))  # fmt: skip

    def watch(model):
        model.register_forward_pre_hook(look, with_kwargs=True)
        return model

    return SimpleNamespace(seen=seen, watch=watch)


def of_few_words(family):
    """A model that says few different tokens: it soon says two of them again, and then often something else."""
    model = model_of(family, tie_word_embeddings=False)
    weight = torch.zeros_like(model.lm_head.weight)
    torch.manual_seed(0)
    weight[300:330] = 0.3 * torch.randn(30, weight.shape[1])
    model.lm_head.weight = torch.nn.Parameter(weight)
    return model


@EACH_FAMILY
def test_guesses_that_fail_leave_no_trace(family, steps):
    model, asked = steps.watch(of_few_words(family)), requests(8, seed=1)
    said = texts(model, asked, 3)
    assert sum(step.kept for step in steps.seen) > len(asked) * LIMIT  # more than could be said
    assert said == plain_texts(of_few_words(family), asked)


@pytest.mark.parametrize("cost", [0.0, math.inf])
@pytest.mark.parametrize("step_tokens", [1, 7, 512])
def test_neither_guesses_nor_the_size_of_steps_change_what_is_said(cost, step_tokens, monkeypatch):
    monkeypatch.setattr(decoding, "GUESS_COST", cost)
    monkeypatch.setattr(decoding, "STEP_TOKENS", step_tokens)
    asked = requests(6)
    assert texts(of_few_words("gemma3"), asked, 4) == plain_texts(of_few_words("gemma3"), asked)


@pytest.mark.parametrize(
    ("odds", "rows", "room", "guesses"),
    [
        (0.3, 20, 512, 12),  # what fills the step up to 32 costs next to nothing
        (0.05, 20, 512, 0),  # but is not worth attention
        (0.3, 32, 512, 0),  # the step is full
        (0.6, 32, 512, 32),  # one after each text pays for two steps up; a second after each does not
        (0.3, 3, 512, 5),  # a step of few texts costs much whatever is in it
        (0.98, 20, 7, 7),
    ],
)
def test_guesses_are_made_where_they_pay(odds, rows, room, guesses):
    decoder = Decoder(model_of(), 64)
    decoder._odds.right = [odds * tried for tried in decoder._odds.tried]
    looping = [decoding._Row(Generation([1, 2, 1, 2, number % 2 + 1], 100, NEVER)) for number in range(rows)]
    counts = decoder._worthwhile(looping, rows, room)
    assert sum(counts) == guesses
    assert max(counts) - min(counts) <= 1, "the likeliest come first"


def test_the_last_tokens_of_a_text_are_not_exceeded():
    decoder = Decoder(model_of(), 64)
    decoder._odds.right = list(decoder._odds.tried)
    rows = [decoding._Row(Generation([1, 2, 1, 2, 1], limit, NEVER)) for limit in (1, 3, 40)]
    assert decoder._worthwhile(rows, 3, 512) == [0, 2, 39]


def test_a_text_waits_for_a_slot_and_takes_the_first_that_is_free(steps):
    model, asked = steps.watch(model_of("gemma2")), requests(20)
    assert texts(model, asked, 4) == plain_texts(model_of("gemma2"), asked)
    assert max(step.texts for step in steps.seen) == 4
    assert sum(step.texts == 4 for step in steps.seen) > 0.7 * len(steps.seen)


def test_nothing_is_padded_or_computed_twice(steps, monkeypatch):
    monkeypatch.setattr(decoding, "GUESS_COST", math.inf)
    rows = [Generation(list(range(number, 60 * number)), 10 * number, NEVER) for number in (1, 2)]
    decoder = Decoder(steps.watch(model_of()), 2)
    decoder.run(rows)
    assert decoder.positions == sum(step.tokens for step in steps.seen) == 59 + 118 + 9 + 19


def test_only_needed_logits_are_computed(steps):
    model = steps.watch(model_of("gemma3"))
    model.lm_head.register_forward_hook(lambda _module, inputs, _logits: seen.append(inputs[0].shape[1]))
    seen = []
    rows = [Generation(list(range(1, length)), 20, NEVER) for length in (3, 20, 40)]
    Decoder(model, 3).run(rows)
    assert seen == [step.kept for step in steps.seen]
    assert seen[0] == 2  # the third has the same beginning as the others, and waits for it


def test_loops_are_followed_many_tokens_at_a_time(steps):
    model = steps.watch(model_of("gemma3"))
    rows = [Generation([number], 100, NEVER) for number in range(5, 9)]
    Decoder(model, 4).run(rows)
    assert any(row.generated[-20:] == row.generated[-40:-20] for row in rows)
    assert len(steps.seen) < 80
    lm = SharedPrefixLM(model, TOKENIZER, 4)
    assert lm.generating == BATCHED
    steps.seen.clear()
    lm.reset_counters()
    lm.generate_until(requests(6))
    assert lm.positions == sum(step.tokens for step in steps.seen)
    assert lm.scored_positions == 0


def test_what_prompts_begin_with_is_computed_once(steps):
    """Worked examples before each question: also where the prompt that computes them is over first."""
    examples = list(range(1, 41))
    rows = [Generation([*examples, 50 + number], 1 + number % 5, NEVER) for number in range(10)]
    model = model_of("qwen2")
    decoder = Decoder(steps.watch(model), 4)
    decoder.run(rows)
    guessed = sum(step.kept for step in steps.seen) - sum(len(row.generated) for row in rows)
    assert decoder.positions <= 40 + 10 + sum(row.limit - 1 for row in rows) + guessed + 2 * 40
    for row in rows:
        alone = Generation(row.prompt, row.limit, NEVER)
        Decoder(model, 1).run([alone])
        assert alone.generated == row.generated


@pytest.mark.parametrize(("share", "near"), [(1 - 1e-6, True), (1 - 1e-4, False)])
def test_texts_that_rounding_may_change_are_counted(share, near):
    """Another token is as likely as one that is said, but for the last digits."""
    model, asked = model_of(), requests(3)
    lm = SharedPrefixLM(model, TOKENIZER, 3)
    lm.generate_until(asked)
    assert lm.near_ties == set()
    said = Generation(TOKENIZER(asked[1].args[0]).input_ids, LIMIT, NEVER)
    Decoder(model, 1).run([said])
    token = min(said.generated, key=said.generated.count)
    unsaid = next(each for each in range(len(TOKENIZER)) if each not in said.generated)
    weights = model.lm_head.weight.data
    weights[unsaid] = weights[token] * share
    lm.generate_until(asked)
    assert (asked[1].args[0] in lm.near_ties) == near
    if near:
        assert len(lm.near_ties) < 3
        lm.reset_counters()
        assert lm.near_ties is None


def test_a_model_is_left_as_it_was():
    model = model_of()
    before = model.config._attn_implementation
    Decoder(model, 2).run([Generation([1, 2, 3], 4, NEVER)])
    assert model.config._attn_implementation == before
    assert "forward" not in vars(model.lm_head)
    model.lm_head.weight.data[5] = float("nan")
    with pytest.raises(FloatingPointError, match="not finite"):
        Decoder(model, 2).run([Generation([1, 2, 3], 4, NEVER)])
    assert model.config._attn_implementation == before


def test_arms_of_a_model_are_tried_once(monkeypatch):
    tried = []
    monkeypatch.setattr(writer, "slots_obstacle", lambda *_: tried.append(1))
    lm = SharedPrefixLM(model_of(), TOKENIZER, 2)
    for _ in range(2):
        lm.sibling(model_of()).generate_until(requests(1))
    assert lm.generating == BATCHED
    assert tried == [1]


def test_no_more_texts_are_written_at_once_than_memory_holds(monkeypatch, steps):
    model = steps.watch(model_of())
    room = Memory(model.config, 64, 8).slot
    monkeypatch.setattr(memory, "free_memory", lambda _device: int(3.9 * room))
    rows = [Generation([number], 7, NEVER) for number in range(1, 9)]
    Decoder(model, 64).run(rows)
    assert max(step.texts for step in steps.seen) == 3


def test_half_precision_says_about_the_same(monkeypatch):
    """With other texts or guesses in a pass, sums are rounded otherwise, and tokens that are about as likely swap."""
    model, asked = model_of(dtype=torch.bfloat16), requests(6)
    same = map(eq, texts(model, asked, 1), plain_texts(model, asked))
    assert sum(same) >= 5


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
