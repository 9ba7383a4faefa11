"""Each column shows what its heading says, and sums are right."""

import json
from pathlib import Path

import pandas as pd
import pytest

from glu_prune.report.session import SessionReport
from glu_prune.report.table import EFFICIENCY, SCORES, efficiency_rows, frame, render, score_columns

SCORE = {
    "model": "m", "ratio": "0.5", "capability": "skill", "metric": "acc", "better": "higher", "chance": 0.25,
    "claim": "down", "declared": "confirmed", "controls": {"random": 0.4}, "where": "f.yaml:3", "outcome": "confirmed",
    "dense": 0.8, "pruned": 0.3, "delta": -0.5, "low": -0.6, "high": -0.4, "p": 1e-9, "test": "exact McNemar",
    "items": 100, "gained": 1, "lost": 51, "sentence": "skill down: confirmed.",
}  # fmt: skip


def cost(arm: str, task: str, *, seconds: float, positions: int, scored: int, cpu: float | None) -> dict:
    energy = {} if cpu is None else {"cpu": {"joules": cpu, "method": "rapl"}}
    return {
        "model": "m", "arm": arm, "ratio": "0.5", "task": task,
        "size": {"parameters": 1000, "bytes": 4_000_000, "width": 8, "hidden": 2, "expansion_ratio": 4.0},
        "cost": {"seconds": seconds, "positions": positions, "scored_positions": scored, "energy": energy,
                 "note": "" if energy else "no meter"},
    }  # fmt: skip


COSTS = [
    cost("dense", "choices", seconds=2.0, positions=100, scored=100, cpu=10.0),
    cost("dense", "text", seconds=5.0, positions=90, scored=0, cpu=30.0),
    cost("ppm-0.5", "choices", seconds=1.0, positions=100, scored=100, cpu=4.0),
]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ratio", "0.5"), ("capability", "skill"), ("metric", "acc"), ("items", 100), ("chance", 0.25), ("dense", 0.8),
        ("pruned", 0.3), ("delta", -0.5), ("low", -0.6), ("high", -0.4), ("p", 1e-9), ("claim", "down"),
        ("verdict", "confirmed"),
    ],
)  # fmt: skip
def test_each_score_column(column, value):
    assert {c.name: c.get(SCORE) for c in SCORES}[column] == value


def test_scores_are_written_for_people():
    text = render(score_columns([SCORE]), [SCORE], "pipe")
    cells = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
    expected = ["0.5", "skill", "acc", "100", "0.25", "0.800", "0.300", "0.400", "-0.500", "-0.600", "-0.400", "<0.001"]
    assert cells == [*expected, "down", "confirmed"]


def test_another_verdict_than_declared_is_marked():
    row = {**SCORE, "outcome": "refuted"}
    assert {c.name: c.get(row) for c in SCORES}["verdict"] == "refuted (declared confirmed)"


def test_lower_is_better_is_said():
    assert "acc (lower is better)" in render(SCORES, [{**SCORE, "better": "lower"}], "simple")


def test_speed_is_compared_over_the_work_all_arms_share():
    dense, pruned = efficiency_rows(COSTS)
    assert dense["tokens_per_second"] == 50
    assert pruned["tokens_per_second"] == 100
    assert dense["joules_per_1000_tokens"] == 100
    assert pruned["joules_per_1000_tokens"] == 40
    assert dense["joules"] == {"cpu": 40.0}
    assert dense["method"] == "cpu: rapl"


def test_generated_text_gives_no_speed():
    (row,) = efficiency_rows([COSTS[1]])
    assert row["tokens_per_second"] is None
    assert row["joules_per_1000_tokens"] is None


def test_energy_that_was_not_measured_is_absent_not_zero():
    (row,) = efficiency_rows([cost("dense", "choices", seconds=1, positions=10, scored=10, cpu=None)])
    assert row["joules_per_1000_tokens"] is None
    assert row["joules"] == {}
    assert row["method"] == "no meter"
    assert "| -" in render(EFFICIENCY, [row], "pipe")


def test_a_cell_that_several_claims_use_counts_once():
    assert efficiency_rows([*COSTS, *COSTS]) == efficiency_rows(COSTS)


def test_frames_hold_numbers():
    table = frame(EFFICIENCY, efficiency_rows(COSTS))
    assert table["tokens/s"].tolist() == [50.0, 100.0]
    assert table["MB"].tolist() == [4.0, 4.0]
    assert table["cpu J"].tolist() == [40.0, 4.0]


def test_files_agree_with_the_rows(tmp_path: Path):
    report = SessionReport()
    report.add({"score": SCORE, "groups": [], "costs": COSTS})
    report.write(tmp_path)
    assert pd.read_csv(tmp_path / "scores.csv")["delta"].tolist() == [-0.5]
    assert json.loads((tmp_path / "report.json").read_text())["scores"] == [SCORE]
    markdown = (tmp_path / "report.md").read_text()
    assert "## m: capabilities" in markdown
    assert "- m, ratio 0.5: skill down: confirmed." in markdown
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "efficiency.csv", "groups.csv", "report.json", "report.md", "scores.csv",
    ]  # fmt: skip
