"""Prefetching with the real clients, against a hub in this process, and against none."""

import json
from pathlib import Path

import pytest

from glu_prune.models.source import MODELS
from tests.helpers.commands import environment, glu_prune, run, without_sockets
from tests.helpers.hub import Hub, serving

FILE = """\
model: someone/tiny
suite: study
ratios: [0.5]
expect:
  - capability: physical_commonsense
    direction: down
    why: it is small
"""
PIQA = [{"goal": "Sit.", "sol1": "Chair.", "sol2": "Knife.", "label": 0}] * 4
REPOSITORIES = {
    "models/someone/tiny": {
        **{path.name: path.read_bytes() for path in (MODELS / "tiny-base").iterdir() if path.suffix != ".csv"},
        "original/consolidated.00.pth": b"another format",
        "original/params.json": b"{}",
        "pytorch_model.bin": b"a pickle",
    },
    "datasets/baber/piqa": {
        f"{split}.jsonl": "".join(json.dumps(row) + "\n" for row in PIQA).encode() for split in ("train", "validation")
    },
}
NOWHERE = "http://127.0.0.1:1"


@pytest.fixture
def file(tmp_path) -> Path:
    (tmp_path / "mine.yaml").write_text(FILE)
    return tmp_path / "mine.yaml"


def rows(shown: str) -> dict[str, str]:
    """What is needed to the rest of its row."""
    table = shown.split("\n\n")[0].splitlines()[2:]
    width = min(line.index(f"  {state} ") for line in table for state in ("ready", "missing") if f"  {state} " in line)
    return {line[:width].strip(): line[width:].strip() for line in table}


@pytest.mark.slow("starts commands one after another, each of which imports all libraries")
def test_what_is_missing_is_fetched_once_and_then_runs_offline(file, tmp_path):
    with serving(Hub(REPOSITORIES)) as hub:
        env = environment(tmp_path, HF_ENDPOINT=hub.url)
        first = glu_prune("prefetch", file, where=tmp_path, env=env)
        assert first.returncode == 0, first.stdout + first.stderr
        found = rows(first.stdout)
        assert found["model someone/tiny"].startswith("ready    fetched: weights (5.4 MB) and tokenizer")
        assert found["data of piqa"].startswith("ready    fetched: baber/piqa in the cache of datasets")
        asked = [line for line in hub.asked if "/resolve/" in line]
        assert not any(name in line for line in asked for name in ("original", ".bin", "README.md HTTP/model"))
        hub.asked.clear()
        again = glu_prune("prefetch", file, where=tmp_path, env=env)
        assert (again.returncode, "fetched: " in again.stdout, hub.asked) == (0, False, [])
    env = without_sockets(tmp_path, HF_ENDPOINT=NOWHERE)
    seen = glu_prune("doctor", file, "--store", tmp_path / "store", where=tmp_path, env=env)
    assert (seen.returncode, seen.stdout.splitlines()[-1]) == (0, "all that is needed is ready")
    code = (
        "from glu_prune.readiness.network import offline\n"
        "with offline():\n"
        "    from glu_prune.evaluation.evaluate import Evaluator\n"
        "    (task,) = Evaluator().tasks('piqa', 0).values()\n"
        "    print(len(task.dataset['validation']))"
    )
    assert run(["-c", code], tmp_path, env).stdout.split() == ["4"]
    assert not (tmp_path / "tried").exists()


@pytest.mark.slow("imports all libraries in a process of its own")
def test_without_a_network_each_row_says_what_mends_it(file, tmp_path):
    file.write_text(FILE + "  - capability: instruction_following\n    direction: down\n    why: it is small\n")
    done = glu_prune("prefetch", file, where=tmp_path, env=environment(tmp_path, HF_ENDPOINT=NOWHERE))
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    found = rows(done.stdout)
    assert set(found) == {"model someone/tiny", "data of piqa", "data of ifeval", "sentence splitter of ifeval"}
    for what, row in found.items():
        assert row.startswith("missing")
        assert "not tried, as there is no connection" in row if what.startswith("data") else "Connect" in row
        assert "connect this machine to " in row
        assert "; or prefetch on another" in row
    assert f"connect this machine to {NOWHERE};" in found["model someone/tiny"]
    assert "missing: model someone/tiny, data of piqa" in done.stdout.splitlines()[-1]


@pytest.mark.slow("starts commands one after another, each of which imports all libraries")
@pytest.mark.parametrize(
    ("name", "complaint", "remedy"),
    [
        (
            "meta-llama/closed",
            "GatedRepoError",
            "it is gated: ask for access on its page",
        ),
        (
            "someone/absent",
            "RepositoryNotFoundError",
            "correct the name in the file; or, if it is private, log in with",
        ),
    ],
)
def test_what_the_hub_refuses_is_one_row_and_the_rest_is_fetched(file, tmp_path, name, complaint, remedy):
    file.write_text(FILE.replace("someone/tiny", name))
    with serving(Hub(REPOSITORIES, gated=("models/meta-llama/closed",))) as hub:
        done = glu_prune("prefetch", file, where=tmp_path, env=environment(tmp_path, HF_ENDPOINT=hub.url))
    assert done.returncode == 1
    found = rows(done.stdout)
    assert complaint in found[f"model {name}"]
    assert remedy in found[f"model {name}"]
    assert found["data of piqa"].startswith("ready")


@pytest.mark.slow("starts commands one after another, each of which imports all libraries")
def test_a_full_disk_is_one_row_and_what_was_fetched_stays(file, tmp_path):
    """The limit on the size of files is the system's own way to refuse a write; only the weights are larger."""
    code = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))\n"
        "from glu_prune.cli import main\n"
        "sys.exit(main(['prefetch', 'mine.yaml']))"
    )
    with serving(Hub(REPOSITORIES)) as hub:
        env = environment(tmp_path, HF_ENDPOINT=hub.url, PYTHONDONTWRITEBYTECODE="1")
        done = run(["-c", code], tmp_path, env)
        found = rows(done.stdout)
        assert done.returncode == 1
        assert "File too large" in found["model someone/tiny"]
        assert "make room on the disk of" in found["model someone/tiny"]
        assert found["data of piqa"].startswith("ready")
        hub.asked.clear()
        again = glu_prune("prefetch", file, where=tmp_path, env=env)
    assert again.returncode == 0
    assert not any("GET" in line and "tokenizer.json" in line for line in hub.asked)
