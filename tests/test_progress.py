"""How far a session is, as its users see it: real sessions of a small real model, on terminals and in pipes."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from glu_prune.experiment.maintenance import entries
from glu_prune.models.source import locate
from tests.helpers import ROOT
from tests.helpers.terminals import Terminal, on_a_terminal

EXPECTATIONS = """\
model: ./random
ratios: [0.25, 0.5]
expect:
  - capability: story_modelling
    direction: preserved
    margin: 5
    verdict: inconclusive
    why: it has no idea of stories, and loses none
"""
TEST = """\
import pytest

@pytest.mark.parametrize("number", range(3))
def test_before(number):
    pass

def test_direction(glu_case, glu_check):
    glu_check(glu_case)
"""
ENV = {**os.environ, "TERM": "xterm", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
DRAWN = re.compile(r"\x1b\[2K([^\x1b]+)\x1b8")

pytestmark = pytest.mark.slow("each session is a process of its own, which imports torch")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A random Llama with the embedded tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    folder, embedded = tmp_path_factory.mktemp("models") / "random", locate("tiny-base").folder
    config = LlamaConfig.from_pretrained(embedded)
    config.update({"hidden_size": 16, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2})
    config.head_dim = 8
    LlamaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(embedded / name, folder)
    return folder


@pytest.fixture
def project(tmp_path, model) -> Path:
    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "random.yaml").write_text(EXPECTATIONS)
    (tmp_path / "random").symlink_to(model)
    (tmp_path / "test_directions.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--glu-batch-size=4", *arguments]


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_on_a_terminal_a_line_is_rewritten_below_the_dots_and_gone_in_the_end(project, workers):
    code, written = on_a_terminal(command(*workers), project, ENV)
    assert code == 0, written
    drawn = DRAWN.findall(written)
    assert any(re.match(r"\d/4 records(, \d\d:\d\d left)? \| .*\./random dense tiny_stories", line) for line in drawn)
    assert any(re.search(r"tiny_stories: items \d+/400", line) for line in drawn)
    screen = Terminal()
    screen.write(written)
    assert "records" not in screen.text
    assert ("....." if workers else "test_directions.py ...\n") in screen.text


def test_in_a_pipe_nothing_moves_and_short_runs_say_nothing(project):
    done = subprocess.run(command(), cwd=project, env=ENV, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "\r" not in done.stdout
    assert "records" not in done.stdout


def test_quiet_sessions_show_nothing(project):
    code, written = on_a_terminal(command("-q"), project, ENV)
    assert code == 0, written
    assert DRAWN.findall(written) == []


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_ctrl_c_says_what_is_kept_and_the_same_command_goes_on_from_there(project, workers):
    # Not at a count of items: of workers it is looked at twice a second, and a cell may be over by then.
    code, written = on_a_terminal(command(*workers), project, ENV, interrupted_at="1/4 records")
    assert code == 2, written
    screen = Terminal()
    screen.write(written)
    said = re.search(
        r"^interrupted: (\d) of 4 records are in the store (\S+); the same command goes on from there$",
        screen.text,
        re.M,
    )
    assert said, screen.text
    assert Path(said[2]) == project / ".glu-prune"
    kept = [entry.key for entry in entries(project / ".glu-prune") if entry.kind.__name__ != "CostRecord"]
    assert len(kept) == int(said[1]) < 4
    assert "/4 records" not in screen.text
    code, written = on_a_terminal(command(), project, ENV)
    assert code == 0, written
    assert f"{said[1]}/4 records" in DRAWN.findall(written)[0]


def test_a_measurement_that_is_interrupted_says_what_is_kept(project):
    asked = ("measure", "tiny-base", "--rounds", "2", "--window", "0.1", "--processes", "0", "--store", "kept")
    code, written = on_a_terminal(
        [sys.executable, "-m", "glu_prune.cli", *asked, "--new-tokens", "4"], project, ENV, interrupted_at="p64_n4_b8"
    )
    assert code == 130, written
    screen = Terminal()
    screen.write(written)
    said = "glu-prune: interrupted; 1 of 2 records are in the store kept; the same command goes on from there"
    assert screen.text.splitlines()[-1] == said
