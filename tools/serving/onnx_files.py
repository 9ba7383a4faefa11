"""ONNX Runtime: onnxruntime-genai builds an ONNX model with a cache of a checkpoint, and runs it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.serving.answers import Floats
from tools.serving.converting import convert

FORMATS = ("fp32",)
"""Of the builder: weights as they are."""


def converted(folder: Path, name: str, work: Path) -> dict[str, Path]:
    """Format to its folder in `work`, of the checkpoint in `folder`.

    Raises:
        CheckpointError: the builder refused.
    """
    return {form: _built(folder, work / f"{name}-onnx-{form}", form, work) for form in FORMATS}


def _built(folder: Path, out: Path, form: str, work: Path) -> Path:
    if (out / "genai_config.json").exists():
        return out
    builder = [sys.executable, "-m", "onnxruntime_genai.models.builder"]
    command = [*builder, "-i", str(folder), "-o", str(out), "-p", form, "-e", "cpu", "-c", str(work / "cache")]
    convert(command, f"{folder}: onnxruntime-genai's builder refused {form}")
    return out


class OnnxRuntime:
    """A folder of the builder, run on one thread."""

    def __init__(self, form: str, folder: Path, positions: int) -> None:  # noqa: ARG002 - the folder says it
        """`positions` that it must hold."""
        import onnxruntime_genai

        config = onnxruntime_genai.Config(str(folder))
        config.overlay('{"model": {"decoder": {"session_options": {"intra_op_num_threads": 1}}}}')
        self._model = onnxruntime_genai.Model(config)
        settings = onnxruntime_genai.GeneratorParams(self._model)
        settings.set_search_options(max_length=positions, batch_size=1)
        self._new: Any = lambda: onnxruntime_genai.Generator(self._model, settings)
        self._text: Any = None

    def encode(self, _: str) -> None:
        """As `Served` says: it is given token ids."""

    def read(self, ids: Sequence[int]) -> Floats:
        """As `Served` says."""
        self._text = self._new()
        return self._asked(ids)

    def go_on(self, token: int) -> Floats:
        """As `Served` says."""
        last: Floats = self._asked([token])[-1]
        return last

    def _asked(self, ids: Sequence[int]) -> Floats:
        self._text.append_tokens(list(ids))
        return np.array(self._text.get_output("logits")[0], dtype=np.float32)
