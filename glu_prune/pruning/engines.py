"""What engines that serve a model want of the widths of its GLU blocks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from glu_prune.pruning.alignment import ALIGNED, nearest, ratio_of
from glu_prune.pruning.ratio import show_ratio

EngineName: TypeAlias = Literal["llama.cpp", "vllm", "tensor-cores"]


@dataclass(frozen=True)
class Engine:
    """An engine, and what it does with widths."""

    steps: tuple[tuple[int, str], ...]
    """What follows from a width that is a multiple of a number, and of none before it; the last number is 1."""
    source: str
    """Where that is said."""

    @property
    def multiple(self) -> int:
        """Of widths that it takes at their best."""
        return self.steps[0][0]


ENGINES: Mapping[EngineName, Engine] = {
    "llama.cpp": Engine(
        (
            (256, "every quantisation packs the rows of down"),
            (32, "K-quants take a larger type for down (Q4_K: Q5_0, Q6_K: Q8_0); Q8_0 and Q4_0 pack it"),
            (1, "down stays F16 in every quantisation"),
        ),
        "llama.cpp, src/llama-quant.cpp, tensor_type_fallback",
    ),
    "vllm": Engine(
        (
            (128, "Marlin's 4-bit kernels take it on one GPU; on several, the share of each must be a multiple"),
            (1, "16-bit weights are served, 4-bit ones not by Marlin; tensor parallelism must divide it"),
        ),
        "vLLM, quantization/utils/marlin_utils.py, verify_marlin_supports_shape; distributed/utils.py, divide",
    ),
    "tensor-cores": Engine(
        (
            (64, "rows of 16-bit numbers are of whole 128 bytes, as A100 and later read them best"),
            (ALIGNED, "rows of 16-bit numbers are of whole 16 bytes, as tensor cores read them"),
            (1, "rows of 16-bit numbers are not of whole 16 bytes: slower, before cuBLAS 11 without tensor cores"),
        ),
        "NVIDIA, Matrix Multiplication Background User's Guide, Tensor Core Requirements",
    ),
}


def fit(name: EngineName, before: int, width: int) -> str:
    """Whether an engine takes `width`, of a block that was `before` neurons wide, at its best; the nearest if not."""
    engine = ENGINES[name]
    multiple = engine.multiple
    follows = next(text for step, text in engine.steps if width % step == 0)
    said = f"{name}: best at multiples of {multiple}"
    if width % multiple == 0:
        return f"{said}, as {width:,} is: {follows}"
    if multiple > before:
        return f"{said}, of which {before:,} holds none; at {width:,}, {follows}"
    near = nearest(before, width, multiple)
    return f"{said}; {width:,} is none: {follows}; the nearest: {near:,} (ratio {show_ratio(ratio_of(before, near))})"
