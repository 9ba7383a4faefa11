import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from glu_prune.cli import main
from glu_prune.judgement.expectation import DirectionCase, read
from glu_prune.models.source import embedded_models
from glu_prune.project.write import TEMPLATE, write_project
from tests.helpers import ROOT

TESTS = [
    f"benchmarks/test_{kind}.py" for kind in ("choices", "directions", "distances", "efficiency", "evidence", "trends")
]
WORKFLOW = ".github/workflows/glu-prune.yml"


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def claims(folder: Path):
    (path,) = (folder / "expectations").iterdir()
    return read(path)


@pytest.mark.parametrize("model", embedded_models())
def test_a_project_about_an_embedded_model(tmp_path, capsys, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "--model", model]) == 0
    assert files(tmp_path) == {WORKFLOW, "pytest.ini", f"expectations/{model}.yaml", *TESTS}
    assert capsys.readouterr().out.splitlines()[-1] == "next: pytest benchmarks -k ratio_0.5"
    found = claims(tmp_path)
    assert {case.experiment.model for case in found} == {model}
    assert {case.experiment.suite for case in found} == {"embedded"}
    assert all(isinstance(case, DirectionCase) for case in found)


def test_a_project_about_a_model_of_the_hub(tmp_path, capsys):
    folder = tmp_path / "new one"
    assert main(["init", str(folder), "--model", "nobody/Nothing-7B"]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"next: hf download nobody/Nothing-7B && cd '{folder}' && pytest benchmarks -k ratio_0.5"
    assert (folder / "expectations" / "nothing-7b.yaml").is_file()
    found = claims(folder)
    assert {case.experiment.suite for case in found} == {"study"}
    assert any("ratio_0.5" in case.id for case in found)
    (step,) = yaml.safe_load((folder / WORKFLOW).read_text())["jobs"]["claims"]["steps"][1:]
    assert step["uses"] == f"glu-prune/glu-prune@v{version('glu-prune')}"
    assert step["with"]["model"] == "nobody/Nothing-7B"


def test_folders_are_named_as_they_are_seen_from_the_project(tmp_path, monkeypatch):
    for place in ("project/models", "elsewhere"):
        (tmp_path / place).mkdir(parents=True)
    inside, outside = tmp_path / "project" / "models" / "it's: mine", tmp_path / "elsewhere" / "b"
    for link in (inside, outside):
        link.mkdir()
        (link / "config.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    write_project(Path("project"), "project/models/it's: mine")
    write_project(Path("other"), "elsewhere/b")
    assert {case.experiment.model for case in claims(tmp_path / "project")} == {"models/it's: mine"}
    assert {case.experiment.model for case in claims(tmp_path / "other")} == {str(outside)}


@pytest.mark.parametrize("model", ["tiny-bse", "./absent", "../a/b", "a/b/c", "a b/c"])
def test_a_model_that_cannot_be_is_refused(tmp_path, capsys, model):
    assert main(["init", str(tmp_path / "new"), "--model", model]) == 1
    assert f"model {model!r} is not on this machine" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "place", [WORKFLOW, "pytest.ini", "expectations/tiny-base.yaml", *TESTS, "benchmarks", ".github"]
)
def test_nothing_is_overwritten(tmp_path, capsys, place):
    there = tmp_path / place
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_text("mine")
    assert main(["init", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"glu-prune: {there} exists; nothing was written.")
    assert len(error.splitlines()) == 1
    assert files(tmp_path) == {place}
    assert there.read_text() == "mine"


def test_a_link_that_leads_nowhere_is_not_overwritten(tmp_path, capsys):
    (tmp_path / "pytest.ini").symlink_to(tmp_path / "absent")
    assert main(["init", str(tmp_path)]) == 1
    assert "pytest.ini exists" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["pytest.ini"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pyproject.toml", "[tool.pytest.ini_options]\n"),
        ("pyproject.toml", "[project]\n[tool.pytest]\n"),
        ("tox.ini", "[tox]\n[pytest]\n"),
        ("setup.cfg", "[tool:pytest]\n"),
    ],
)
def test_settings_of_pytest_are_not_hidden(tmp_path, capsys, name, text):
    (tmp_path / name).write_text(text)
    assert main(["init", str(tmp_path)]) == 1
    assert f"{tmp_path / name} has settings of pytest, which a pytest.ini would hide" in capsys.readouterr().err
    assert files(tmp_path) == {name}
    (tmp_path / name).write_text("[other]\n")
    assert main(["init", str(tmp_path)]) == 0


def test_what_exists_stays_beside_what_is_new(tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "mine.py").write_text("mine")
    assert main(["init", str(tmp_path)]) == 0
    assert (tmp_path / "benchmarks" / "mine.py").read_text() == "mine"
    assert {*TESTS} < files(tmp_path)


LIMITED = """\
import resource, sys
from glu_prune.cli import main
most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
sys.exit(main(["init", "new/deep"]))
"""


@pytest.mark.parametrize("limit", [0, 600, 1600])
def test_half_a_project_is_never_left(tmp_path, limit):
    """A real failure in the middle: no file may grow beyond a limit, and some of a project are larger."""
    (tmp_path / "mine").write_text("mine")
    done = subprocess.run(
        [sys.executable, "-B", "-c", LIMITED, str(limit)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "cannot be written: File too large; nothing was" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_the_tests_of_this_project_are_those_of_the_template():
    """Copies, not links: a link dangles where only a part is copied, and where the file system knows none."""
    for folder in (ROOT, TEMPLATE):
        assert {f"benchmarks/{path.name}" for path in (folder / "benchmarks").glob("*.py")} == {*TESTS}
    for place in TESTS:
        assert not (ROOT / place).is_symlink(), f"{place} is a link"
        assert (ROOT / place).read_bytes() == (TEMPLATE / place).read_bytes(), f"copy {TEMPLATE / place} to {place}"


def test_no_file_of_this_project_is_a_link():
    for folder in ("benchmarks", "docs", "expectations", "glu_prune", "perf", "tests", "tools"):
        assert not [path for path in (ROOT / folder).rglob("*") if path.is_symlink()]


def test_every_name_in_the_template_is_replaced(tmp_path):
    write_project(tmp_path, "tiny-base")
    assert not [name for name in files(tmp_path) if "@MODEL@" in (tmp_path / name).read_text()]
    assert "@VERSION@" not in (tmp_path / WORKFLOW).read_text()
    assert "@VERSION@" not in (tmp_path / WORKFLOW).read_text()
