"""What files may make this project do: nothing but be read, where it is not said otherwise in docs/ci.md."""

import ast
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import glu_prune
from glu_prune.cli import main
from glu_prune.errors import CheckpointError, ExpectationError, StoreError
from glu_prune.experiment.record import Record
from glu_prune.experiment.store import Store
from glu_prune.judgement.expectation import read
from glu_prune.pruning.shards import INDEX, open_shards
from tests.helpers import ROOT
from tests.helpers.examples import examples
from tests.helpers.malformed import SHORT, complaint, spoilt_bytes
from tests.helpers.models import llama
from tests.helpers.records import KEY, record

SOURCES = sorted((*Path(glu_prune.__file__).parent.rglob("*.py"), *(ROOT / "benchmarks").glob("*.py")))
RUNS_DATA = {
    "eval", "exec", "compile", "__import__",
    "pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "dill.loads", "cloudpickle.load", "cloudpickle.loads", "joblib.load", "marshal.load",
    "marshal.loads", "shelve.open", "torch.load", "numpy.load", "np.load", "pd.read_pickle", "pandas.read_pickle",
    "yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load", "yaml.unsafe_load_all",
    "os.system", "os.popen", "subprocess.getoutput",
}  # fmt: skip
"""Calls that run what they are given, or what they read."""
ALLOWED = {("efficiency/fresh.py", "pickle.load"), ("efficiency/fresh.py", "pickle.loads")}
"""Pipes between a process and the children that it starts itself: never a file, never a network."""


def calls(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            found.add(ast.unparse(node.func))
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_nothing_that_is_read_is_run():
    package = Path(glu_prune.__file__).parent
    found = {
        (path.relative_to(package if path.is_relative_to(package) else ROOT).as_posix(), each)
        for path in SOURCES
        for each in calls(path) & RUNS_DATA
    }
    assert found == ALLOWED


def test_the_search_finds_what_it_is_for(tmp_path):
    (tmp_path / "bad.py").write_text(
        "from pickle import loads\nimport torch\ndef f(x): return torch.load(x), eval(x)\n"
    )
    assert calls(tmp_path / "bad.py") & RUNS_DATA == {"pickle.loads", "torch.load", "eval"}


def test_code_that_comes_with_models_and_cached_requests_are_never_asked_for():
    asked = [
        (path.name, node.arg, ast.unparse(node.value))
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.keyword) and node.arg in ("trust_remote_code", "cache_requests", "request_caching_args")
    ]
    assert asked
    assert {value for _, _, value in asked} == {"False"}


CRITERION = "import pathlib\npathlib.Path('ran').touch()\ndef score(neurons): ...\n"


@pytest.mark.parametrize(
    ("text", "runs"),
    [
        (SHORT, False),
        (SHORT.replace("why: facts", "why: !!python/object/apply:pathlib.Path.touch [ran]"), False),
        (SHORT.replace("model: tiny-base", "model: $(touch ran)"), False),
        (SHORT.replace("criterion: ppm", "criterion: evil"), False),
        (SHORT.replace("criterion: ppm", "criterion: evil.score"), False),
        (SHORT.replace("criterion: ppm", "criterion: 'evil:score'"), True),
    ],
)
def test_only_a_criterion_of_ones_own_is_imported(tmp_path, monkeypatch, text, runs):
    monkeypatch.chdir(tmp_path)
    Path("evil.py").write_text(CRITERION)
    Path("claims.yaml").write_text(text)
    try:
        read(Path("claims.yaml"))
    except ExpectationError:
        assert text != SHORT
    assert Path("ran").exists() == runs


@examples(100)
@given(data=st.data())
def test_a_spoilt_record_is_never_taken_for_another(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("store")
    store, kept = Store(folder), record()
    store.put(kept)
    (path,) = (each for each in folder.rglob("*") if each.suffix == ".parquet")
    path.write_bytes(data.draw(spoilt_bytes(path.read_bytes())))
    try:
        assert store.get(KEY, Record) in (kept, None)
    except StoreError as error:
        complaint(error, str(path))


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/b.safetensors", ".."])
def test_an_index_names_files_of_its_folder_only(tmp_path, name):
    folder = tmp_path / "model"
    llama().save_pretrained(folder)
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"lm_head.weight": name}}))
    with pytest.raises(CheckpointError, match="which is no file of its folder"):
        open_shards(folder)


@pytest.mark.parametrize("name", ["..", "../x", "/tmp/x", "a/../b", "a/..", "./.."])
def test_a_project_is_never_written_outside_its_folder(tmp_path, name):
    (tmp_path / "inner").mkdir()
    main(["init", str(tmp_path / "inner" / "new"), "--model", name])
    assert {path.name for path in tmp_path.iterdir()} == {"inner"}
    assert {path.name for path in (tmp_path / "inner").iterdir()} <= {"new"}
    written = [path.resolve() for path in tmp_path.rglob("*.yaml")]
    assert all(path.is_relative_to(tmp_path / "inner" / "new") for path in written)
