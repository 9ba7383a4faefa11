"""What alignment does to the time of a GLU-MLP: widths that a ratio gives beside the nearest multiples of 64.

    python -m tools.widths --device cuda --dtype bfloat16 --out docs/widths-CARD.json

One MLP of Llama-3.2-1B's shape (hidden size 2,048, width 8,192, SiLU), with random weights, at the study's widths
(arXiv:2512.22671), answers one token for each of 1 or 8 sequences (decode), or all tokens of as many prompts
(prefill). It is timed by `torch.utils.benchmark`, which waits for the device. All widths have a turn in each round, in
an order that is reversed every other round, so that drift falls on all alike. Given is the median over rounds, with
the least and the most.
"""

import argparse
import json
import statistics
import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.benchmark import Timer

from glu_prune.experiment.machine import machine
from glu_prune.files import write_whole
from glu_prune.pruning.alignment import nearest
from glu_prune.pruning.target import round_width

HIDDEN, WIDTH = 2048, 8192
RATIOS = tuple(Decimal(tenth) / 10 for tenth in range(7))
BATCHES = (1, 8)
MULTIPLE, ROUNDS, SECONDS = 64, 7, 0.2


class Mlp(nn.Module):
    """down(silu(gate(x)) * up(x)); x `(batch, tokens, HIDDEN)`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = nn.Linear(HIDDEN, width, bias=False)
        self.up = nn.Linear(HIDDEN, width, bias=False)
        self.down = nn.Linear(width, HIDDEN, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`(batch, tokens, HIDDEN)`."""
        found: torch.Tensor = self.down(nn.functional.silu(self.gate(x)) * self.up(x))
        return found


def widths() -> dict[int, int]:
    """Each of the study's widths and the nearest multiple of `MULTIPLE`."""
    study = [round_width(WIDTH, Fraction(ratio) * WIDTH) for ratio in RATIOS]
    return {width: nearest(WIDTH, width, MULTIPLE) for width in study}


@torch.inference_mode()
def measured(device: str, dtype: torch.dtype, prompt: int) -> dict[str, dict[int, list[float]]]:
    """Of each kind of work, width to microseconds: median, least and most over the rounds."""
    torch.manual_seed(0)
    mlps = {each: Mlp(each).to(device, dtype) for pair in widths().items() for each in pair}
    found: dict[str, dict[int, list[float]]] = {}
    for name, tokens in (("decode", 1), (f"{prompt} tokens", prompt)):
        for batch in BATCHES:
            x = torch.randn(batch, tokens, HIDDEN, device=device, dtype=dtype)
            found[f"{name}, batch {batch}"] = _timed(mlps, x)
            sys.stderr.write(f"{name}, batch {batch} done\n")
    return found


def _timed(mlps: dict[int, Mlp], x: torch.Tensor) -> dict[int, list[float]]:
    threads = torch.get_num_threads()
    timers = {width: Timer("mlp(x)", globals={"mlp": mlp, "x": x}, num_threads=threads) for width, mlp in mlps.items()}
    times: dict[int, list[float]] = {width: [] for width in timers}
    for turn in range(ROUNDS):
        for width in sorted(timers, reverse=bool(turn % 2)):
            times[width].append(timers[width].blocked_autorange(min_run_time=SECONDS).median * 1e6)
    return {width: [statistics.median(some), min(some), max(some)] for width, some in times.items()}


def table(found: dict[str, dict[int, list[float]]]) -> str:
    """As Markdown: of each of the study's widths the time, and that of the aligned width beside it."""
    head = "| width | aligned | " + " | ".join(f"{name}, us" for name in found) + " |"
    rows = [
        f"| {width:,} | {'' if beside == width else f'{beside:,}'} | "
        + " | ".join(_beside(times[width][0], times[beside][0], width == beside) for times in found.values())
        + " |"
        for width, beside in widths().items()
    ]
    return "\n".join([head, "|" + "---|" * (head.count("|") - 1), *rows])


def _beside(own: float, aligned: float, same: bool) -> str:
    return f"{own:,.0f}" if same else f"{own:,.0f}, aligned {aligned:,.0f} ({aligned / own - 1:+.0%})"


def main() -> int:
    """Measures, shows and keeps it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--prompt", type=int, default=512, help="tokens of a prompt")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found = measured(options.device, getattr(torch, options.dtype), options.prompt)
    about: dict[str, Any] = {"machine": machine(), "torch": torch.__version__, "dtype": options.dtype}
    write_whole(options.out, json.dumps({**about, "microseconds": found}, indent=1) + "\n")
    sys.stdout.write(f"{machine()}, {options.dtype}\n\n{table(found)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
