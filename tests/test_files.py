import os
import subprocess
import sys
from pathlib import Path

import pytest

from glu_prune.files import is_dead, unfinished, write_whole, writer


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("content", ["line\nä\n", "line\nä\n".encode()])
def test_a_file_is_made_or_replaced(tmp_path, content, sync):
    path = tmp_path / "file"
    for before in (None, b"older, and longer than what comes"):
        if before:
            path.write_bytes(before)
        write_whole(path, content, sync=sync)
        assert path.read_bytes() == "line\nä\n".encode()
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("breaks", [(os, "fsync"), (Path, "replace")])
def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch, breaks):
    def refuse(*_: object) -> None:
        raise OSError("the disk is full")

    path = tmp_path / "file"
    path.write_text("older")
    monkeypatch.setattr(*breaks, refuse)
    with pytest.raises(OSError, match="the disk is full"):
        write_whole(path, "newer", sync=True)
    assert path.read_text() == "older"
    assert [*tmp_path.iterdir()] == [path]


def test_others_may_read_what_the_umask_lets_them(tmp_path):
    before = os.umask(0o022)
    try:
        write_whole(tmp_path / "file", "")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o644


KILLED = """
import os, pathlib, signal, sys
from glu_prune.files import write_whole
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
write_whole(pathlib.Path(sys.argv[1]), "half", sync=True)
"""


def test_the_next_write_removes_what_a_killed_one_left(tmp_path):
    path = tmp_path / "file"
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert len([*tmp_path.iterdir()]) == 1
    assert not path.exists()
    write_whole(tmp_path / "another", "whole")
    assert [each.name for each in tmp_path.iterdir()] == ["another"]


def test_only_what_nobody_writes_any_more_is_unfinished(tmp_path):
    place, _, number = writer().rpartition(".")
    assert int(number) == os.getpid()
    names = {
        f".{'0' * 32}.{writer()}.partial": False,
        f".{'1' * 32}.{place}.99999999.partial": True,
        f".{'2' * 32}.elsewhere-1.99999999.partial": False,
        f".{'3' * 32}.partial": False,
        "notes.partial": False,
        ".partial": False,
        f".{'4' * 31}.{place}.99999999.partial": False,
    }
    for name in names:
        (tmp_path / name).write_text("x")
    assert [path.name for path in unfinished(tmp_path)] == [name for name, dead in sorted(names.items()) if dead]
    for name in names:
        os.utime(tmp_path / name, (1, 1))
    assert {path.name[1] for path in unfinished(tmp_path)} == {"0", "1", "2"}
    assert unfinished(tmp_path / "absent") == []
    assert not is_dead("elsewhere-1.99999999")
