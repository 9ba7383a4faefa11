"""Whatever goes wrong, the command or the case ends with one line: what was raised, and where the whole trace is."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import codecarbon  # noqa: F401  inner sessions forget what they import first, and these cannot be imported twice
import datasets  # noqa: F401
import lm_eval.evaluator
import lm_eval.models.huggingface
import lm_eval.tasks  # noqa: F401
import pandas  # noqa: F401
import pytest

from glu_prune.cli import main
from glu_prune.commands import models

TESTS = "def test_direction(glu_case, glu_check):\n    glu_check(glu_case)\n"
CLAIMS = "model: tiny-base\nratios: [0.5]\nexpect:\n  - {capability: reading, direction: down, why: of this test}\n"


def fail(error: BaseException):
    def failing(*_: object, **__: object) -> None:
        raise error

    return failing


@pytest.fixture(autouse=True)
def traces(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "traces"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def the_trace(line: str) -> str:
    (path,) = re.findall(r"\S+\.trace", line)
    return Path(path).read_text()


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("division by zero"), KeyError("a\nb"), MemoryError(), RecursionError("deep"), AssertionError(), UnicodeDecodeError("utf-8", b"x" * 10**6, 0, 1, "bad")]
)  # fmt: skip
def test_a_command_ends_with_one_line(capsys, monkeypatch, error):
    monkeypatch.setattr("glu_prune.report.listings.criteria", fail(error))
    assert main(["criteria"]) == 1
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert said.out == ""
    assert line.startswith(f"glu-prune: {type(error).__name__}")
    assert len(line) < 1000
    assert "in failing" in the_trace(line)


def test_what_the_system_says_names_its_file_or_itself(capsys, monkeypatch):
    monkeypatch.setattr(
        "glu_prune.report.listings.criteria", fail(OSError(errno.EIO, "Input/output error", "/some/file"))
    )
    assert main(["criteria"]) == 1
    assert capsys.readouterr().err == "glu-prune: '/some/file': Input/output error\n"
    monkeypatch.setattr("glu_prune.report.listings.criteria", fail(OSError("odd")))
    assert main(["criteria"]) == 1
    assert "OSError: odd" in capsys.readouterr().err


def test_a_trace_that_cannot_be_written_hides_nothing(capsys, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/proc/nowhere")
    monkeypatch.setattr("glu_prune.report.listings.criteria", fail(ZeroDivisionError("division by zero")))
    assert main(["criteria"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "ZeroDivisionError: division by zero" in line
    assert "no trace could be written" in line


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("glu_prune.session.session.read_cases", pytest.ExitCode.INTERRUPTED),
        ("glu_prune.session.session.Session.preflight", pytest.ExitCode.USAGE_ERROR),
        ("glu_prune.session.session.Gate", pytest.ExitCode.USAGE_ERROR),
        ("glu_prune.judgement.kinds.direction.DirectionCase.judge", pytest.ExitCode.TESTS_FAILED),
    ],
)
def test_a_session_ends_with_one_line(pytester, monkeypatch, place, code):
    monkeypatch.setattr(place, fail(ZeroDivisionError("division by zero")))
    pytester.makepyfile(TESTS)
    (pytester.path / "claims.yaml").write_text(CLAIMS)
    ran = pytester.runpytest_inprocess("--glu-expectations=claims.yaml")
    assert ran.ret == code
    said = [line for line in (*ran.outlines, *ran.errlines) if "division by zero" in line and ".trace" in line]
    assert said
    assert "in failing" in the_trace(said[0])
    assert not any("INTERNALERROR" in line or "Traceback" in line for line in (*ran.outlines, *ran.errlines))


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("arguments", ["models", "--help", "plan --help", "--version"])
def test_output_that_cannot_be_written_is_one_line_and_exit_code_1(arguments):
    with FULL.open("w") as full:
        ran = subprocess.run([sys.executable, "-m", "glu_prune.cli", *arguments.split()], stdout=full, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert (ran.returncode, ran.stderr) == (1, "glu-prune: standard output: No space left on device\n")


@pytest.mark.skipif(not FULL.exists(), reason="this system has no /dev/full")
def test_an_error_stays_one_where_nothing_was_to_be_written():
    with FULL.open("w") as full:
        ran = subprocess.run([sys.executable, "-m", "glu_prune.cli", "prune", "x"], stdout=full, stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert (ran.returncode, "standard output" in ran.stderr) == (2, False)


def test_a_reader_that_has_enough_is_no_error():
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run([sys.executable, "-m", "glu_prune.cli", "models"], stdout=write, stderr=subprocess.PIPE, text=True)  # fmt: skip
    os.close(write)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_control_characters_of_names_are_shown_and_never_sent(capsys, monkeypatch):
    monkeypatch.setattr(models, "Answer", lambda _: models_answer("a\x1b[31mb\rc\u202ed\ne"))
    assert main(["models"]) == 0
    assert capsys.readouterr().out == "a\\x1b[31mb\\rc\\u202ed\ne\n"


def models_answer(text: str):
    from glu_prune.commands.terminal import Answer

    return Answer(text)
