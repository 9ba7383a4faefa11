"""Attention of few tokens of each text, at the speed at which memory gives keys and values.

torch multiplies matrices, of three rows here, and reads keys and values at less than half of that speed. What does
better is C beside this file, compiled in a second by the first text of a process; where there is no gcc, torch does it.
"""

import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

MOST_TOKENS = 8
"""Of a text; for more of them, torch's matrix products are faster."""
_SOURCE = Path(__file__).with_suffix(".c")
_LANES = 8
"""As in the source: sizes of heads are multiples of it."""
_FLAGS = ("-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC")
_VECTORS = ("-mavx2", "-mfma")
_SECONDS = 60.0


class _Layout(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("heads", "share", "size", "capacity", "most", "window")),
        ("scale", ctypes.c_float),
    )


@dataclass(frozen=True)
class New:
    """What a layer has computed of new tokens: contiguous, a token after the other."""

    queries: Tensor
    """`(tokens, key heads, share, size)`; query heads that share a key head are beside each other."""
    keys: Tensor
    """`(tokens, key heads, size)`."""
    values: Tensor
    """Like `keys`."""


def is_possible(new: New) -> bool:
    """Whether `attend` takes such tensors, and can be had on this machine."""
    size = new.keys.shape[2]
    return (
        new.keys.device.type == "cpu"
        and new.queries.dtype == new.keys.dtype == new.values.dtype == torch.float32
        and size == new.values.shape[2]
        and size % _LANES == 0
        and compiled() is not None
    )


def attend(
    new: New, keys: Tensor, values: Tensor, pieces: Tensor, seen: Tensor, *, window: int | None, scaling: float
) -> None:
    """Stores new keys and values, and writes what tokens see of their texts to `seen`.

    Args:
        new: Of all tokens of a step.
        keys: The store, `(slots, key heads, capacity, size)`, contiguous.
        values: Like `keys`.
        pieces: `(pieces, 4)`, int64: slot, position in the text, number of tokens, and place among the new ones of each
            run of a text's tokens. Those of more than `MOST_TOKENS` are stored, and not written to `seen`.
        seen: Like `new.queries`.
        window: Tokens that a token sees, itself included; None: all before it.
        scaling: What scores are multiplied by.
    """
    function = compiled()
    assert function is not None
    _, heads, capacity, size = keys.shape
    share, window = new.queries.shape[2], capacity if window is None else window
    layout = _Layout(heads, share, size, capacity, MOST_TOKENS, window, scaling)
    every = (new.queries, new.keys, new.values, keys, values, seen, pieces)
    function(*(each.data_ptr() for each in every), len(pieces), layout)


@cache
def compiled() -> Callable[..., None] | None:
    """The function of the source, for this processor; None where it cannot be compiled and loaded."""
    compiler = shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        return None
    flags = (*_FLAGS, *(_VECTORS if torch.backends.cpu.get_cpu_capability().startswith("AVX") else ()))
    with TemporaryDirectory(prefix="glu-prune-") as folder:
        parts, library = f"{folder}/few_tokens.o", f"{folder}/few_tokens.so"
        try:
            _run(compiler, *flags, "-c", str(_SOURCE), "-o", parts)
            # Without -fopenmp, which would load a second runtime: what it needs is found in the one of torch.
            _run(compiler, "-shared", parts, "-o", library)
            function = ctypes.CDLL(library).attend
        except (OSError, subprocess.SubprocessError):
            return None
    function.argtypes = [*[ctypes.c_void_p] * 7, ctypes.c_int64, _Layout]
    function.restype = None
    found: Callable[..., None] = function
    return found


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS)
