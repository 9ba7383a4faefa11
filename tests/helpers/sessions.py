"""Sessions of pytest, and commands, that can be killed: forks of one process that has imported what they need."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

_PARENT = """
import json, os, sys
import codecarbon, datasets, lm_eval.evaluator, lm_eval.models.huggingface, lm_eval.tasks
import filelock, langdetect, nltk, pandas, pyarrow.parquet, pytest, scipy.stats, sympy, tabulate, torch
from transformers import LlamaForCausalLM
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if child == 0:
        said = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(said, 1), os.dup2(said, 2)
        os.chdir(order["folder"])
        from glu_prune.cli import main

        try:
            code = (main if order["command"] else pytest.main)(order["arguments"])
        except SystemExit as left:
            code = left.code
        sys.stdout.flush()
        os._exit(int(code))
    print(child, flush=True)
"""


class Sessions:
    """Starts sessions; a context, which ends with all of them."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._parent = subprocess.Popen(
            [sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._parent.stdin.close()
        self._parent.wait()

    def start(self, folder: Path, log: Path, *arguments: str) -> int:
        """The process id of a session in `folder` that writes to `log`."""
        return self._ask(folder=str(folder), log=str(log), arguments=arguments, command=False)

    def command(self, folder: Path, log: Path, *arguments: str) -> int:
        """The process id of `glu-prune` in `folder`, which writes to `log`."""
        return self._ask(folder=str(folder), log=str(log), arguments=arguments, command=True)

    def wait(self, process: int) -> int:
        """The exit status of a session; minus the signal that ended it."""
        return self._ask(wait=process)

    def kill(self, process: int, how: signal.Signals = signal.SIGKILL) -> int:
        """Ends a session, if not said otherwise as if its machine had; gives its exit status, 0 if it had ended by itself."""
        os.kill(process, how)
        return self.wait(process)

    def _ask(self, **order: object) -> int:
        self._parent.stdin.write(json.dumps(order) + "\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())
