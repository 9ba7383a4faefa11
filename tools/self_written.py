"""Text that a model writes by itself: calibration text for criteria that look at activations, of no other source.

    python -m tools.self_written smollm2-135m-instruct --out FILE.txt

Each text begins with the model's first token alone and is sampled from its own distribution (temperature 1, nothing
cut off) with a seed. Text of a benchmark would give these criteria a look at what they are judged on; text of the
model's own needs no licence but the model's, and lies in what it can say.
"""

import argparse
import sys
from pathlib import Path

import torch

from glu_prune.files import write_whole
from glu_prune.models.source import load, locate

TEXTS, TOKENS = 64, 256


@torch.inference_mode()
def written(model: str, seed: int) -> list[str]:
    """`TEXTS` texts of at most `TOKENS` tokens, each on one line, in float32 on the CPU."""
    network, tokenizer = load(locate(model), "float32", "cpu")
    torch.manual_seed(seed)
    first = torch.full((TEXTS, 1), tokenizer.bos_token_id)
    found = network.generate(
        first, attention_mask=torch.ones_like(first), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
        max_new_tokens=TOKENS, pad_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    # One text per line: how a calibration file is read.
    return [" ".join(text.split()) for text in tokenizer.batch_decode(found, skip_special_tokens=True)]


def main() -> int:
    """Writes the texts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    texts = [text for text in written(options.model, options.seed) if text]
    write_whole(options.out, "".join(f"{text}\n" for text in texts))
    sys.stdout.write(f"{len(texts)} texts, {sum(map(len, texts)):,} characters\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
