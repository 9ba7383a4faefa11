"""Real sessions that are killed, run side by side, meet a store that is read-only, or models that are broken.

GLU_PRUNE_KILLS and GLU_PRUNE_RACES say how often; GLU_PRUNE_SEED, at which moments.
"""

import os
import random
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch
from transformers import LlamaForCausalLM

from glu_prune.experiment.maintenance import check, entries
from glu_prune.models.source import load_tokenizer, locate

KILLS = int(os.environ.get("GLU_PRUNE_KILLS", "3"))
RACES = int(os.environ.get("GLU_PRUNE_RACES", "2"))
MOMENTS = random.Random(int(os.environ.get("GLU_PRUNE_SEED", "0")))
pytestmark = pytest.mark.slow("starts sessions, kills them and starts them again")
TABLES = ("scores.csv", "why.csv", "groups.csv")
CLAIMS = """\
model: {model}
ratios: [0.5]
expect:
  - capability: factual_recall
    direction: down
    why: of this test
  - capability: factual_knowledge
    direction: down
    why: of this test
"""
TEST = """\
def test_direction(glu_case, glu_check):
    glu_check(glu_case)
"""
COMPUTED = re.compile(r"^  (.*): \d+ (?:items|null models) in ", re.MULTILINE)
"""The cells that a session says it has computed."""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "test_claims.py").write_text(TEST)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider -p no:hypothesispytest\n")
    (folder / "expectations").mkdir()
    (folder / "expectations" / "claims.yaml").write_text(CLAIMS.format(model="tiny-base"))
    return folder


def arguments(folder: Path, *more: str) -> tuple[str, ...]:
    return f"--glu-store={folder / 'store'}", f"--glu-results={folder / 'results'}", "--glu-limit=6", *more


@pytest.fixture(scope="module")
def undisturbed(sessions, project, tmp_path_factory) -> tuple[Path, float]:
    """The folder of a session that nothing disturbed, and the seconds it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    began = time.monotonic()
    sessions.wait(sessions.start(project, folder / "log", *arguments(folder)))
    return folder, time.monotonic() - began


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """Finished cells, and what changes when one is written again."""
    stats = {path.name: path.stat() for path in (folder / "store" / "cells").glob("*.parquet")}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in stats.items()}


def assert_same(folder: Path, undisturbed: Path) -> None:
    """The same tables, and cells that are all there and sound."""
    for name in TABLES:
        pd.testing.assert_frame_equal(pd.read_csv(folder / "results" / name), pd.read_csv(undisturbed / "results" / name))  # fmt: skip
    assert set(written(folder)) == set(written(undisturbed))
    assert [why for entry in entries(folder / "store") if (why := check(folder / "store", entry))] == []


def test_an_undisturbed_session_computes_each_cell_once(undisturbed):
    folder, _ = undisturbed
    cells = Counter(COMPUTED.findall((folder / "log").read_text()))
    assert set(cells.values()) == {1}
    assert len(cells) == len(written(folder)) == 6, (folder / "log").read_text()


@pytest.mark.parametrize("turn", range(KILLS))
def test_a_killed_session_is_resumed_as_if_nothing_had_been(sessions, project, undisturbed, tmp_path, turn):
    expected, seconds = undisturbed
    moment = MOMENTS.uniform(0, seconds)
    process = sessions.start(project, tmp_path / "killed", *arguments(tmp_path))
    time.sleep(moment)
    sessions.kill(process)
    finished = written(tmp_path)
    sessions.wait(sessions.start(project, tmp_path / "resumed", *arguments(tmp_path)))
    assert_same(tmp_path, expected)
    assert written(tmp_path).items() >= finished.items()
    computed = COMPUTED.findall((tmp_path / "resumed").read_text())
    assert len(computed) == len(written(expected)) - len(finished)


@pytest.mark.parametrize("turn", range(RACES))
def test_sessions_that_start_together_compute_each_cell_once(sessions, project, undisturbed, tmp_path, turn):
    expected, _ = undisturbed
    logs = [tmp_path / name for name in ("one", "two")]
    started = [sessions.start(project, log, *arguments(tmp_path)) for log in logs]
    for process in started:
        sessions.wait(process)
    computed = Counter(cell for log in logs for cell in COMPUTED.findall(log.read_text()))
    assert set(computed.values()) == {1}, computed
    assert_same(tmp_path, expected)


def test_a_store_that_is_mounted_read_only_serves_what_it_has(sessions, project, undisturbed, tmp_path):
    expected, _ = undisturbed
    shutil.copytree(expected / "store", tmp_path / "store")
    if subprocess.run(["mount", "--bind", "-o", "ro", tmp_path / "store", tmp_path / "store"], check=False, capture_output=True).returncode:  # fmt: skip
        pytest.skip("only root can mount a folder read-only")
    try:
        sessions.wait(sessions.start(project, tmp_path / "served", *arguments(tmp_path)))
        assert_same(tmp_path, expected)
        assert COMPUTED.findall((tmp_path / "served").read_text()) == []
        sessions.wait(sessions.start(project, tmp_path / "more", *arguments(tmp_path, "--glu-batch-size=5")))
        said = (tmp_path / "more").read_text()
        assert re.search(r"tiny-base dense \S+ 0-6 is not in the store, and the store \S+ cannot be written: .*Read-only file system.*; choose another with --glu-store DIR", said)  # fmt: skip
        assert "Traceback" not in said
    finally:
        subprocess.run(["umount", tmp_path / "store"], check=True)


def test_a_full_disk_costs_the_cells_that_do_not_fit_and_no_other(sessions, project, undisturbed, tmp_path):
    expected, _ = undisturbed
    store = tmp_path / "store"
    store.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48k", "none", store], check=False, capture_output=True).returncode:  # fmt: skip
        pytest.skip("only root can make a small disk")
    try:
        sessions.wait(sessions.start(project, tmp_path / "full", *arguments(tmp_path)))
        said = (tmp_path / "full").read_text()
        assert "No space left on device; choose another with --glu-store DIR" in re.sub(r": '[^']*'", "", said)
        assert "Traceback" not in said
        kept = written(tmp_path)
        assert 0 < len(kept) < len(written(expected))
        assert all(check(store, entry) == "" for entry in entries(store))
        subprocess.run(["mount", "-o", "remount,size=8m", store], check=True)
        sessions.wait(sessions.start(project, tmp_path / "resumed", *arguments(tmp_path)))
        assert_same(tmp_path, expected)
        assert written(tmp_path).items() >= kept.items()
    finally:
        subprocess.run(["umount", store], check=True)


def test_an_edited_comment_computes_nothing(sessions, project, undisturbed, tmp_path):
    expected, _ = undisturbed
    shutil.copytree(project, tmp_path / "project")
    shutil.copytree(expected / "store", tmp_path / "store")
    file = tmp_path / "project" / "expectations" / "claims.yaml"
    file.write_text("# another comment\n" + file.read_text().replace("why: of this test", "why: of another reason"))
    sessions.wait(sessions.start(tmp_path / "project", tmp_path / "log", *arguments(tmp_path)))
    assert COMPUTED.findall((tmp_path / "log").read_text()) == []
    assert set(written(tmp_path)) == set(written(expected))


def test_a_broken_model_fails_its_own_cells_in_one_line_each(sessions, project, tmp_path):
    """One weight is NaN: whatever it answers is no answer, and models beside it are judged."""
    source = locate("tiny-base")
    model = LlamaForCausalLM.from_pretrained(source.folder)
    with torch.no_grad():
        model.model.layers[0].self_attn.o_proj.weight[0, 0] = float("nan")
    model.save_pretrained(tmp_path / "broken")
    load_tokenizer(source).save_pretrained(tmp_path / "broken")
    shutil.copytree(project, tmp_path / "project")
    claims = tmp_path / "project" / "expectations" / "broken.yaml"
    claims.write_text(CLAIMS.format(model=tmp_path / "broken"))
    sessions.wait(sessions.start(tmp_path / "project", tmp_path / "log", *arguments(tmp_path)))
    said = (tmp_path / "log").read_text()
    assert len(set(re.findall(r"broken\.yaml:\d+: \w+: (?:a log-likelihood is|logits are) NaN; the model's weights or activations are not finite", said))) == 2  # fmt: skip
    assert "Traceback" not in said
    assert set(pd.read_csv(tmp_path / "results" / "scores.csv")["model"]) == {"tiny-base"}
