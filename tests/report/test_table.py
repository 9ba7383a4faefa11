"""Each column shows what its heading says, and sums are right."""

import json
from pathlib import Path

import pandas as pd
import pytest

from glu_prune.report.columns import COST_CLAIMS, EFFICIENCY, FINDINGS, GROUPS, SCORES, TRENDS, WHY, score_columns
from glu_prune.report.efficiency import efficiency_rows
from glu_prune.report.session import SessionReport
from glu_prune.report.table import frame, render

SCORE = {
    "model": "m", "ratio": "0.5", "capability": "skill", "metric": "acc", "better": "higher", "floor": 0.25,
    "floor_of": "uniform", "claim": "down", "declared": "confirmed", "controls": {"random": 0.4}, "where": "f.yaml:3",
    "file": "f.yaml", "in_file": 4, "outcome": "confirmed", "dense": 0.8, "pruned": 0.3, "delta": -0.5, "low": -0.6,
    "high": -0.4, "p": 0.01, "tests": 3, "test": "exact McNemar", "items": 100, "gained": 1, "lost": 51, "note": "",
    "sentence": "skill down: confirmed.",
}  # fmt: skip


def cost(arm: str, task: str, *, seconds: float, positions: int, scored: int, cpu: float | None) -> dict:
    energy = {} if cpu is None else {"cpu": {"joules": cpu, "method": "rapl"}}
    return {
        "model": "m", "arm": arm, "ratio": "0.5", "task": task, "prompts": 2, "scores": {"acc": [0.5, 0.1, 2]},
        "control": False, "new_tokens": 0,
        "size": {"parameters": 1000, "bytes": 4_000_000, "width": 8, "hidden": 2, "expansion_ratio": 4.0},
        "cost": {"seconds": seconds, "positions": positions, "scored_positions": scored, "energy": energy,
                 "note": "" if energy else "no meter"},
    }  # fmt: skip


COSTS = [
    cost("dense", "choices", seconds=2.0, positions=100, scored=100, cpu=10.0),
    cost("dense", "text", seconds=5.0, positions=90, scored=0, cpu=30.0),
    cost("ppm-0.5", "choices", seconds=1.0, positions=100, scored=100, cpu=4.0),
]


def shown(columns, row) -> dict[str, str]:
    return {column.name: column.show(column.get(row)) for column in columns}


def test_each_score_column():
    report = SessionReport()
    report.add({"scores": [SCORE]})
    (row,) = report.rows("scores")
    assert {c.name: c.get(row) for c in score_columns([row])} == {
        "ratio": "0.5", "capability": "skill", "metric": "acc", "items": 100, "floor": 0.25, "of": "uniform",
        "dense": 0.8, "pruned": 0.3, "random": 0.4, "delta": -0.5, "low": -0.6, "high": -0.4, "p": 0.01,
        "p, ratios": 0.03, "p, file": 0.04, "claim": "down", "verdict": "confirmed", "note": "",
    }  # fmt: skip


def test_scores_are_written_for_people():
    row = {**SCORE, "holm": 0.0001, "floor": None, "floor_of": None}
    assert list(shown(score_columns([row]), row).values()) == [
        "0.5", "skill", "acc", "100", "-", "-", "0.800", "0.300", "0.400", "-0.500", "-0.600", "-0.400", "0.010",
        "0.030", "<0.001", "down", "confirmed", "",
    ]  # fmt: skip


def test_holm_counts_every_claim_of_the_file_and_no_other_file():
    report = SessionReport()
    report.add({"scores": [{**SCORE, "ratio": "0.1", "p": 0.02}, SCORE, {**SCORE, "file": "g.yaml", "in_file": 1}]})
    assert [row["holm"] for row in report.rows("scores")] == [pytest.approx(0.06), pytest.approx(0.04), 0.01]


def test_each_column_of_why():
    row = {
        "ratio": "0.5", "capability": "skill", "gained": 3, "lost": 7, "margin": [1.5, -0.25], "length": [10.0, 64.0],
        "flawed": [0.01, 0.5], "kinds": ["1 cut", "30 cut, 20 loop"], "sound": [0.5, 0.25], "sound_items": 40,
    }  # fmt: skip
    assert list(shown(WHY, row).values()) == [
        "0.5", "skill", "3", "7", "1.50 -> -0.25", "10.0 -> 64.0", "1% -> 50%", "1 cut -> 30 cut, 20 loop",
        "0.500 -> 0.250", "40",
    ]  # fmt: skip
    nothing = dict.fromkeys(("margin", "length", "flawed", "kinds", "sound"))
    assert list(shown(WHY, {**row, **nothing}).values())[4:9] == ["-"] * 5


def test_each_column_of_groups_trends_costs_and_findings():
    group = {
        "ratio": "0.5",
        "capability": "skill",
        "field": "band",
        "label": "head",
        "items": 3,
        "dense": 1.0,
        "pruned": 0.5,
    }
    assert list(shown(GROUPS, group).values()) == ["0.5", "skill", "band", "head", "3", "1.000", "0.500"]
    trend = {
        "about": "a and b", "relation": "inverse", "points": 7, "statistics": "r = -1", "reasons": ["x", "y"],
        "outcome": "refuted", "declared": "confirmed",
    }  # fmt: skip
    assert list(shown(TRENDS, trend).values()) == [
        "a and b: inverse", "7", "r = -1", "x; y", "refuted (declared confirmed)",
    ]  # fmt: skip
    costs = {**SCORE, "holm": 0.2, "capability": "joules_per_token", "percent": [-20.0, -30.0, -10.0]}
    assert list(shown(COST_CLAIMS, costs).values()) == [
        "0.5", "joules_per_token", "100", "0.800", "0.300", "-20.0", "-30.0", "-10.0", "0.010", "0.030", "0.200", "down", "confirmed", "",
    ]  # fmt: skip
    finding = {"check": "energy_unit", "subject": "kwh", "ratios": ["0.0", "0.1"], "says": "not an energy"}
    assert list(shown(FINDINGS, finding).values()) == ["energy_unit", "kwh", "0.0, 0.1", "not an energy"]


def test_another_verdict_than_declared_is_marked():
    row = {**SCORE, "outcome": "refuted", "holm": 0.1}
    assert {c.name: c.get(row) for c in SCORES}["verdict"] == "refuted (declared confirmed)"


def test_lower_is_better_is_said():
    assert "acc (lower is better)" in render(SCORES, [{**SCORE, "better": "lower", "holm": 0.1}], "simple")


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
    report.add({"scores": [SCORE], "cells": COSTS})
    report.add({"scores": [SCORE], "cells": COSTS})
    names = report.write(tmp_path)
    assert pd.read_csv(tmp_path / "scores.csv")["delta"].tolist() == [-0.5]
    assert json.loads((tmp_path / "report.json").read_text())["scores"] == [{**SCORE, "holm": 0.04}]
    markdown = (tmp_path / "report.md").read_text()
    assert "## m: capabilities" in markdown
    assert "- m, ratio 0.5: skill down: confirmed." in markdown
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert sorted(names) == ["efficiency.csv", "report.json", "report.md", "scores.csv"]


def test_an_empty_session_shows_nothing():
    assert not SessionReport()


def test_our_own_records_are_checked_but_not_controls():
    """Scores at chance are found, in the arm that the claim is about and in no other."""
    report = SessionReport()
    uniform = {"task": "choices", "metric": "acc", "null": "uniform", "score": 0.5, "sd": 0.0, "items": 2}
    by_lot = {**COSTS[2], "arm": "random-0.5", "control": True, "ratio": "0.9"}
    report.add({"scores": [SCORE], "cells": [*COSTS, by_lot], "floors": [uniform]})
    (finding,) = (row for row in report.rows("findings") if row["check"] == "at_chance")
    assert (finding["subject"], finding["ratios"]) == ("choices acc", ["0.5"])
