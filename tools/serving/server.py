"""A backend for `--glu-backend` that serves each arm by llama-cpp-python's server, and asks it as any client does.

    pytest benchmarks -p tools.serving.server --glu-backend llama-cpp-python,llama_cpp=DIR,form=Q4_K_M

The folder of an arm becomes a GGUF file, a server of this machine alone loads it, and lm-eval's own client for
completions asks it. Only texts can be asked for: the log-probabilities that llama-cpp-python 0.3.36 echoes are one
token off, given the token itself, unless prompts begin with a token of the model's own.
"""

import socket
import subprocess
import sys
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from lm_eval.api.registry import register_model
from lm_eval.models.openai_completions import LocalCompletionsAPI

from glu_prune.errors import EvaluationError
from tools.serving.gguf_files import converted

PATIENCE = 120
"""Seconds in which the server must have loaded its model."""


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _ended(server: "subprocess.Popen[bytes]", folder: "tempfile.TemporaryDirectory[str]") -> None:
    server.terminate()
    server.wait()
    folder.cleanup()


@register_model("llama-cpp-python")
class Server(LocalCompletionsAPI):  # type: ignore[misc]
    """A server with a quantised copy of the folder `pretrained`; it ends with this object."""

    def __init__(
        self, pretrained: str, tokenizer: str, llama_cpp: str, form: str = "Q4_K_M", positions: int = 2048
    ) -> None:
        """`llama_cpp` is the folder of the converter; `positions` are those of a prompt and its answer together.

        Raises:
            GluPruneError: the folder is not converted, or the server does not start.
        """
        folder = tempfile.TemporaryDirectory(prefix="served-")
        file = converted(Path(pretrained), "served", Path(folder.name), Path(llama_cpp), [form])[form]
        address = f"http://127.0.0.1:{(port := _free_port())}"
        command = [sys.executable, "-m", "llama_cpp.server", "--model", str(file), "--n_ctx", str(positions)]
        server = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        weakref.finalize(self, _ended, server, folder)
        _wait(server, f"{address}/v1/models")
        super().__init__(
            model="served",
            base_url=f"{address}/v1/completions",
            tokenizer=tokenizer,
            tokenizer_backend="huggingface",
            tokenized_requests=False,
            max_length=positions,
        )

    def loglikelihood(self, *_: Any, **__: Any) -> Any:
        """Refuses.

        Raises:
            EvaluationError: always, see the module.
        """
        msg = (
            "llama-cpp-python's server echoes log-probabilities one token off; ask it for texts, or judge the GGUF file"
        )
        raise EvaluationError(msg)

    loglikelihood_rolling = loglikelihood


def _wait(server: "subprocess.Popen[bytes]", address: str) -> None:
    for _ in range(PATIENCE * 5):
        if server.poll() is not None:
            msg = f"llama_cpp.server ended with code {server.returncode}; `pip install 'llama-cpp-python[server]'`"
            raise EvaluationError(msg)
        try:
            with urlopen(address, timeout=5):
                return
        except (URLError, TimeoutError):
            time.sleep(0.2)
    msg = f"llama_cpp.server did not answer at {address} within {PATIENCE} s"
    raise EvaluationError(msg)
