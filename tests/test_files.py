import os
from pathlib import Path

import pytest

from glu_prune.files import write_whole


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
