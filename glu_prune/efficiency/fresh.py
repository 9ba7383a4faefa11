"""Calls of a function, each in a process that holds nothing else.

A server, which is a new interpreter, prepares what all calls need and forks for every call, so that a call costs a
fraction of a second rather than the imports. It knows nothing of this process's `__main__`, holds none of its memory,
and writes nothing to its terminal. Where forking after imports is not safe, every call gets a new interpreter.
"""

import gc
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import IO, Any, Self, TypeVar

from glu_prune.errors import EvaluationError, GluPruneError

T = TypeVar("T")
FORKS = sys.platform == "linux"
"""Whether a process can be forked once it has imported torch; Apple's libraries break in such a fork."""
_SERVER = "import sys; sys.path[:] = sys.argv[1:]; from glu_prune.efficiency.fresh import _serve; _serve()"


class FreshProcesses:
    """Calls functions, one after the other, each in a process of its own; a context manager.

    All processes end with the block, and when this process ends, however that happens.
    """

    def __init__(self, prepare: Callable[[], object] = dict) -> None:
        """`prepare`, of a module, does before forking what all calls need; it starts no thread: forks have none."""
        self._prepare = prepare
        self._server: Any = None
        self._words: Any = None

    def __enter__(self) -> Self:
        """Starts nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the server and the call that it is at."""
        self.close()

    def call(self, doing: str, function: Callable[..., T], *arguments: Any) -> T:
        """What `function(*arguments)` returns in a fresh process.

        The function is one of a module, and it, its arguments and what it returns can be pickled. `doing` begins the
        message of an error.

        Raises:
            EvaluationError: the call raised an exception, or its process died. Errors of this package come as they are.
        """
        job = pickle.dumps((FORKS, self._prepare, pickle.dumps((function, arguments))))
        alive = False
        try:
            kind, answer = self._ask(job)
            alive = FORKS and self._server.poll() is None
        finally:
            if not alive:
                self.close()
        if kind == "returned":
            returned: T = answer
            return returned
        if isinstance(answer, GluPruneError):
            raise answer
        msg = f"{doing}: {answer}"
        raise EvaluationError(msg)

    def _ask(self, job: bytes) -> tuple[str, Any]:
        """What became of the call, with what it returned, our error that it raised, or a line about anything else."""
        if self._server is None:
            self._start()
        self._words.truncate(0)
        try:
            self._server.stdin.write(job)
            self._server.stdin.flush()
            kind, answer = pickle.load(self._server.stdout)
        except (EOFError, BrokenPipeError):
            kind, answer = "died", self._server.wait()
        return (kind, _death(answer, self._words)) if kind == "died" else (kind, answer)

    def _start(self) -> None:
        self._words = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed by `close`
        self._server = subprocess.Popen(
            [sys.executable, "-P", "-Wignore", "-c", _SERVER, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            start_new_session=True,  # Ctrl-C comes here only, and from here to all below
        )

    def close(self) -> None:
        """Ends the server, and the call that it is at; another call would start another one."""
        server, self._server = self._server, None
        if server is None:
            return
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGKILL)
        with suppress(BrokenPipeError):
            server.communicate()
        self._words.close()


def _death(code: int, words: IO[bytes]) -> str:
    """How a process with this exit code (negative: the signal) died, and what it wrote last."""
    words.seek(0)
    lines = words.read().decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    if code >= 0:
        return f"the process ended with exit code {code} and no answer; it wrote last: {last}"
    hint = ", as happens when memory runs out: use a smaller model, dtype or batch" if code == -signal.SIGKILL else ""
    return f"the process was killed by {signal.Signals(-code).name}{hint}; it wrote last: {last}"


def _serve() -> None:
    """The server: makes one call for every job on standard input, until that ends."""
    answers = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    while True:
        try:
            forks, prepare, call = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        prepare()
        function, arguments = pickle.loads(call)
        gc.freeze()  # a collection in a fork looks at, and so copies, nothing of what the server holds
        _write(answers, _forked(function, arguments) if forks else _call(function, arguments))


def _forked(function: Callable[..., Any], arguments: Sequence[Any]) -> bytes:
    """The pickled answer of a call in a fork of this process, or how that died."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _write(writing, _call(function, arguments))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return answer if answer and code == 0 else pickle.dumps(("died", code))


def _call(function: Callable[..., Any], arguments: Sequence[Any]) -> bytes:
    """The pickled answer of a call: what it returned, or which exception it raised."""
    threading.Thread(target=_end_with_the_asker, daemon=True).start()
    try:
        return pickle.dumps(("returned", function(*arguments)))
    except GluPruneError as error:
        return pickle.dumps(("raised", error))
    except Exception as error:  # noqa: BLE001 - the asker tells
        first = str(error).strip().partition("\n")[0]
        return pickle.dumps(("raised", f"{type(error).__name__}: {first}"))


def _end_with_the_asker() -> None:
    """Ends this process when standard input ends; nothing comes from there during a call."""
    os.read(0, 1)
    os._exit(1)


def _write(file: int, answer: bytes) -> None:
    with os.fdopen(file, "wb", closefd=False) as stream:
        stream.write(answer)
