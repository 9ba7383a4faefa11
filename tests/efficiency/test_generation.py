import pytest
import torch
from transformers import GenerationConfig

from glu_prune.efficiency.generation import Generator, padded
from glu_prune.errors import WorkloadError
from tests.helpers.models import llama

BATCH = ((5, 9, 3, 7, 2), (11,), (4, 4, 8))


def model(seed: int = 0):
    """A Llama whose answers depend on all of the prompt, and vary."""
    made = llama(tied=False, seed=seed)
    for name, parameter in made.named_parameters():
        if parameter.ndim == 2:
            torch.nn.init.normal_(parameter, std=1.0 if "embed" in name else 0.5)
    made.generation_config.eos_token_id = None
    return made


def greedy(made, prompt, count: int, suppressed=()) -> list[int]:
    """What the model answers, by whole forward passes."""
    ids = list(prompt)
    for _ in range(count):
        with torch.no_grad():
            scores = made(torch.tensor([ids]), use_cache=False).logits[0, -1]
        scores[list(suppressed)] = -torch.inf
        ids.append(int(scores.argmax()))
    return ids[len(prompt) :]


def asked(made, batch, new_tokens: int) -> dict:
    """What went into the model's `generate` while it was measured, and what came out."""
    seen, generate = {}, made.generate

    def watched(**options):
        seen.update(options, tokens=generate(**options))
        return seen["tokens"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(made, "generate", watched)
        seen["times"] = Generator(made)(padded(batch, made.device), new_tokens)
    seen["answers"] = [row[-new_tokens:] for row in seen["tokens"].tolist()]
    return seen


def changed(made, **settings):
    """The model, whose `generate` has a will of its own."""
    generate = made.generate

    def willful(generation_config, **options):
        generation_config.update(**settings)
        return generate(generation_config=generation_config, **options)

    made.generate = willful
    return made


def test_a_batch_is_padded_on_the_left_and_padding_is_masked():
    made = padded(((1, 2, 3), (4,)), "cpu")
    assert made.input_ids.tolist() == [[1, 2, 3], [0, 0, 4]]
    assert made.attention_mask.tolist() == [[1, 1, 1], [0, 0, 1]]
    assert made.prompt_tokens == 4


@pytest.mark.parametrize("seed", range(4))
def test_every_row_of_a_padded_batch_gets_the_answer_that_it_gets_alone(seed):
    made = model(seed)
    alone = [asked(made, (row,), 6)["answers"][0] for row in BATCH]
    assert asked(made, BATCH, 6)["answers"] == alone == [greedy(made, row, 6) for row in BATCH]
    assert len({tuple(answer) for answer in alone}) == len(BATCH)


@pytest.mark.parametrize("new_tokens", [1, 2, 7])
def test_a_model_that_would_end_at_once_gives_exactly_so_many_tokens(new_tokens):
    made = model()
    ends = [greedy(made, row, 1)[0] for row in BATCH]
    made.generation_config.eos_token_id = ends
    batch = padded(BATCH, "cpu")
    assert (
        made.generate(batch.input_ids, attention_mask=batch.attention_mask, pad_token_id=0, max_new_tokens=5).shape[1]
        == 6
    )
    found = asked(made, BATCH, new_tokens)
    assert found["tokens"].shape == (3, 5 + new_tokens)
    assert found["answers"] == [greedy(made, row, new_tokens, ends) for row in BATCH]


def test_the_end_of_text_of_the_configuration_is_suppressed_where_no_other_is_known():
    made = model()
    made.config.eos_token_id = greedy(made, BATCH[0], 1)[0]
    assert asked(made, BATCH[:1], 5)["answers"] == [greedy(made, BATCH[0], 5, [made.config.eos_token_id])]


@pytest.mark.parametrize("new_tokens", [1, 2, 7])
def test_the_clock_is_read_once_per_token_in_order(new_tokens):
    found = asked(model(), BATCH, new_tokens)
    (marks,) = found["stopping_criteria"]
    assert len(marks.taken) == new_tokens
    assert marks.taken == sorted(marks.taken)
    assert 0 < found["times"][0] <= found["times"][1]
    assert found["times"][1] - found["times"][0] == pytest.approx(marks.taken[-1] - marks.taken[0])


def test_one_new_token_is_the_first_and_the_last():
    first, last = Generator(model())(padded(BATCH, "cpu"), 1)
    assert first == last > 0


def test_the_clock_of_the_processor_is_named():
    assert Generator(model()).clock == "host clock"


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"max_new_tokens": 2, "min_new_tokens": 2}, "2 came in 2 steps"),
        ({"max_new_tokens": 5}, "5 came in 5 steps"),
        ({"max_time": 1e-9}, "1 came in 1 steps"),
    ],
)
def test_a_model_that_gives_fewer_or_more_tokens_is_refused(settings, found):
    with pytest.raises(WorkloadError, match=f"4 new tokens were asked for, {found}; no figure holds"):
        Generator(changed(model(), **settings))(padded(BATCH, "cpu"), 4)


def test_a_model_that_gives_several_tokens_in_one_step_is_refused():
    made = changed(model(), prompt_lookup_num_tokens=3)
    row = BATCH[0] + tuple(greedy(made, BATCH[0], 4))
    copied = (*row, *row)[: 16 - 4]
    with pytest.raises(WorkloadError, match=r"4 new tokens were asked for, 4 came in [123] steps"):
        Generator(made)(padded((copied,), "cpu"), 4)


LEAKS = {
    "sampling": {"do_sample": True, "temperature": 1000.0},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "a penalty": {"repetition_penalty": 1e6},
    "n-grams": {"no_repeat_ngram_size": 1},
    "guidance": {"guidance_scale": 9.0},
    "lengths": {"max_length": 3, "min_length": 15, "max_time": 1e-9},
    "speculation": {"prompt_lookup_num_tokens": 3},
    "no cache": {"use_cache": False},
    "another cache": {"cache_implementation": "static"},
    "what is returned": {"return_dict_in_generate": True, "output_scores": True},
    "strings": {"stop_strings": ["x"]},
    "a forced end": {"forced_eos_token_id": 1, "suppress_tokens": list(range(2, 32))},
}


@pytest.mark.parametrize("leak", LEAKS)
def test_generation_settings_of_the_model_are_not_used_and_not_lost(leak):
    made = model()
    expected = [greedy(made, row, 6) for row in BATCH]
    own = made.generation_config = GenerationConfig(**LEAKS[leak])
    before = own.to_dict()
    found = asked(made, BATCH, 6)
    assert found["answers"] == expected
    assert made.generation_config is own
    assert own.to_dict() == before


def test_settings_are_the_models_again_after_an_error():
    made = changed(model(), max_new_tokens=5)
    own = made.generation_config
    with pytest.raises(WorkloadError):
        Generator(made)(padded(BATCH, "cpu"), 4)
    assert made.generation_config is own


def test_answers_are_the_same_every_time():
    made = model()
    made.generation_config = GenerationConfig(do_sample=True, temperature=1000.0)
    answers = [asked(made, BATCH, 6)["answers"] for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
