"""The comparison of sweeps on a handful of items: its form and that both sides answer alike, never its speed."""

import importlib.util
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from glu_prune.evaluation.local_data import VARIABLE
from perf import sweep_items, sweep_speed, sweep_table
from perf.usual_loop import Answers
from tests.helpers import ROOT

REAL = os.environ.get(VARIABLE)
needs_both = pytest.mark.skipif(
    not REAL or importlib.util.find_spec("optipfair") is None,
    reason=f"{VARIABLE} names no folder of benchmark data, or OptiPFair is not installed",
)
LAST = r"total (\d+) s -> (\d+) s: \d+\.\d x faster than the usual loop"


@pytest.mark.slow("runs a sweep beside lm-eval and OptiPFair in the usual loop")
@needs_both
def test_both_give_the_same_answers_and_the_table_has_every_row(tmp_path):
    tasks = ["truthfulqa", "winogrande", "lambada_openai"]
    options = ["--model", "random", "--scale", "600", "--ratios", "0", "0.5", "--tasks", *tasks]
    done = subprocess.run(
        [sys.executable, "-m", "perf.sweep_speed", *options],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert not list(tmp_path.glob("glu-prune-sweep-*"))
    lines = done.stdout.splitlines()
    rows = {line.split()[0]: line.split() for line in lines if line.split() and line.split()[0] in tasks}
    assert [row[1] for row in rows.values()] == ["1", "2", "9"]
    for row in rows.values():
        assert float(row[-2]) <= sweep_table.TOLERANCE
        assert row[-1] == "0"
    assert {"loading", "lm-eval's", "TaskManager"} <= {line.split()[0] for line in lines if line.split()}
    assert "0 choices or texts changed" in lines[-3]
    assert lines[-2].endswith("faster than the charitable loop (TaskManager built once)")
    assert re.fullmatch(LAST, lines[-1])
    progress = [line for line in done.stderr.splitlines() if line.startswith("ratio ")]
    assert len(progress) == 2 * len(tasks)
    assert len(done.stderr.splitlines()) == 1 + len(tasks) + len(progress), "libraries keep quiet"


def test_without_data_there_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["sweep_speed", "--tasks", "piqa"])
    assert sweep_speed.main() == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"{tmp_path} lacks piqa/validation.jsonl: set {VARIABLE} to a folder of benchmark data\n"


@pytest.mark.parametrize("option", [["--ratios", "1"], ["--tasks", "gsm8k"], ["--scale", "0.5"]])
def test_options_that_make_no_sense_are_refused(option, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["sweep_speed", *option])
    with pytest.raises(SystemExit, match="2"):
        sweep_speed.main()
    assert option[0] in capsys.readouterr().err


def choices(*likelihoods: tuple[float, ...], acc: tuple[float, ...]) -> Answers:
    return Answers((), likelihoods, {"acc": acc}, {"acc": sum(acc) / len(acc)})


def test_changes_are_counted_once_per_item():
    one = choices((-1.0, -2.0), (-3.0, -4.0), (-5.0,), acc=(1.0, 0.0, 1.0))
    other = choices((-2.5, -2.0), (-3.0, -4.25), (-5.0,), acc=(0.0, 0.0, 0.0))
    found = sweep_table.compare(one, other)
    assert found == sweep_table.Agreement(difference=1.5, changed=2, score=pytest.approx(2 / 3))
    assert sweep_table.compare(one, one) == sweep_table.SAME


@pytest.mark.parametrize(
    ("near_ties", "rounded", "said"),
    [
        ((), 0, "NOT THE SAME ANSWERS: 1 choices or texts changed, log-"),
        ((True, False), 0, "NOT THE SAME ANSWERS: 1 choices or texts changed, log-"),
        ((False, True), 1, "1 choices or texts changed (1 of them texts with a near tie), log-"),
    ],
)
def test_texts_are_compared_as_they_are(near_ties, rounded, said):
    one = Answers(("a", "b"), (), {}, {"acc": 0.5})
    found = sweep_table.compare(one, Answers(("a", "c"), (), {}, {"acc": 0.5}, near_ties))
    assert (found.changed, found.rounded) == (1, rounded)
    assert sweep_table.verdict(found + sweep_table.SAME, exact=True).startswith(said)


def test_mmlu_is_made_smaller_by_whole_subjects(tmp_path):
    data, folder = tmp_path / "data", tmp_path / "small"
    for number in range(8):
        for split, lines in (("test", 200 + 10 * number), ("dev", 5)):
            path = data / "mmlu" / split / f"subject_{number}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(f'{{"question": "{number} {line}"}}\n' for line in range(lines)))
    (mmlu,) = (each for each in sweep_items.BENCHMARKS if each.name == "mmlu")
    (small,) = sweep_items.scale_down(data, folder, [mmlu], 4, 0)
    assert len(small.tasks) == 2
    assert small.items == pytest.approx(470, rel=0.1)
    for task in small.tasks:
        assert small.num_fewshot == 5
        for file in small.files(folder, task).values():
            assert Path(file).read_bytes() == (data / Path(file).relative_to(folder)).read_bytes()
    assert sweep_items.scale_down(data, tmp_path / "again", [mmlu], 4, 0) == [small]


def test_items_keep_their_order_and_are_those_of_the_seed():
    lines = [f"{number:03}\n" for number in range(100)]
    drawn = sweep_items._sample(lines, 10, random.Random("piqa 0"))
    assert drawn == sorted(drawn)
    assert drawn == sweep_items._sample(lines, 10, random.Random("piqa 0"))
    assert drawn != sweep_items._sample(lines, 10, random.Random("piqa 1"))
