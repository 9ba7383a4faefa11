"""llama.cpp: checkpoints become GGUF files by its own converter, are quantised by its own quantiser, and run."""

import ctypes
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from glu_prune.errors import CheckpointError, first_line
from tools.serving.answers import Floats
from tools.serving.converting import convert

_TYPES: Mapping[str, str] = {form: f"LLAMA_FTYPE_MOSTLY_{form}" for form in ("F16", "Q8_0", "Q4_K_M")}
EXACT = "F32, cache F32"
"""The weights as they are, and a cache of keys and values in float32; llama.cpp's is in float16 otherwise."""


def converted(
    folder: Path, name: str, work: Path, llama_cpp: Path, forms: Sequence[str] = tuple(_TYPES)
) -> dict[str, Path]:
    """Format to its file in `work`, of the checkpoint in `folder`; `llama_cpp` holds llama.cpp's converter.

    `EXACT` is always among them.

    Raises:
        CheckpointError: the converter or the quantiser refused.
    """
    whole = work / f"{name}-F32.gguf"
    if not whole.exists():
        script = llama_cpp / "convert_hf_to_gguf.py"
        command = [sys.executable, str(script), str(folder), "--outtype", "f32", "--outfile", str(whole)]
        convert(command, f"{folder}: llama.cpp's converter refused it")
    return {EXACT: whole} | {form: _quantised(whole, work / f"{name}-{form}.gguf", form) for form in forms}


def _quantised(whole: Path, file: Path, form: str) -> Path:
    import llama_cpp

    if file.exists():
        return file
    if form not in _TYPES:
        msg = f"{form!r} is no format of GGUF files that is made here; there are {', '.join(_TYPES)}"
        raise CheckpointError(msg)
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, _TYPES[form])
    settings.nthread = 1
    if code := llama_cpp.llama_model_quantize(bytes(whole), bytes(file), ctypes.byref(settings)):
        msg = f"{whole}: llama.cpp did not quantise it to {form}: code {code}"
        raise CheckpointError(msg)
    return file


def types(file: Path) -> tuple[str, str]:
    """Types of the matrices of down, and of the other matrices, each with how many."""
    from gguf import GGUFReader

    down: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for tensor in GGUFReader(file).tensors:
        if len(tensor.shape) > 1:
            (down if "ffn_down" in tensor.name else others)[tensor.tensor_type.name] += 1
    return _counted(down), _counted(others)


def _counted(found: Counter[str]) -> str:
    return " ".join(f"{count} {name}" for name, count in sorted(found.items()))


class LlamaCpp:
    """A GGUF file as llama.cpp runs it, on one thread."""

    def __init__(self, form: str, file: Path, positions: int) -> None:
        """`positions` that it must hold.

        Raises:
            CheckpointError: llama.cpp does not load it.
        """
        import llama_cpp

        exact: dict[str, Any] = {}
        if form == EXACT:
            exact = {"type_k": llama_cpp.GGML_TYPE_F32, "type_v": llama_cpp.GGML_TYPE_F32}
        try:
            self._model = llama_cpp.Llama(
                str(file), n_ctx=positions, logits_all=True, n_threads=1, n_threads_batch=1, verbose=False, **exact
            )
        except ValueError as error:
            msg = f"{file}: llama.cpp does not load it: {first_line(error)}"
            raise CheckpointError(msg) from error

    def encode(self, text: str) -> list[int]:
        """Token ids, as the file's own tokenizer finds them."""
        found: list[int] = self._model.tokenize(text.encode(), add_bos=True, special=False)
        return found

    def read(self, ids: Sequence[int]) -> Floats:
        """As `Served` says."""
        self._model.reset()
        self._model.eval(list(ids))
        return np.array(self._model.scores[: len(ids)])

    def go_on(self, token: int) -> Floats:
        """As `Served` says."""
        self._model.eval([token])
        return np.array(self._model.scores[self._model.n_tokens - 1])
