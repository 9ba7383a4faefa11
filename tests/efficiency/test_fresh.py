"""Calls in fresh processes: whatever happens there is told here in one line, nothing hangs, and nothing stays behind."""

import importlib
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from glu_prune.efficiency import fresh
from glu_prune.efficiency.fresh import FreshProcesses
from glu_prune.errors import CheckpointError, EvaluationError
from tests.helpers import ROOT


def identity() -> tuple[int, int]:
    return os.getpid(), os.getppid()


def chatter() -> str:
    print("to standard output")  # noqa: T201
    print("to standard error", file=sys.stderr)  # noqa: T201
    os.write(1, b"to file 1\n")
    os.write(2, b"to file 2\n")
    return "answer"


def kill_myself(number: int) -> None:
    os.write(2, b"last words\n\n")
    os.kill(os.getpid(), number)


def leave(code: int) -> None:
    os._exit(code)


def fail() -> None:
    raise ValueError("first line\nsecond line")


def fail_as_ours() -> None:
    raise CheckpointError("the folder is broken")


def prepare_in_vain() -> None:
    importlib.import_module("no_such_module")


def wait(started: Path) -> None:
    started.write_text(str(os.getpid()))
    time.sleep(600)


def one(function, *arguments, **options):
    with FreshProcesses(**options) as processes:
        return processes.call("the thing cannot be done", function, *arguments)


def seen(path: Path) -> int:
    """The process id written to `path`, once it is there."""
    deadline = time.monotonic() + 20
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(path.read_text())


def gone(process: int) -> bool:
    """Whether the process ends within some seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{process}/stat").exists() and Path(f"/proc/{process}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    "forks", [pytest.param(True, marks=pytest.mark.skipif(not fresh.FORKS, reason="no fork")), False]
)
def test_every_call_has_a_process_of_its_own(monkeypatch, forks):
    monkeypatch.setattr(fresh, "FORKS", forks)
    with FreshProcesses() as processes:
        calls = [processes.call("", identity) for _ in range(3)]
    assert len({process for process, _ in calls} | {os.getpid()}) == 4
    parents = {parent for _, parent in calls}
    assert (os.getpid() in parents) == (not forks)
    assert len(parents) == 1
    assert all(gone(process) for call in calls for process in call if process != os.getpid())


def test_nothing_said_there_reaches_the_terminal(capfd):
    assert one(chatter) == "answer"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("forks", [True, False])
@pytest.mark.parametrize(
    ("function", "arguments", "complaint"),
    [
        (kill_myself, [signal.SIGKILL], "killed by SIGKILL, as happens when memory runs out: use a smaller model, dtype or batch; it wrote last: last words"),
        (kill_myself, [signal.SIGSEGV], "killed by SIGSEGV; it wrote last: last words"),
        (leave, [9], "the process ended with exit code 9 and no answer; it wrote last: nothing"),
        (leave, [0], "the process ended with exit code 0 and no answer; it wrote last: nothing"),
        (fail, [], "ValueError: first line"),
    ],
)  # fmt: skip
def test_a_process_that_dies_or_fails_is_one_clear_error(monkeypatch, forks, function, arguments, complaint):
    monkeypatch.setattr(fresh, "FORKS", forks and fresh.FORKS)
    with pytest.raises(EvaluationError) as caught:
        one(function, *arguments)
    assert str(caught.value).startswith("the thing cannot be done: ")
    assert str(caught.value).endswith(complaint)


def test_errors_of_this_package_come_as_they_are():
    with pytest.raises(CheckpointError, match=r"^the folder is broken$"):
        one(fail_as_ours)


def test_a_server_that_cannot_start_is_one_clear_error():
    with pytest.raises(EvaluationError, match=r"exit code 1 .*ModuleNotFoundError: No module named 'no_such_module'$"):
        one(identity, prepare=prepare_in_vain)


def test_a_death_is_the_end_of_one_call_only():
    with FreshProcesses() as processes:
        _, server = processes.call("", identity)
        for _ in range(2):
            with pytest.raises(EvaluationError, match="killed by SIGKILL"):
                processes.call("", kill_myself, signal.SIGKILL)
        with pytest.raises(EvaluationError, match="it wrote last: nothing"):
            processes.call("", leave, 9)
        assert (processes.call("", identity)[1] == server) == fresh.FORKS
        os.kill(processes.call("", identity)[1], signal.SIGKILL)
        with pytest.raises(EvaluationError, match="killed by SIGKILL") if fresh.FORKS else nullcontext():
            processes.call("", identity)
        assert processes.call("", identity)[1] != server
    assert gone(server)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_call_ends_with_the_process_that_asked_for_it(tmp_path, number):
    """Run from standard input, whose `__main__` no other process can import."""
    script = f"""
import signal
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background inherits that it is ignored
from glu_prune.efficiency.fresh import FreshProcesses
from tests.efficiency.test_fresh import identity, wait
with FreshProcesses() as processes:
    assert processes.call("", identity) != processes.call("", identity)
    processes.call("", wait, Path({str(tmp_path / "started")!r}))
"""
    with subprocess.Popen([sys.executable, "-"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as asker:
        asker.stdin.write(script.encode())
        asker.stdin.close()
        call = seen(tmp_path / "started")
        asker.send_signal(number)
        asker.wait(10)
    assert gone(call)
