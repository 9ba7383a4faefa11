"""What engines want of widths, said beforehand."""

from typing import get_args

import pytest
import typer

from glu_prune.cli import main
from glu_prune.commands.choosing import _multiple
from glu_prune.pruning.engines import ENGINES, EngineName, fit


def test_every_engine_that_can_be_named_says_what_any_width_leads_to():
    assert tuple(ENGINES) == get_args(EngineName)
    for engine in ENGINES.values():
        steps = [step for step, _ in engine.steps]
        assert steps == sorted(steps, reverse=True)
        assert steps[-1] == 1
        assert all(engine.multiple % step == 0 for step in steps)
        assert engine.source


@pytest.mark.parametrize(
    ("name", "before", "width", "said"),
    [
        ("llama.cpp", 1536, 1024, "multiples of 256, as 1,024 is: every quantisation packs"),
        ("llama.cpp", 1536, 928, "multiples of 256; 928 is none: K-quants take a larger type for down (Q4_K: Q5_0, "),
        ("llama.cpp", 1536, 922, "multiples of 256; 922 is none: down stays F16 in every quantisation; the nearest: 1,024 (ratio 0.3334)"),
        ("llama.cpp", 172, 86, "multiples of 256, of which 172 holds none; at 86, down stays F16 in every quantisation"),
        ("vllm", 8192, 4916, "multiples of 128; 4,916 is none: 16-bit weights are served, 4-bit ones not by Marlin; "),
        ("tensor-cores", 8192, 4920, "multiples of 64; 4,920 is none: rows of 16-bit numbers are of whole 16 bytes, as "),
        ("tensor-cores", 8192, 4916, "the nearest: 4,928 (ratio 0.3985)"),
    ],
)  # fmt: skip
def test_a_width_fits_or_what_follows_and_the_nearest_that_does_are_said(name, before, width, said):
    assert said in fit(name, before, width)


def test_a_plan_says_what_its_engine_wants_in_place_of_what_accelerators_do(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    assert main(["plan", "tiny-base", "--ratio", "0.45", "--for", "llama.cpp"]) == 0
    shown = capsys.readouterr().out
    assert f"\n{fit('llama.cpp', 640, 352)}\n" in shown
    assert "accelerators" not in shown
    assert main(["plan", "tiny-base", "--ratio", "0.45"]) == 0
    assert "accelerators" in capsys.readouterr().out


def test_a_choice_is_among_widths_that_the_engine_takes():
    assert _multiple(None, None) is None
    assert _multiple(48, None) == 48
    assert _multiple(None, "llama.cpp") == 256
    assert _multiple(512, "llama.cpp") == 512
    with pytest.raises(typer.BadParameter, match=r"^--multiple-of 64 is no multiple of 256, as --for llama\.cpp wants"):
        _multiple(64, "llama.cpp")


def test_a_multiple_that_the_engine_does_not_take_is_refused_before_anything_runs(capsys):
    keep = ["choose", "tiny-instruct", "--keep", "reading:0.1"]
    assert main([*keep, "--multiple-of", "64", "--for", "llama.cpp"]) != 0
    assert "--multiple-of 64 is no multiple of 256, as --for llama.cpp wants widths" in capsys.readouterr().err
