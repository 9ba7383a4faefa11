"""How long one pruning takes, and how much memory: ours, OptiPFair 0.4.2's, and a plain copy of the same bytes.

Llama-3.2-1B's exact shape in bfloat16 with random weights, 40 % of the neurons removed by `ppm`, on this machine's CPU.
Every contender meets the same dense weights, resident in memory, and an allocator that keeps nothing in reserve.
"""

import argparse
import ctypes
import gc
import importlib
import logging
import os
import platform
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

import glu_prune
from glu_prune.pruning.criteria import Neurons, ppm
from glu_prune.pruning.glu_block import GluWeights

ORACLE = "0.4.2"
HIDDEN, WIDTH, LAYERS = 2048, 8192, 16
PERCENT = 40
BLOCK = 3 * HIDDEN * WIDTH * torch.bfloat16.itemsize
"""Bytes of gate, up and down of one layer."""
GLIBC = platform.libc_ver()[0] == "glibc"
M_MMAP_THRESHOLD = -3
"""In glibc's malloc.h."""
PARTS = ("gate_proj", "up_proj", "down_proj")
MEMORY_ROUNDS = 2
"""Apart from the timed rounds, because sampling disturbs."""

Contender = Callable[[Any], object]
"""Does its work on a dense model; what it returns is freed after the clock has stopped."""


def llama_1b() -> Any:
    """A `LlamaForCausalLM` of Llama-3.2-1B's shape; rows of one normal sample, each scaled, so that few scores tie."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.initialization import no_init_weights

    rope = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 32.0, "low_freq_factor": 1.0}
    config = LlamaConfig(
        vocab_size=128_256,
        hidden_size=HIDDEN,
        intermediate_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=131_072,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        rope_parameters={**rope, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
    )
    with no_init_weights():
        model = LlamaForCausalLM._from_config(config, dtype=torch.bfloat16).eval()
    model.tie_weights()
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(HIDDEN * WIDTH + WIDTH, generator=generator).bfloat16()
    for parameter in model.parameters():
        for rows in parameter.data.view(-1, parameter.shape[-1]).split(WIDTH):
            start = int(torch.randint(WIDTH, (), generator=generator))
            scales = 0.02 * torch.randn(len(rows), 1, generator=generator).mul(0.2).exp()
            torch.mul(sample[start : start + rows.numel()].view(rows.shape), scales.bfloat16(), out=rows)
    return model


class Dense:
    """A model, and a second copy of its MLP weights from which it is made whole again."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.mlps = [layer.mlp for layer in model.model.layers]
        self.master = [{name: getattr(mlp, name).weight.data.clone() for name in PARTS} for mlp in self.mlps]

    def restore(self) -> None:
        """Gives the model dense layers with weights written anew; what it had before is freed first."""
        for mlp, master in zip(self.mlps, self.master, strict=True):
            mlp.intermediate_size = WIDTH
            for name, weight in master.items():
                linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
                setattr(mlp, name, linear)
                linear.weight = nn.Parameter(weight.clone())
        self.model.config.intermediate_size = WIDTH
        ready_memory()

    def weights(self, layer: int) -> GluWeights:
        """The dense weights of one layer."""
        return GluWeights(*(self.master[layer][name] for name in PARTS))


def steady_memory() -> None:
    """Has glibc ask the system for every large tensor and give it back when freed, as it does in a fresh process.

    Otherwise time and memory would depend on the holes that whoever ran before has left in the heap.
    """
    if GLIBC:
        ctypes.CDLL("libc.so.6").mallopt(M_MMAP_THRESHOLD, 1 << 20)


def ready_memory() -> None:
    """Gives back what is free, and has the system lay hands on as much as a copy needs.

    What the heap would give back while a contender works would hide as much of its growth; and on a virtual machine,
    whoever first asks for memory that its host has taken away in the meantime pays for getting it again.
    """
    gc.collect()
    if GLIBC:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    torch.ones(LAYERS * BLOCK, dtype=torch.uint8)


def ours(model: Any) -> object:
    """`glu_prune.prune`."""
    return glu_prune.prune(model, PERCENT / 100, "ppm")


def copies(model: Any) -> object:
    """Clones every gate, up and down: what moving these bytes once costs."""
    return [getattr(layer.mlp, name).weight.detach().clone() for layer in model.model.layers for name in PARTS]


def load_oracle(percent: float = PERCENT) -> Contender:
    """`optipfair.prune_model`, quiet, removing `percent` of neurons; ends the program where it is not installed."""
    try:
        found = metadata.version("optipfair")
    except metadata.PackageNotFoundError:
        found = None
    if found != ORACLE:
        msg = f"OptiPFair {ORACLE} is needed for this comparison, found {found}: pip install optipfair=={ORACLE}"
        sys.exit(msg)
    optipfair: Any = importlib.import_module("optipfair")
    logging.getLogger("optipfair").setLevel(logging.WARNING)

    def oracle(model: Any) -> object:
        return optipfair.prune_model(
            model,
            pruning_type="MLP_GLU",
            neuron_selection_method="PPM",
            pruning_percentage=percent,
            show_progress=False,
        )

    return oracle


def seconds(dense: Dense, contender: Contender) -> float:
    """Wall-clock time of `contender` on dense weights."""
    dense.restore()
    start = time.perf_counter()
    result = contender(dense.model)
    elapsed = time.perf_counter() - start
    del result
    return elapsed


def peak_extra(dense: Dense, contender: Contender) -> int:
    """Bytes that resident memory grew by at the most while `contender` worked, sampled every millisecond."""
    dense.restore()
    start = resident()
    peak, done = start, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.001):
            peak = max(peak, resident())

    sampler = threading.Thread(target=watch)
    sampler.start()
    result = contender(dense.model)
    done.set()
    sampler.join()
    peak = max(peak, resident())
    del result
    return peak - start


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def verify(dense: Dense, oracle: Contender) -> str:
    """Says how far ours and the oracle keep the same neurons, with the same weights.

    Raises:
        SystemExit: the widths differ, or neurons differ otherwise than by the choice among equal scores.
    """
    dense.restore()
    ours(dense.model)
    mine = [kept(dense, layer) for layer in range(LAYERS)]
    dense.restore()
    oracle(dense.model)
    swapped = 0
    for layer, one in enumerate(mine):
        other, scores = kept(dense, layer), ppm(Neurons(dense.weights(layer)))
        if not torch.equal(scores[one].sort().values, scores[other].sort().values):
            msg = f"layer {layer}: glu-prune and OptiPFair keep neurons of other scores ({len(one)} and {len(other)})"
            sys.exit(msg)
        swapped += len(set(one) - set(other))
    total = sum(map(len, mine))
    return f"both keep the same {total:,} of {LAYERS * WIDTH:,} neurons, but for {swapped} chosen among equal scores"


def kept(dense: Dense, layer: int) -> list[int]:
    """The neurons that the model now has in `layer`, found by their rows of gate; all of their weights are compared."""
    master, mlp = dense.weights(layer), dense.mlps[layer]
    place = {row.tobytes(): index for index, row in enumerate(master.gate.view(torch.int16).numpy())}
    gate = mlp.gate_proj.weight.detach()
    found = [place[row.tobytes()] for row in gate.contiguous().view(torch.int16).numpy()]
    same = torch.equal(mlp.up_proj.weight, master.up[found]) and torch.equal(
        mlp.down_proj.weight, master.down[:, found]
    )
    if not same:
        msg = f"layer {layer}: the weights of up and down are not those of the neurons in gate"
        sys.exit(msg)
    return found


@dataclass(frozen=True)
class Result:
    """What was measured of one contender."""

    name: str
    seconds: Sequence[float]
    """One per round."""
    to_copy: float
    """Median over rounds of its time over the copy's in the same round."""
    peak: int
    """Bytes."""

    def row(self) -> str:
        """Its line in the table."""
        times = "".join(f"{each:>9.2f}" for each in (min(self.seconds), median(self.seconds), max(self.seconds)))
        return f"{self.name:<18}{times}{self.to_copy:>9.1f}{self.peak / 1e6:>10.0f}{self.peak / BLOCK:>8.2f}"


def measure(dense: Dense, contenders: Mapping[str, Contender], rounds: int) -> list[Result]:
    """All contenders in every round, each round beginning with another one; before them, each once unmeasured."""
    names = list(contenders)
    taken: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, rounds):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            elapsed = seconds(dense, contenders[name])
            if turn >= 0:
                taken[name].append(elapsed)
    peaks = {name: max(peak_extra(dense, contenders[name]) for _ in range(MEMORY_ROUNDS)) for name in names}
    return [Result(name, taken[name], paired(taken[name], taken["copy"]), peaks[name]) for name in names]


def paired(times: Sequence[float], others: Sequence[float]) -> float:
    """Median over rounds of the ratio within a round."""
    return median(a / b for a, b in zip(times, others, strict=True))


def machine() -> str:
    """CPU, threads and versions, in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    return f"{cpu}, {torch.get_num_threads()} threads, torch {torch.__version__}, OptiPFair {ORACLE}"


def busy_elsewhere() -> float:
    """CPU seconds that went to anything but this process; the difference of two says how quiet the machine was."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    user, nice, system, _idle, _waiting, irq, softirq, steal = ticks
    own = os.times()
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK") - own.user - own.system


def main() -> int:
    """Measures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: 5)")
    rounds = max(1, parser.parse_args().rounds)
    oracle = load_oracle()
    steady_memory()
    dense = Dense(llama_1b())
    agreement = verify(dense, oracle)
    contenders = {"glu-prune": ours, f"OptiPFair {ORACLE}": oracle, "copy": copies}
    began, elsewhere = time.perf_counter(), busy_elsewhere()
    mine, other, copy = measure(dense, contenders, rounds)
    elsewhere = (busy_elsewhere() - elsewhere) / (time.perf_counter() - began)
    lines = [
        f"Llama-3.2-1B's shape, bfloat16, ppm, ratio {PERCENT / 100}, {rounds} rounds",
        machine(),
        f"meanwhile, other processes kept {max(0.0, elsewhere):.1f} CPUs busy",
        "",
        f"{'':<18}{'seconds:':>9}{'':>18}{'times':>9}{'peak':>10}{'in':>8}",
        f"{'contender':<18}{'min':>9}{'median':>9}{'max':>9}{'a copy':>9}{'extra MB':>10}{'blocks':>8}",
        *(each.row() for each in (mine, other, copy)),
        "",
        agreement,
        f"{paired(other.seconds, mine.seconds):.1f} x faster than OptiPFair",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
