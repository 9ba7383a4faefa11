"""The hook that takes a session's report, and the ready trackers with their real libraries, on published figures."""

import json
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from glu_prune import trackers
from glu_prune.errors import NotReadyError
from glu_prune.experiment.code import SCORING, code_fingerprint
from glu_prune.results.report import Report
from glu_prune.trackers.entries import entries
from tests.helpers import ROOT
from tests.helpers.commands import environment

HOOK = """\
import json


def pytest_glu_report(report, config):
    with open("taken", "a") as file:
        file.write(json.dumps([len(report.scores), config.getoption("--glu-evidence")]) + "\\n")
    return "taken\\x1b"
"""
BROKEN = """\
def pytest_glu_report(report):
    raise RuntimeError("the server\\nis down")
"""
ONE = "1b-instruct and test_directions"
"""Claims about one model."""
SLOW = pytest.mark.slow("imports a tracker, and reads back what it has kept")


def session(folder: Path, *arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """What is published, judged in a process of its own."""
    tests = [str(ROOT / "benchmarks"), "--glu-expectations", str(ROOT / "expectations"), "--glu-evidence", "published"]
    whole = [*tests, "--glu-results", "results", "-p", "no:cacheprovider", *arguments]
    env = environment(folder, DO_NOT_TRACK="1", **variables)
    command = [sys.executable, "-m", "pytest", *whole]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def report(folder: Path) -> Report:
    return Report.model_validate_json((folder / "results" / "report.json").read_text())


def expected(found: Report, field: str) -> dict[int, set[float]]:
    """Step to the values of one field of all claims about capabilities."""
    values = defaultdict(set)
    for row in found.scores:
        if (value := getattr(row, field)) is not None:
            values[round(100 * row.ratio)].add(value)
    return dict(values)


@pytest.mark.parametrize("more", [(), pytest.param(("-n", "2"), marks=pytest.mark.slow("starts two more workers"))])
def test_the_hook_takes_the_report_once_and_a_failure_of_one_is_a_line(tmp_path, more):
    (tmp_path / "hook.py").write_text(HOOK)
    (tmp_path / "broken.py").write_text(BROKEN)
    done = session(tmp_path, "-k", ONE, "-p", "hook", "-p", "broken", *more, PYTHONPATH=f"{tmp_path}:{ROOT}")
    assert done.returncode == 0, done.stdout
    found = report(tmp_path)
    assert len(found.scores) > 10
    assert (tmp_path / "taken").read_text().splitlines() == [json.dumps([len(found.scores), "published"])]
    assert done.stdout.splitlines().count("taken\\x1b") == 1
    assert done.stdout.splitlines().count("not tracked by broken: RuntimeError: the server") == 1


def test_nothing_is_taken_where_nothing_was_judged_or_the_session_was_stopped(tmp_path):
    (tmp_path / "hook.py").write_text(HOOK)
    path = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    assert session(tmp_path, "-k", "nothing_of_this_name", "-p", "hook", **path).returncode == 5
    assert not (tmp_path / "taken").exists()
    (tmp_path / "stop.py").write_text(
        "import pytest\ndef pytest_runtest_teardown(item):\n    if 'test_directions' in item.nodeid:\n        pytest.exit('stop')\n"
    )
    assert session(tmp_path, "-k", ONE, "-p", "hook", "-p", "stop", **path).returncode == 2
    assert not (tmp_path / "taken").exists()


def test_a_library_that_is_not_installed_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(trackers, "find_spec", lambda _: None)
    with pytest.raises(NotReadyError, match=r"--glu-track mlflow needs .*: pip install 'glu-prune\[mlflow\]'"):
        trackers.tracker("mlflow")


def test_how_models_were_run_is_a_parameter(pytester):
    found = entries(
        Report(), pytester.parseconfig("--glu-dtype", "bfloat16", "--glu-limit", "7", "--glu-attention", "eager")
    )
    assert (found.experiment, found.figures) == ("glu-prune", {0: {}})
    some = {name: found.parameters[name] for name in ("dtype", "attention", "limit", "batch_size", "evidence")}
    assert some == {"dtype": "bfloat16", "attention": "eager", "limit": 7, "batch_size": 64, "evidence": "runs"}
    assert found.parameters["scoring code"] == code_fingerprint(SCORING)


@SLOW
def test_mlflow_has_parameters_figures_by_ratio_and_the_files(tmp_path):
    mlflow = pytest.importorskip("mlflow", reason="pip install 'glu-prune[mlflow]'")
    uri = f"sqlite:///{tmp_path / 'm.db'}"
    done = session(tmp_path, "-k", ONE, "--glu-track", "mlflow", MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stdout
    assert f" in {uri}" in done.stdout
    client, found = mlflow.MlflowClient(uri), report(tmp_path)
    (model,) = {row.model for row in found.scores}
    (run,) = client.search_runs([client.get_experiment_by_name(model).experiment_id])
    assert run.info.status == "FINISHED"
    assert (run.data.params["models"], run.data.params["evidence"]) == (model, "published")
    assert "dtype" not in run.data.params  # nothing was run
    for field, name in (("pruned", "score"), ("dense", "dense"), ("delta", "delta"), ("p_ratios", "p")):
        logged = defaultdict(set)
        for key in run.data.metrics:
            if key.endswith(f"/{name}"):
                for each in client.get_metric_history(run.info.run_id, key):
                    logged[each.step].add(each.value)
        assert logged == expected(found, field)
    verdicts = {key: value for key, value in run.data.metrics.items() if key.startswith("verdicts/")}
    assert sum(verdicts.values()) == len(found.claims)
    for path in (tmp_path / "results").iterdir():
        if not path.name.startswith("."):
            kept = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path=path.name, tracking_uri=uri, dst_path=str(tmp_path))  # fmt: skip
            assert Path(kept).read_bytes() == path.read_bytes()


@SLOW
def test_a_tracker_that_cannot_be_reached_changes_nothing(tmp_path):
    pytest.importorskip("mlflow", reason="pip install 'glu-prune[mlflow]'")
    nowhere = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = session(tmp_path, "-k", ONE, "--glu-track", "mlflow", **nowhere)
    assert done.returncode == 0, done.stdout
    assert sum(line.startswith("not tracked by glu-prune-mlflow: ") for line in done.stdout.splitlines()) == 1
    assert report(tmp_path).scores


@SLOW
def test_trackio_has_parameters_and_figures_by_ratio(tmp_path):
    pytest.importorskip("trackio", reason="pip install 'glu-prune[trackio]'")
    done = session(tmp_path, "--glu-track", "trackio", TRACKIO_DIR=str(tmp_path / "kept"))
    assert done.returncode == 0, done.stdout
    assert "* Trackio" not in done.stdout + done.stderr
    found = report(tmp_path)
    with sqlite3.connect(tmp_path / "kept" / "glu-prune.db") as base:  # the session is about several models
        rows = base.execute("select step, metrics from metrics").fetchall()
        ((said,),) = base.execute("select config from configs").fetchall()
    assert json.loads(said)["models"].split(", ") == list(dict.fromkeys(each.model for each in found.cases))
    logged = defaultdict(set)
    for step, figures in rows:
        for name, value in json.loads(figures).items():
            if name.endswith("/score"):
                logged[step].add(value)
    wanted = expected(found, "pruned")
    for step, values in expected_costs(found).items():
        wanted[step] = wanted.get(step, set()) | values
    assert logged == wanted


def expected_costs(found: Report) -> dict[int, set[float]]:
    """The same of claims about costs."""
    values = defaultdict(set)
    for row in found.costs:
        values[round(100 * row.ratio)].add(row.pruned)
    return values
