"""Rounds the weights of a model to int8, row by row, and writes them back in float32: what quantising does to it.

    python examples/int8.py MODEL --out FOLDER

Each row of a matrix is scaled so that its largest weight is 127; embeddings and vectors stay. The result is a stock
checkpoint of the same size, as the question is what the model says, not what it costs.
"""

import argparse
import sys
from pathlib import Path

import torch
from transformers import AutoTokenizer

import glu_prune


def main() -> int:
    """Rounds and saves."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("model", help="a name, a folder or an id")
    parser.add_argument("--out", type=Path, required=True, help="the new folder")
    options = parser.parse_args()
    if options.out.exists():
        sys.exit(f"{options.out} exists; name a new folder")
    folder = glu_prune.locate(options.model).folder
    model = glu_prune.load(folder).float()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.Linear):
                scale = module.weight.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
                module.weight.copy_((module.weight / scale).round() * scale)
    model.save_pretrained(options.out)
    AutoTokenizer.from_pretrained(folder).save_pretrained(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
