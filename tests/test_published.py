"""The study's claims, judged on its published figures: no model, no network, seconds."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from scipy.stats import norm

from tests.helpers import ROOT

SMALL, LARGE = "meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-3B"
INSTRUCT = f"{SMALL}-Instruct"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "benchmarks", "--glu-evidence", "published", f"--glu-results={folder}"]
    return subprocess.run([*command, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    done = run(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert not re.search(r"\d inconclusive in", done.stdout)
    return json.loads((folder / "report.json").read_text())


def test_workers_change_no_byte_of_the_tables(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    some = "-k", "3B and (truthfulness or arithmetic or commonsense)"
    assert run(one, *some).returncode == 0
    # The same claims again, in another order: first those of the last file.
    tests = [f"benchmarks/test_{kind}.py" for kind in ("trends", "evidence", "efficiency", "distances", "directions")]
    command = [sys.executable, "-m", "pytest", *tests, "--glu-evidence", "published", f"--glu-results={two}"]
    done = subprocess.run([*command, *some, "-n", "3"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert {path.name: path.read_text() for path in one.iterdir()} == {
        path.name: path.read_text() for path in two.iterdir()
    }


def test_tables_that_cannot_be_written_fail_the_session(tmp_path):
    (tmp_path / "file").write_text("")
    done = run(tmp_path / "file", "-k", "3B-ratio_0.1-truthfulness")
    assert f"tables were not written to {tmp_path}/file: " in done.stdout
    assert done.returncode == 1
    assert " passed" in done.stdout


def verdict(results, model, capability, ratio, claim="up"):
    (row,) = (
        row
        for row in results["scores"]
        if (row["model"], row["capability"], row["ratio"], row["claim"]) == (model, capability, ratio, claim)
    )
    return row


def test_every_claim_of_the_study_has_a_verdict_and_a_reason(results):
    models = {row["model"] for row in results["scores"]}
    assert models == {SMALL, LARGE, INSTRUCT}
    assert all(row["why"] for row in results["scores"] + results["trends"] + results["costs"])
    tasks = {row["capability"] for row in results["scores"] if row["model"] == LARGE}
    assert len(tasks) == 14  # 13 benchmarks, IFEval by prompt and by instruction


@pytest.mark.parametrize(("model", "ratio"), [(SMALL, "0.4"), (LARGE, "0.1"), (LARGE, "0.3")])
def test_the_headline_gains_end_under_the_floor(results, model, ratio):
    row = verdict(results, model, "instruction_following", ratio)
    assert row["outcome"] == "inconclusive"
    assert row["note"] == "under the floor"
    assert row["pruned"] < row["floor"] == pytest.approx(0.161, abs=0.001)
    assert "not above the floor of content-free answers (word loop 0.161)" in row["sentence"]


def test_no_ratio_of_the_headline_survives(results):
    rows = [row for row in results["scores"] if row["capability"] == "instruction_following" and row["claim"] == "up"]
    assert {row["outcome"] for row in rows if row["model"] != INSTRUCT} == {"inconclusive"}
    assert {row["outcome"] for row in rows if row["model"] == INSTRUCT} == {"refuted"}


@pytest.mark.parametrize("model", [SMALL, LARGE])
def test_truthfulness_drifts_to_chance(results, model):
    row = verdict(results, model, "truthfulness_mc2", "0.6")
    assert (row["outcome"], row["note"]) == ("artefact", "under the floor, drift to chance")
    assert "towards chance (0.464)" in row["sentence"]


@pytest.mark.parametrize("model", [SMALL, LARGE])
@pytest.mark.parametrize("capability", ["arithmetic", "last_word"])
def test_collapses_survive(results, model, capability):
    ratios = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")
    assert {verdict(results, model, capability, ratio, "down")["outcome"] for ratio in ratios} == {"confirmed"}


def test_the_checks_find_the_unit_and_the_latency_by_themselves(results):
    found = {(finding["model"], finding["check"]): finding["says"] for finding in results["findings"]}
    assert "0.349226 x codecarbon_total_kwh" in found[SMALL, "energy_unit"]
    assert "looks like kg of CO2 taken for kWh" in found[SMALL, "energy_unit"]
    for model in (SMALL, LARGE):
        assert "it is the time to the last token" in found[model, "first_token_is_last"]
        assert "did not do the same work" in found[model, "unequal_lengths"]


def test_energy_per_token_is_recomputed_where_channels_were_published(results):
    rows = results["recomputed"]
    assert len(rows) == 6 * 7
    assert {row["model"] for row in rows} == {SMALL}
    (row,) = (row for row in rows if (row["workload"], row["ratio"]) == ("hellaswag_latency_b1", "0.0"))
    assert row["joules"]["gpu"] == pytest.approx(1.519, abs=0.001)


def test_energy_per_token_is_an_artefact_where_it_falls(results):
    fell = [
        row for row in results["costs"] if row["capability"] == "joules_per_token" and row["p"] * row["tests"] <= 0.05
    ]
    assert {row["outcome"] for row in fell} == {"artefact"}
    assert min(row["percent"][0] for row in fell) == pytest.approx(-20.0, abs=0.1)


def test_the_truthfulness_paradox_is_described_and_decides_nothing(results):
    (row,) = (row for row in results["trends"] if row["model"] == LARGE and row["relation"] == "inverse")
    assert "Pearson -0.864, Spearman -0.607 over 7 ratios; descriptive" in row["sentence"]
    assert row["outcome"] == "inconclusive"


def test_claims_across_ratios_give_curves_with_bands_over_them(results):
    """As of unrelated normal estimates, which suffices however they go together; each row once, by whatever claims."""
    rows = [row for row in results["curves"] if (row["model"], row["capability"]) == (LARGE, "factual_knowledge")]
    assert [row["ratio"] for row in rows] == ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]
    dense = rows.pop(0)
    assert (dense["score"], dense["delta"], dense["band_low"], dense["band_high"]) == (rows[0]["dense"], 0, 0, 0)
    wider = norm.ppf((1 + 0.95 ** (1 / 6)) / 2) / norm.ppf(0.975)
    for row in rows:
        assert row["delta"] == pytest.approx(row["score"] - row["dense"])
        assert row["band_high"] - row["delta"] == pytest.approx(wider * (row["high"] - row["delta"]))
        assert row["band_low"] < row["low"] < row["delta"] < 0
    places = [(row["model"], row["capability"], row["ratio"]) for row in results["curves"]]
    assert len(set(places)) == len(places)


def test_selecting_a_ratio_changes_no_verdict(results, tmp_path):
    done = run(tmp_path, "-k", "ratio_0.4")
    assert done.returncode == 0
    some = json.loads((tmp_path / "report.json").read_text())["scores"]
    assert some
    known = {(row["model"], row["capability"], row["claim"]): row for row in results["scores"] if row["ratio"] == "0.4"}
    for row in some:
        assert {**row, "holm": None} == {**known[row["model"], row["capability"], row["claim"]], "holm": None}


def test_without_published_figures_the_option_says_what_is_missing(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "model: m\nratios: [0.5]\nexpect: [{capability: reading, direction: up, why: x}]\n"
    )
    done = run(tmp_path / "results", f"--glu-expectations={tmp_path}")
    assert done.returncode != 0
    assert "names published figures; give it `evidence: FOLDER`" in done.stdout


def test_figures_that_are_not_there_are_one_line_before_anything_runs(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "model: m\nratios: [0.5]\nevidence: nowhere\nexpect: [{capability: reading, direction: up, why: x}]\n"
    )
    done = run(tmp_path / "results", f"--glu-expectations={tmp_path}")
    assert done.returncode != 0
    assert "nowhere/items.csv: No such file or directory" in done.stdout
    assert "Traceback" not in done.stdout
    assert not (tmp_path / "results").exists()


@pytest.mark.slow("starts three processes for what tests/test_plugin_ci.py does, too")
def test_side_by_side_the_verdicts_are_the_same(results, tmp_path):
    done = run(tmp_path, "-n", "2", "-k", "instruct or energy_unit")
    assert done.returncode == 0, done.stdout[-2000:]
    found = json.loads((tmp_path / "report.json").read_text())["scores"]
    assert found
    by_case = {
        (row["ratio"], row["capability"], row["claim"]): row["sentence"] for row in found if row["model"] == INSTRUCT
    }
    for row in results["scores"]:
        if row["model"] == INSTRUCT:
            assert by_case[row["ratio"], row["capability"], row["claim"]] == row["sentence"]
