"""Each column shows what its heading says, and sums are right."""

import json
import math
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from glu_prune.judgement.conclusion import conclude
from glu_prune.judgement.cost_runs import findings
from glu_prune.judgement.cost_tables import cost_tables
from glu_prune.judgement.evaluation_costs import evaluation_costs
from glu_prune.report.columns import (
    COST_CLAIMS,
    CURVES,
    EFFICIENCY,
    ENERGY,
    EVALUATIONS,
    FINDINGS,
    GROUPS,
    SCORES,
    TRENDS,
    WHY,
    score_columns,
)
from glu_prune.report.files import MANIFEST, write
from glu_prune.report.formats import terminal
from glu_prune.report.formats.terminal import Shape
from glu_prune.report.table import frame, render
from glu_prune.report.tables import notes
from glu_prune.results.claims import CapabilityResult, CostResult, TrendResult
from glu_prune.results.costs import CellResult, ChannelEnergy, FigureResult, FloorScore
from glu_prune.results.curves import CurvePoint
from glu_prune.results.explanations import Explanation, GroupScores
from glu_prune.results.findings import Finding
from glu_prune.results.report import CaseTables, Report
from tests.helpers.cost_series import LABEL, LONG, NO_METER, series, took

SCORE = CapabilityResult.model_validate({
    "model": "m", "ratio": "0.5", "capability": "skill", "metric": "acc", "better": "higher", "floor": 0.25,
    "floor_of": "uniform", "claim": "down", "declared": "confirmed", "controls": {"random": 0.4}, "where": "f.yaml:3",
    "file": "f.yaml", "in_file": 4, "outcome": "confirmed", "dense": 0.8, "pruned": 0.3, "delta": -0.5, "low": -0.6,
    "high": -0.4, "p": 0.01, "tests": 3, "family": "f", "declared_since": None, "p_ratios": 0.03, "test": "exact McNemar", "items": 100, "gained": 1,
    "lost": 51, "needed": None, "note": "", "reasons": (), "why": "w", "sentence": "skill down: confirmed.", "of": None,
})  # fmt: skip


def changed(row, **fields):
    """`row` with other fields, checked like those it was made with."""
    return type(row).model_validate({**dict(row), **fields})


def concluded(*cases: dict) -> Report:
    return conclude([CaseTables(**tables) for tables in cases])


def cost(
    arm: str,
    task: str,
    *,
    seconds: float,
    positions: int | None,
    scored: int | None,
    cpu: float | None,
    others: float | None = 0.01,
    why: str = "",
) -> CellResult:
    energy = {} if cpu is None else {"cpu": {"joules": cpu, "method": "rapl"}}
    return CellResult.model_validate({
        "model": "m", "arm": arm, "ratio": "0.5", "task": task, "prompts": 2, "scores": {"acc": [0.5, 0.1, 2]},
        "control": False, "new_tokens": 0, "part": "", "truncated": 0, "near_ties": 0, "limit": None,
        "dtype": "float32", "dtype_why": why,
        "size": {"parameters": 1000, "bytes": 4_000_000, "width": 8, "hidden": 2, "expansion_ratio": 4.0},
        "cost": {"seconds": seconds, "positions": positions, "scored_positions": scored, "energy": energy,
                 "note": "" if energy else "no meter", "others": others},
    })  # fmt: skip


HALF = Decimal("0.5")

COSTS = [
    cost("dense", "choices", seconds=2.0, positions=100, scored=100, cpu=10.0),
    cost("dense", "text", seconds=5.0, positions=90, scored=0, cpu=30.0),
    cost("ppm-0.5", "choices", seconds=1.0, positions=100, scored=100, cpu=4.0),
]


def shown(columns, row) -> dict[str, str]:
    return {column.name: column.show(column.get(row)) for column in columns}


def test_the_dtype_of_an_arm_is_shown_with_why_it_was_taken():
    how = {"seconds": 2.0, "positions": 100, "scored": 100, "cpu": 10.0}
    one, other = evaluation_costs([cost("dense", "choices", **how), cost("ppm-0.5", "choices", **how, why="faster")])
    assert [shown(EVALUATIONS, each)["dtype"] for each in (one, other)] == ["float32", "float32: faster"]


def test_positions_that_are_not_counted_give_no_speed():
    """As where a backend answers; how large arms are and what energy they took is known all the same."""
    uncounted = [cost("dense", "choices", seconds=2.0, positions=None, scored=None, cpu=10.0)]
    (row,) = evaluation_costs(uncounted)
    assert (row.tokens_per_second, row.joules_per_1000_tokens) == (None, None)
    assert (row.parameters, row.joules) == (1000, {"cpu": 10.0})
    both = evaluation_costs([*uncounted, *COSTS[1:]])
    assert [each.tokens_per_second for each in both] == [None, 100.0]


def test_each_score_column():
    (row,) = concluded({"scores": (SCORE,)}).scores
    assert {c.name: c.get(row) for c in score_columns([row])} == {
        "ratio": "0.5", "capability": "skill", "metric": "acc", "items": 100, "floor": 0.25, "of": "uniform",
        "dense": 0.8, "pruned": 0.3, "random": 0.4, "delta": -0.5, "low": -0.6, "high": -0.4, "p": 0.01,
        "p, ratios": 0.03, "p, file": 0.04, "claim": "down", "verdict": "confirmed", "note": "",
    }  # fmt: skip


def test_a_claim_that_took_fewer_items_shows_how_many_there_are():
    row = changed(SCORE, holm=0.03, total_items=480)
    assert list(shown(score_columns([SCORE, row]), row).items())[3:5] == [("items", "100"), ("of all", "480")]
    assert "of all" not in [column.name for column in score_columns([SCORE])]


def test_scores_are_written_for_people():
    row = changed(SCORE, holm=0.0001, floor=None, floor_of=None)
    assert list(shown(score_columns([row]), row).values()) == [
        "0.5", "skill", "acc", "100", "-", "-", "0.800", "0.300", "0.400", "-0.500", "-0.600", "-0.400", "0.010",
        "0.030", "<0.001", "down", "confirmed", "",
    ]  # fmt: skip


def test_holm_counts_every_claim_of_the_file_and_no_other_file():
    rows = (changed(SCORE, ratio="0.1", p=0.02), SCORE, changed(SCORE, file="g.yaml", in_file=1))
    assert [row.holm for row in concluded({"scores": rows}).scores] == [pytest.approx(0.06), pytest.approx(0.04), 0.01]


def test_each_column_of_why():
    row = Explanation.model_validate({
        "model": "m", "ratio": "0.5", "capability": "skill", "gained": 3, "lost": 7, "flips": (0.25, 0.125, 0.5), "commonest": ("a 30%", "b 88%"), "margin": (1.5, -0.25),
        "length": (10.0, 64.0), "flawed": (0.01, 0.5), "kinds": ("1 cut", "30 cut, 20 loop"), "sound": (0.5, 0.25),
        "sound_items": 40, "matched": (0.125, -0.0625, 0.25), "matched_items": 30,
    })  # fmt: skip
    assert list(shown(WHY, row).values()) == [
        "0.5", "skill", "3", "7", "25.0% (12.5% to 50.0%)", "a 30% -> b 88%", "1.50 -> -0.25", "10.0 -> 64.0", "1% -> 50%", "1 cut -> 30 cut, 20 loop",
        "0.500 -> 0.250", "40", "+0.125 (-0.062 to +0.250)", "30",
    ]  # fmt: skip
    assert frame(WHY, [row]).to_csv(index=False).splitlines()[1] == (
        '0.5,skill,3,7,0.25,0.125,0.5,"[\'a 30%\', \'b 88%\']","[1.5, -0.25]","[10.0, 64.0]","[0.01, 0.5]","[\'1 cut\', \'30 cut, 20 loop\']","[0.5, 0.25]",40,0.125,-0.0625,0.25,30'
    )
    nothing = dict.fromkeys(("flips", "commonest", "margin", "length", "flawed", "kinds", "sound", "matched"))
    assert list(shown(WHY, changed(row, **nothing)).values())[4:11] == ["-"] * 7
    assert shown(WHY, changed(row, **nothing))["delta at matched length"] == "-"


def test_each_column_of_a_curve():
    row = CurvePoint(
        model="m", criterion="ppm", capability="skill", metric="acc", ratio=HALF, dense=0.75, score=0.5, delta=-0.25, low=-0.375,
        high=-0.125, band_low=-0.5, band_high=math.inf, floor=0.0625, chance=None, items=100, units=20, ratios=3,
    )  # fmt: skip
    assert list(shown(CURVES, row).values()) == [
        "ppm", "skill", "acc", "0.5", "0.750", "0.500", "-0.250", "-0.375", "-0.125", "-0.500", "-", "0.062", "-", "100", "20", "3",
    ]  # fmt: skip
    report = concluded({"curves": (row,)}, {"curves": (row,)})
    assert report.curves == (row,), "several claims across ratios give the same curve"
    assert next(block.heading for block in terminal.blocks(report, Shape(long=True))) == "m: dose-response"
    assert not any(block.heading for block in terminal.blocks(report, Shape()))


def test_each_column_of_groups_trends_costs_and_findings():
    group = GroupScores(
        model="m", ratio=HALF, capability="skill", field="band", label="head", items=3, dense=1.0, pruned=0.5
    )
    assert list(shown(GROUPS, group).values()) == ["0.5", "skill", "band", "head", "3", "1.000", "0.500"]
    trend = TrendResult(
        model="m", about="a and b", relation="inverse", points=7, statistics="r = -1", reasons=("x", "y"), file="f",
        outcome="refuted", declared="confirmed", where="f:1", why="w", in_file=1, sentence="s",
    )  # fmt: skip
    assert list(shown(TRENDS, trend).values()) == [
        "a and b: inverse", "7", "r = -1", "x; y", "refuted (declared confirmed)",
    ]  # fmt: skip
    fields = {name: value for name, value in dict(SCORE).items() if name in CostResult.model_fields}
    about = {"capability": "joules_per_token", "percent": (-20.0, -30.0, -10.0), "holm": 0.2}
    costs = CostResult.model_validate({**fields, **about})
    assert list(shown(COST_CLAIMS, costs).values()) == [
        "0.5", "joules_per_token", "100", "0.800", "0.300", "-20.0", "-30.0", "-10.0", "0.010", "0.030", "0.200", "down", "confirmed", "",
    ]  # fmt: skip
    ratios = (Decimal(0), Decimal("0.1"))
    finding = Finding(model="m", check="energy_unit", subject="kwh", ratios=ratios, says="not an energy")
    assert list(shown(FINDINGS, finding).values()) == ["energy_unit", "kwh", "0.0, 0.1", "not an energy"]


def test_another_verdict_than_declared_is_marked():
    row = changed(SCORE, outcome="refuted", holm=0.1)
    assert {c.name: c.get(row) for c in SCORES}["verdict"] == "refuted (declared confirmed)"


def test_lower_is_better_is_said():
    assert "acc (lower is better)" in render(SCORES, [changed(SCORE, better="lower", holm=0.1)], "simple")


def test_speed_is_compared_over_the_work_all_arms_share():
    dense, pruned = evaluation_costs(COSTS)
    assert dense.tokens_per_second == 50
    assert pruned.tokens_per_second == 100
    assert dense.joules_per_1000_tokens == 100
    assert pruned.joules_per_1000_tokens == 40
    assert dense.joules == {"cpu": 40.0}
    assert dense.method == "cpu: rapl"


def test_generated_text_gives_no_speed():
    (row,) = evaluation_costs([COSTS[1]])
    assert row.tokens_per_second is None
    assert row.joules_per_1000_tokens is None


def test_energy_that_was_not_measured_is_absent_not_zero():
    (row,) = evaluation_costs([cost("dense", "choices", seconds=1, positions=10, scored=10, cpu=None)])
    assert row.joules_per_1000_tokens is None
    assert row.joules == {}
    assert row.method == "no meter"
    assert "| -" in render(EVALUATIONS, [row], "pipe")


def test_a_cell_that_several_claims_use_counts_once():
    assert evaluation_costs([*COSTS, *COSTS]) == evaluation_costs(COSTS)


def test_frames_hold_numbers():
    table = frame(EVALUATIONS, evaluation_costs(COSTS))
    assert table["tokens/s"].tolist() == [50.0, 100.0]
    assert table["MB"].tolist() == [4.0, 4.0]
    assert table["cpu J"].tolist() == [40.0, 4.0]


def test_files_agree_with_the_rows(tmp_path: Path):
    found = {"scores": (SCORE,), "cells": tuple(COSTS)}
    names = write(concluded(found, found), tmp_path).names
    assert pd.read_csv(tmp_path / "scores.csv")["delta"].tolist() == [-0.5]
    assert json.loads((tmp_path / "report.json").read_text())["scores"] == [changed(SCORE, holm=0.04).json_row()]
    markdown = (tmp_path / "report.md").read_text()
    assert "## m: capabilities" in markdown
    assert "- m, ratio 0.5: skill down: confirmed." in markdown
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names, MANIFEST])
    assert sorted(names) == ["evaluations.csv", "report.json", "report.md", "scores.csv"]


def test_an_empty_session_shows_nothing():
    assert not Report()


def test_parts_of_tasks_are_added_up_and_not_checked():
    """Each part is a piece of work that counts once; scores of few items, or work on other ones, are no findings."""
    parts = tuple(changed(COSTS[2], subset=part) for part in ("0-64", "64-128"))
    report = concluded({"scores": (SCORE,), "cells": parts}, {"cells": parts[:1]})
    assert report.findings == ()
    (row,) = report.evaluations
    (one,) = concluded({"scores": (SCORE,), "cells": parts[:1]}).evaluations
    assert row.joules["cpu"] == pytest.approx(2 * one.joules["cpu"])


def test_our_own_records_are_checked_but_not_controls():
    """Scores at chance are found, in the arm that the claim is about and in no other."""
    uniform = FloorScore(task="choices", metric="acc", null="uniform", score=0.5, sd=0.0, items=2)
    control = changed(COSTS[2], arm="random-0.5", control=True, ratio="0.9")
    report = concluded({"scores": (SCORE,), "cells": (*COSTS, control), "floors": (uniform,)})
    (finding,) = (row for row in report.findings if row.check == "at_chance")
    assert (finding.subject, finding.ratios) == ("choices acc", (HALF,))


def test_arms_that_answered_while_others_worked_are_found():
    """By the time of all their tasks; controls, too, for what they cost is in the table."""
    control = cost("random-0.5", "choices", seconds=1.0, positions=100, scored=100, cpu=4.0, others=0.12)
    busy = cost("dense", "choices", seconds=3.0, positions=100, scored=100, cpu=10.0, others=0.81)
    report = concluded({"scores": (SCORE,), "cells": (*COSTS[1:], control, busy)})
    (finding,) = report.findings
    assert (finding.check, finding.subject, finding.spoils) == ("busy_machine", "evaluations", frozenset())
    assert (
        "more than 10% of this machine's processors while 2 of 3 arms answered, and 31% while dense did" in finding.says
    )
    assert {row.arm: shown(EVALUATIONS, row)["others"] for row in report.evaluations} == {
        "dense": "31%", "ppm-0.5": "1%", "random-0.5": "12%",
    }  # fmt: skip


def test_where_nobody_looked_at_other_processes_nothing_is_said_of_them():
    cell = cost("dense", "choices", seconds=1.0, positions=None, scored=None, cpu=None, others=None)
    report = concluded({"cells": (cell,)})
    assert report.findings == ()
    (row,) = report.evaluations
    assert shown(EVALUATIONS, row)["others"] == "-"


def test_a_cost_that_was_not_measured_here_is_absent():
    """As where scores come from a store that another machine filled."""
    (row,) = evaluation_costs([changed(COSTS[0], cost=None)])
    assert (row.tokens_per_second, row.joules, row.other_load, row.method) == (None, {}, None, "-")


FIGURE = FigureResult.model_validate({
    "model": "m", "ratio": "0.5", "arm": LABEL, "workload": "w", "figure": "joules_per_token", "unit": "J", "n": 8,
    "dense": [1234.56, 999.5, 1000.0], "pruned": [0.01234, 0.01, 0.02], "change": [-20.04, -30.0, 10.0],
    "again": [0.5, 0.5, 0.5], "how": "gpu: nvml",
})  # fmt: skip


def test_figures_are_shown_with_intervals_and_changes():
    assert list(shown(EFFICIENCY, FIGURE).values()) == [
        "0.5", "w", "joules_per_token", "J", "8", "1,235 (999.5 to 1,000)", "0.01234 (0.01000 to 0.02000)",
        "-20.0 (-30.0 to +10.0)", "+0.5", "gpu: nvml",
    ]  # fmt: skip


def test_what_is_not_known_of_a_figure_is_a_dash():
    nothing = dict.fromkeys(("pruned", "change", "replicate"))
    assert list(shown(EFFICIENCY, changed(FIGURE, **nothing)).values())[6:9] == ["-", "-", "-"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1000.0, "1,000"),
        (999.99, "1,000"),
        (-1234567.8, "-1,234,568"),
        (999.94, "999.9"),
        (0.0, "0.000"),
        (12.0, "12.00"),
    ],
)
def test_numbers_have_four_digits_or_separators(value, text):
    assert shown(EFFICIENCY, changed(FIGURE, dense=[value] * 3))["dense"] == text


def test_each_column_of_energy():
    row = ChannelEnergy(
        model="m", ratio=HALF, workload="w", arm="dense", channel="gpu", n=8, gross=(2.0, 1.5, 2.5), idle=(10.0, 0.25),
        net=(-0.5, -1.0, 0.0), method="nvml",
    )  # fmt: skip
    assert list(shown(ENERGY, row).values()) == [
        "0.5", "w", "dense", "gpu", "8", "2.000 (1.500 to 2.500)", "10.00 +- 0.25", "-0.5000 (-1.000 to 0.000)", "nvml",
    ]  # fmt: skip
    assert list(shown(ENERGY, changed(row, idle=None, net=None)).values())[6:8] == ["-", "-"]


MEASURED = series(
    took(1.0, gpu=50, cpu=10), took(0.5, seed=1, gpu=50, cpu=10), methods={"gpu": "nvml", "cpu": "modelled"}, idle=20.0,
    held=([300_000_000, 310_000_000], [200_000_000, 210_000_000]),
)  # fmt: skip


def tables(measured=MEASURED, label: str = LABEL) -> CaseTables:
    about = "m", HALF, [measured], label
    return cost_tables(*about, findings(*about))


def figures(measured=MEASURED, label: str = LABEL) -> dict[str, FigureResult]:
    return {row.figure: row for row in tables(measured, label).efficiency}


def test_every_figure_that_was_measured_has_a_row():
    found = figures()
    assert set(found) == {
        "time_to_first_token", "time_per_output_token", "time_to_last_token", "prefill_tokens_per_second",
        "decode_tokens_per_second", "tokens_per_second", "joules_per_token", "net_joules_per_token",
        "joules_per_prompt_token", "resident_memory", "peak_memory", "co2e_per_1000_tokens", "model_bytes",
    }  # fmt: skip
    assert {row.ratio for row in found.values()} == {HALF}
    assert {row.workload for row in found.values()} == {"p64_n32_b1"}
    assert (found["time_to_last_token"].n, found["peak_memory"].n, found["model_bytes"].n) == (8, 2, 1)


def test_figures_are_what_was_measured():
    """Windows of two batches of 32 tokens: 1 s and 50 J of the GPU are 500 ms to the last token and 50 / 64 J."""
    found = figures()
    seconds = [turn.generation.seconds for turn in MEASURED.arms["dense"].turns]
    assert found["time_to_last_token"].dense[0] == pytest.approx(1000 * sum(seconds) / 8 / 2 / LONG)
    assert found["joules_per_token"].dense[0] == pytest.approx(50 / 64, rel=0.02)
    assert found["net_joules_per_token"].dense[0] == pytest.approx(30 / 64, rel=0.03)
    assert found["peak_memory"].dense[0] == pytest.approx(305)
    assert found["peak_memory"].change[0] == pytest.approx(100 * (math.sqrt(200 * 210 / 300 / 310) - 1))
    assert found["model_bytes"].change == pytest.approx([-40.0] * 3)
    assert found["co2e_per_1000_tokens"].dense[0] == pytest.approx(1e-6 / 64 * 1e6)
    low, change, high = (found["tokens_per_second"].change[place] for place in (1, 0, 2))
    assert low < change < high
    assert change == pytest.approx(100, abs=3)


def test_a_copy_that_does_the_same_changes_nothing():
    assert figures()["joules_per_token"].replicate == (0.0, 0.0, 0.0)
    assert figures()["peak_memory"].replicate is None
    assert figures()["joules_per_token"].change[0] < -45


def test_every_figure_says_how_it_was_obtained():
    found = {name: row.how for name, row in figures().items()}
    assert found["time_to_last_token"] == "host clock"
    assert found["joules_per_token"] == "gpu: nvml"
    assert found["peak_memory"] == "resident set"
    assert found["co2e_per_1000_tokens"] == "energy of all channels (gpu: nvml, cpu: modelled) on the grid of USA"
    assert found["model_bytes"] == "parameters x bytes of their dtype"
    modelled = series(took(1.0, cpu=10, ram=5), took(0.5, cpu=10, ram=5), methods=NO_METER)
    assert figures(modelled)["joules_per_token"].how == "cpu: modelled, ram: modelled"


def test_without_a_meter_there_is_time_and_no_energy():
    found = figures(series(took(1.0), took(0.5), methods={}))
    assert "time_to_last_token" in found
    assert not any("joules" in name or "co2e" in name for name in found)


def test_net_energy_below_zero_is_shown_without_a_change():
    found = figures(series(took(1.0, gpu=50), took(0.5, gpu=50), idle=60.0))["net_joules_per_token"]
    assert found.dense[0] < 0
    assert found.change is None


def test_energies_are_shown_channel_by_channel():
    rows = tables().energy
    assert [(row.arm, row.channel) for row in rows] == [
        (arm, channel) for arm in ("dense", LABEL, "dense again") for channel in ("gpu", "cpu")
    ]
    assert rows[1].gross[0] == pytest.approx(10 / 64, rel=0.02)
    assert rows[1].net[0] == pytest.approx(-10 / 64, rel=0.05)
    assert [row.method for row in rows[:2]] == ["nvml", "modelled"]


def test_a_dense_model_alone_is_shown_without_a_comparison():
    found = figures(label="dense")
    assert all(row.pruned is row.change is None for row in found.values())
    assert found["time_to_last_token"].dense[0] > 0


def test_measurements_are_tables_and_files(tmp_path: Path):
    report = conclude([tables(), tables()])
    assert [block.heading for block in terminal.blocks(report, Shape())] == [""]
    every = [block.heading for block in terminal.blocks(report, Shape(long=True))]
    assert every == ["m: efficiency", "m: energy by channel", ""]
    assert any("Student's t" in note for note in notes(report))
    write(report, tmp_path)
    table = pd.read_csv(tmp_path / "efficiency.csv")
    assert len(table) == len(figures())
    written = json.loads((tmp_path / "report.json").read_text())["efficiency"]
    assert [FigureResult.model_validate(row) for row in written] == list(figures().values())


def test_a_change_beyond_all_numbers_is_open():
    from glu_prune.judgement.run_pairs import percent
    from glu_prune.report.columns import _percent

    assert percent(1000.0) == math.inf
    assert _percent([1.0, -2.0, math.inf]) == _percent([1.0, -2.0, None]) == "+1.0 (-2.0 to open)"
    assert _percent([-32.25] * 3) == "-32.2"
