import re

import torch

from tools import widths


def test_the_study_s_widths_and_their_neighbours():
    """As in the study's result files: expectations/evidence/scores.csv."""
    assert widths.widths() == {8192: 8192, 7373: 7360, 6554: 6528, 5735: 5760, 4916: 4928, 4096: 4096, 3277: 3264}


def test_all_widths_are_timed_and_shown(monkeypatch):
    monkeypatch.setattr(widths, "HIDDEN", 8)
    monkeypatch.setattr(widths, "ROUNDS", 2)
    monkeypatch.setattr(widths, "SECONDS", 0.001)
    found = widths.measured("cpu", torch.float32, 4)
    assert list(found) == ["decode, batch 1", "decode, batch 8", "4 tokens, batch 1", "4 tokens, batch 8"]
    for times in found.values():
        assert sorted(times) == sorted({each for pair in widths.widths().items() for each in pair})
        assert all(0 < least <= median <= most for median, least, most in times.values())
    lines = widths.table(found).splitlines()
    assert len(lines) == 2 + 7
    assert re.match(r"\| 7,373 \| 7,360 \| [\d,]+, aligned [\d,]+ \([+-]\d+%\) \|", lines[3])
    assert re.match(r"\| 4,096 \|  \| [\d,]+ \|", lines[7])
