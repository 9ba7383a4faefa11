"""Prompts that are too long are counted, whichever way a model answers."""

from types import SimpleNamespace

import pytest

from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.lm import CountingLM
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.evaluation.subset import Subset

from .test_scorer import TOKENIZER, build

WAYS = [CountingLM, SharedPrefixLM]


def lm_of(way, max_length):
    return way(build("llama", vocab_size=len(TOKENIZER), max_position_embeddings=max_length), TOKENIZER, 3)


def texts(*counts):
    """Texts of so many tokens: digits, and one before them."""
    found = ["9" * (count - 1) for count in counts]
    assert [len(TOKENIZER(text).input_ids) for text in found] == list(counts)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_contexts_that_are_cut_are_counted(way):
    """A model of 32 tokens is given 33 with the last, which is only predicted."""
    lm = lm_of(way, 32)
    requests = [SimpleNamespace(args=(text, answer)) for text in texts(31, 32) for answer in ("9", "99")]
    lm.loglikelihood(requests, disable_tqdm=True)
    assert lm.truncated == {("9" * 31, "99")}
    lm.reset_counters()
    assert not lm.truncated


@pytest.mark.parametrize("way", WAYS)
def test_prompts_that_are_cut_are_counted(way):
    """A model of 32 tokens that may say 8 reads 24."""
    lm = lm_of(way, 32)
    asked = texts(5, 24, 25, 60)
    requests = [SimpleNamespace(args=(text, {"until": [], "max_gen_toks": 8})) for text in asked]
    lm.generate_until(requests, disable_tqdm=True)
    assert lm.truncated == {(text,) for text in asked[2:]}


def test_a_sibling_counts_prompts_whose_tokens_are_kept():
    """It reads as much of each as the first did, and says of each whether its beginning was lost."""
    lm = lm_of(WAYS[-1], 32)
    asked = texts(5, 60)
    rows = [lm._row(text, {"until": [], "max_gen_toks": 8}) for text in asked]
    sibling = lm.sibling(lm.model)
    assert [sibling._row(text, {"until": [], "max_gen_toks": 8}).prompt for text in asked] == [r.prompt for r in rows]
    assert lm.truncated == sibling.truncated == {(asked[1],)}
    assert sibling._row(asked[1], {"until": [], "max_gen_toks": 12}).prompt == rows[1].prompt[4:]


@pytest.mark.parametrize("way", WAYS)
def test_windows_of_a_long_text_are_not_cut(way):
    lm = lm_of(way, 32)
    lm.loglikelihood_rolling([SimpleNamespace(args=(texts(90)[0],))], disable_tqdm=True)
    assert not lm.truncated


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("task", ["tiny_recall_mc", "tiny_reading"])
def test_items_are_counted_once(way, task):
    evaluator = Evaluator()
    some = Subset(0, 40)
    assert evaluator.evaluate(lm_of(way, 256), task, subset=some).truncated == 0
    cut = evaluator.evaluate(lm_of(way, 64 if task == "tiny_reading" else 16), task, subset=some)
    assert 0 < cut.truncated <= len(cut.items)
