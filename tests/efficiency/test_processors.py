"""Who used the machine's processors while something ran."""

import time
from types import SimpleNamespace

import psutil
import pytest

from glu_prune.efficiency.processors import Processors
from tests.helpers.processes import busy_process


def test_another_process_at_work_is_seen():
    processors = Processors()
    with busy_process(), processors.watched():
        time.sleep(1)
    assert processors.other_load > 0.3 / psutil.cpu_count()


def test_seconds_that_were_neither_idle_nor_ours_were_used_by_others(monkeypatch):
    """Of 20 seconds 8 were idle, 3 of them waiting for a disk, 2 were stolen and 7 ours; guests are in `user`."""
    times = iter([
        {"user": 100.0, "system": 10.0, "idle": 50.0, "iowait": 5.0, "steal": 1.0, "guest": 40.0},
        {"user": 109.0, "system": 11.0, "idle": 55.0, "iowait": 8.0, "steal": 3.0, "guest": 44.0},
    ])  # fmt: skip
    own = iter([2.0, 9.0])
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(_asdict=lambda: next(times)))
    monkeypatch.setattr(time, "process_time", lambda: next(own))
    processors = Processors()
    with processors.watched():
        pass
    assert (processors.passed, processors.by_others, processors.other_load) == (20.0, 5.0, 0.25)


def test_stretches_add_up_and_those_that_fail_do_not(monkeypatch):
    counts = iter([(0.0, 0.0, 0.0), (4.0, 1.0, 1.0), (10.0, 1.0, 1.0), (14.0, 5.0, 1.0), (20.0, 0.0, 0.0)])
    monkeypatch.setattr("glu_prune.efficiency.processors._counted", lambda: next(counts))
    processors = Processors()
    for _ in range(2):
        with processors.watched():
            pass
    with pytest.raises(ZeroDivisionError), processors.watched():
        raise ZeroDivisionError
    assert processors.other_load == 2 / 8


def test_ticks_of_the_clock_make_no_negative_share_and_none_is_no_share(monkeypatch):
    counts = iter([(0.0, 0.0, 0.0), (1.0, 1.0, 0.01)])
    monkeypatch.setattr("glu_prune.efficiency.processors._counted", lambda: next(counts))
    processors = Processors()
    assert processors.other_load == 0
    with processors.watched():
        pass
    assert processors.other_load == 0
