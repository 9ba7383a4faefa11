"""The models that `glu-prune fetch` downloads, where they were fetched: converted once, then as transformers reads them."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from glu_prune.models.fetchable import FETCHABLE, fetched, how_to_fetch
from glu_prune.models.source import locate

PROMPT = "The capital of France is"
NEXT = {"smollm2-135m-instruct": " Paris", "gemma-3-270m": " the capital of the country of France"}


@pytest.fixture(params=FETCHABLE)
def name(request):
    if fetched(request.param) is None:
        pytest.skip(f"{request.param} was not fetched: {how_to_fetch(request.param)}")
    return request.param


@pytest.mark.slow("converts files of a hundred megabytes, if that was not done")
def test_text_is_what_such_a_model_says(name):
    folder = locate(name).folder
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    given = tokenizer(PROMPT, return_tensors="pt")
    written = model.generate(**given, max_new_tokens=7, do_sample=False)[0]
    assert tokenizer.decode(written, skip_special_tokens=True).startswith(PROMPT + NEXT[name])


@pytest.mark.slow("transformers reads a file of a hundred megabytes for a minute or two")
def test_logits_are_those_of_the_file_bit_for_bit(name):
    source = locate(name)
    direct = AutoModelForCausalLM.from_pretrained(source.path.parent, gguf_file=source.path.name, dtype=torch.float32)
    converted = AutoModelForCausalLM.from_pretrained(source.folder)
    given = AutoTokenizer.from_pretrained(source.folder)(PROMPT, return_tensors="pt")
    with torch.no_grad():
        assert torch.equal(converted(**given).logits, direct(**given).logits)
