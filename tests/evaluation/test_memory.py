"""Memory while answering stays within what the batch size says, measured in processes of their own."""

import json
import subprocess
import sys

import pytest

from glu_prune.evaluation.memory import Memory, step_tokens

PROGRAM = """
import json, re, sys
import torch
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM
from lm_eval.api.instance import Instance
from glu_prune.evaluation.memory import Memory
from glu_prune.evaluation.scorer import SharedPrefixLM
from glu_prune.models.source import load_tokenizer, locate

def status(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

kind, batch, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = LlamaConfig(
    vocab_size=32000 if kind == "pages" else 8000, hidden_size=256, intermediate_size=1024, num_hidden_layers=4, num_attention_heads=4,
    num_key_value_heads=4, head_dim=64, max_position_embeddings=16384, bos_token_id=0, eos_token_id=0, pad_token_id=0,
)
torch.manual_seed(0)
lm = SharedPrefixLM(LlamaForCausalLM(config).eval(), load_tokenizer(locate("tiny-base")), batch)
words = "the old king went to the river and saw a small boat near the tall green trees".split()
torch.manual_seed(1)
said = [" ".join(words[int(each)] for each in torch.randint(len(words), (60,))) for _ in range(count)]
if kind == "pages":  # each of them a request, and longer than a step
    pages = [" ".join(said[:count // 2]), " ".join(said[count // 2:])]
    ask = lambda texts: lm.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (page,), 0) for page in pages])
    longest = max(len(lm.tok_encode(page)) for page in pages)
    kind = "scoring"
elif kind == "scoring":
    ask = lambda texts: lm.loglikelihood([Instance("loglikelihood", {}, (text, " and " + text), 0) for text in texts])
    longest = max(len(lm.tok_encode(f"{text} and {text}")) for text in said)
else:
    settings = {"until": [], "max_gen_toks": 60}
    ask = lambda texts: lm.generate_until([Instance("generate_until", {}, (text, settings), 0) for text in texts])
    longest = max(len(lm.tok_encode(text)) for text in said) + 60
lm.loglikelihood([Instance("loglikelihood", {}, tuple(said[:2]), 0)])
Path("/proc/self/clear_refs").write_text("5")
before = status("VmRSS")
ask(said)
print(json.dumps([status("VmHWM") - before, getattr(Memory(config, batch, longest), kind)]))
"""


def measured(kind: str, batch: int, count: int) -> tuple[int, int]:
    """(bytes of growth at the most, the bound)."""
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, kind, str(batch), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    taken, bound = json.loads(done.stdout.splitlines()[-1])
    return taken, bound


@pytest.mark.slow("fills memory in processes of their own")
@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark of memory can be reset on Linux only")
@pytest.mark.parametrize("kind", ["scoring", "generating"])
def test_memory_stays_within_what_the_batch_size_says(kind):
    (small, small_bound), (large, large_bound) = (measured(kind, batch, 70) for batch in (8, 64))
    assert 0 < small < small_bound
    assert 0 < large < large_bound
    assert small < large
    assert large_bound < 8 * large


@pytest.mark.slow("fills memory in processes of their own")
@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark of memory can be reset on Linux only")
def test_a_long_page_is_scored_in_steps():
    """At once, its logits alone would take twelve bytes a token and word of the vocabulary: more than the bound."""
    taken, bound = measured("pages", 64, 100)
    assert 0 < taken < bound


def test_the_bound_grows_with_the_batch_and_the_longest_request_alone():
    from transformers import LlamaConfig

    config = LlamaConfig(
        vocab_size=100,
        hidden_size=16,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    assert step_tokens(64, "cpu") == 512
    assert step_tokens(64, "cuda") == 2048
    for kind in ("scoring", "generating"):
        small, large, longer, half = (
            getattr(Memory(config, *sizes), kind) for sizes in ((8, 100), (64, 100), (64, 1000), (64, 100, "cpu", 2))
        )
        assert half < large
        assert small < large < longer
