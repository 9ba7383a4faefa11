"""How work is shown: by real terminals and pipes."""

import os
import pty
import re
import select
from contextlib import contextmanager, suppress

import pytest

from glu_prune.progress.shows import PlainLines, StatusLine, shown_on
from glu_prune.progress.work import Running, Snapshot, Work
from tests.helpers.terminals import Terminal
from tests.progress.test_work import Clock

STATE = Snapshot(running=(Running("dense recall", doing="items", done=1, total=9),))


@contextmanager
def a_terminal():
    ours, theirs = pty.openpty()

    def read() -> str:
        written = ""
        while select.select([ours], [], [], 0.05)[0]:
            written += os.read(ours, 65536).decode()
        return written

    with os.fdopen(theirs, "w") as stream:
        yield stream, read
    os.close(ours)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_the_line_stands_below_what_others_write_is_rewritten_and_gone_in_the_end(clock):
    with a_terminal() as (stream, read):
        screen, show = Terminal(), shown_on(stream, clock)
        assert isinstance(show, StatusLine)
        stream.write("tests ..")
        work = Work(show, clock)
        with work.running("dense recall", {}):
            screen.write(read())
            assert screen.text == "tests ..\ndense recall"
            clock.now += 1
            work.step("items", 480, 480)
            screen.write(read())
            assert screen.text == "tests ..\ndense recall: items 480/480"
            with show.paused():
                stream.write(".\nmore")
            screen.write(read())
            assert screen.text == "tests ...\nmore"
            clock.now += 1
            work.step("items", 480, 480)
            screen.write(read())
            assert screen.text == "tests ...\nmore\ndense recall: items 480/480"
        stream.write("!")
        stream.flush()
        screen.write(read())
        assert screen.text == "tests ...\nmore!"


def test_the_line_is_drawn_now_and_then(clock):
    with a_terminal() as (stream, read):
        show = StatusLine(stream, clock)
        for _ in range(10):
            show(lambda: STATE)
            clock.now += 0.03
        assert read().count("dense recall") == 2


def test_a_line_never_wraps_and_only_shows(clock):
    with a_terminal() as (stream, read):
        show = StatusLine(stream, clock)
        show(lambda: Snapshot(running=(Running("\x1b[31m\r" + "wide " * 100),)))
        drawn = re.search(r"\x1b\[2K(.*?)\x1b8", read(), re.DOTALL)[1]
        assert drawn.startswith(r"\x1b[31m\rwide wide")
        assert len(drawn) == 79


@pytest.mark.parametrize("line", [0, 1])
def test_a_line_during_which_one_interrupts_goes_away_too(clock, line):
    """Ctrl-C comes where it likes: here as soon as the line is on the screen."""
    with a_terminal() as (stream, read):
        screen, show = Terminal(), StatusLine(stream, clock)
        work = Work(show, clock)
        flush, before = stream.flush, [None] * line

        def flush_and_interrupt() -> None:
            flush()
            if not before:
                stream.flush = flush
                raise KeyboardInterrupt
            before.pop()

        stream.flush = flush_and_interrupt
        with suppress(KeyboardInterrupt), work.running("dense recall", {}):
            clock.now += 1
            work.step("items", 1, 2)
        assert stream.flush is flush
        screen.write(read())
        assert screen.text == ""


def test_a_dumb_terminal_gets_plain_lines(clock, monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with a_terminal() as (stream, _):
        assert isinstance(shown_on(stream, clock), PlainLines)


def test_a_pipe_gets_a_plain_line_a_minute(clock):
    ours, theirs = os.pipe()
    with os.fdopen(ours) as found, os.fdopen(theirs, "w") as stream:
        work = Work(shown_on(stream, clock), clock)
        with work.running("dense recall", {}):
            for second in range(150):
                work.step("items", second, 150)
                clock.now += 1
        clock.now += 100
        with work.running("what was just begun", {}):
            pass
        stream.close()
        lines = found.read().splitlines()
    assert lines == [
        "dense recall: items 60/150, 01:30 left",
        "dense recall: items 120/150, 00:30 left",
        "what was just begun",
    ]


def test_nothing_is_written_while_nothing_runs(clock, tmp_path):
    with (tmp_path / "log").open("w") as stream:
        show = shown_on(stream, clock)
        clock.now += 61
        show(lambda: Snapshot(needed=3), now=True)
    assert (tmp_path / "log").read_text() == ""


def test_a_closed_pipe_ends_no_run(clock):
    ours, theirs = os.pipe()
    os.close(ours)
    stream = os.fdopen(theirs, "w", buffering=1)
    show = PlainLines(stream, clock)
    clock.now += 61
    show(lambda: STATE)
    os.dup2(os.open(os.devnull, os.O_WRONLY), theirs)  # what is left in the buffer can be written after all
    stream.close()
