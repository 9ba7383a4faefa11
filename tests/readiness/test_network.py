"""A run that is to stay offline opens no connection: real processes in which any socket fails."""

import os
from pathlib import Path

import datasets.config
import pytest
from huggingface_hub import HfApi, is_offline_mode
from huggingface_hub.errors import OfflineModeIsEnabled

from glu_prune.readiness.network import VARIABLES, offline
from tests.helpers import ROOT
from tests.helpers.commands import glu_prune, run, without_sockets

STUDY = """\
model: tiny-base
suite: study
ratios: [0.5]
expect:
  - capability: instruction_following
    direction: down
    why: lm-eval fetches a sentence splitter when it imports the checkers
"""


def test_libraries_that_were_imported_before_are_kept_offline_and_let_go(no_sockets):
    before = is_offline_mode(), datasets.config.HF_HUB_OFFLINE, [os.environ.get(name) for name in VARIABLES]
    with offline():
        assert (is_offline_mode(), datasets.config.HF_HUB_OFFLINE) == (True, True)
        assert [os.environ[name] for name in VARIABLES] == ["1"] * 3
        with pytest.raises(OfflineModeIsEnabled):
            HfApi().model_info("someone/something")
    assert (is_offline_mode(), datasets.config.HF_HUB_OFFLINE, [os.environ.get(name) for name in VARIABLES]) == before


def pytest_offline(home: Path, *arguments: str):
    folders = [f"--glu-store={home / 'store'}", f"--glu-results={home / 'results'}"]
    quiet = ["-p", "no:cacheprovider", "-q"]
    command = ["-m", "pytest", "benchmarks/test_directions.py", "--glu-offline", *folders, *quiet, *arguments]
    return run(command, ROOT, without_sockets(home))


@pytest.mark.slow("starts a session that imports all libraries")
def test_an_embedded_model_is_judged_without_a_socket(tmp_path):
    done = pytest_offline(tmp_path, "-k", "tiny-base-ratio_0.5-story_modelling")
    assert (done.returncode, "1 passed" in done.stdout) == (0, True), done.stdout + done.stderr
    assert not (tmp_path / "tried").exists()


@pytest.mark.slow("starts a session that imports all libraries")
def test_an_absent_model_is_one_line_without_a_socket(tmp_path):
    done = pytest_offline(tmp_path, "--glu-model=meta-llama/Llama-3.2-1B", "-k", "ratio_0.4")
    assert done.returncode != 0
    lines = [line for line in done.stdout.splitlines() if "not on this machine" in line]
    assert len(set(lines)) == 1
    assert "`hf download meta-llama/Llama-3.2-1B`" in lines[0]
    assert "ask for access at https://huggingface.co/meta-llama/Llama-3.2-1B" in lines[0]
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "tried").exists()


@pytest.mark.slow("starts a session that imports all libraries")
def test_data_that_is_absent_stops_the_run_before_a_model_loads_without_a_socket(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    done = pytest_offline(tmp_path, f"--glu-expectations={tmp_path / 'study.yaml'}")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (said,) = filter(None, done.stderr.splitlines())
    assert said.startswith("ERROR: data of ifeval: google/IFEval not in the cache of datasets; `glu-prune prefetch`")
    assert "; sentence splitter of ifeval: NLTK's punkt_tab not in " in said
    assert "loading" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert not (tmp_path / "tried").exists()


@pytest.mark.slow("imports all libraries in a process of its own")
def test_the_doctor_opens_no_socket_and_says_what_is_missing_for_a_gated_model(tmp_path):
    files = [ROOT / "expectations" / f"llama-3.2-{size}b.yaml" for size in (1, 3)]
    done = glu_prune("doctor", *files, "--store", tmp_path / "store", where=tmp_path, env=without_sockets(tmp_path))
    assert (done.returncode, done.stderr) == (1, "")
    assert not (tmp_path / "tried").exists()
    for size in (1, 3):
        (row,) = (line for line in done.stdout.splitlines() if line.startswith(f"model meta-llama/Llama-3.2-{size}B "))
        assert f"`hf download meta-llama/Llama-3.2-{size}B`" in row
        assert "it is gated: ask for access at" in row
        assert "`hf auth login`" in row
    missing = done.stdout.splitlines()[-1].removeprefix("missing: ").split(", ")
    tasks = (
        "ifeval leaderboard_musr mmlu gsm8k lambada_openai wikitext truthfulqa_mc1 truthfulqa_mc2 arc_challenge hellaswag "
        "winogrande piqa boolq"
    ).split()
    assert set(missing) == {
        "model meta-llama/Llama-3.2-1B",
        "model meta-llama/Llama-3.2-3B",
        *(f"data of {task}" for task in tasks),
        "sentence splitter of ifeval",
    }
