"""What is installed from a wheel, away from this repository."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.helpers import ROOT
from tests.helpers.commands import BLOCKED

pytest.importorskip("hatchling", reason="wheels are built without a network, so hatchling must be here")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder))
    pip(ROOT, "wheel", *options, str(ROOT))
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory, wheel) -> Path:
    """A folder in which only this package is installed, and no name is looked up on a network."""
    folder = tmp_path_factory.mktemp("installed")
    pip(folder, "install", "--quiet", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    (folder / "sitecustomize.py").write_text(BLOCKED)
    return folder


def pip(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow("builds the package")
def test_all_data_of_the_package_is_in_the_wheel(wheel):
    ours = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "glu_prune").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert ours <= names
    assert {name.split("/")[0] for name in names} == {"glu_prune", f"glu_prune-{version('glu-prune')}.dist-info"}


@pytest.mark.slow("builds the package")
def test_links_of_the_description_lead_out_of_an_index(wheel):
    archive = zipfile.ZipFile(wheel)
    (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
    told = archive.read(name).decode().split("\n\n", 1)[1]
    links = re.findall(r"\]\(([^)]+)\)", told)
    assert len(links) > 15
    assert [link for link in links if not link.startswith("https://")] == []
    assert any(link.startswith("https://raw.githubusercontent.com/") and link.endswith(".svg") for link in links)


@pytest.mark.slow("installs, and judges a model in a process of its own")
def test_a_project_works_at_once_from_the_wheel_alone(installed, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(installed), "HF_HOME": str(tmp_path / "hf")}

    def python(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=project,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        return done.stdout

    python("-m", "glu_prune.cli", "init")
    # The run itself says which package it is about: that of the wheel, not the one that tests here are about.
    (project / "conftest.py").write_text(
        "import glu_prune.plugin\n\ndef pytest_report_header(config):\n"
        "    plugin = config.pluginmanager.get_plugin('glu_prune')\n"
        "    return [f'package: {glu_prune.__file__}', f'plugin: {plugin.__file__}']\n"
    )
    said = python("-m", "pytest", "benchmarks", "-k", "ratio_0.5")
    assert f"package: {installed / 'glu_prune' / '__init__.py'}\n" in said
    assert f"plugin: {installed / 'glu_prune' / 'plugin.py'}\n" in said
    assert str(ROOT) not in said
    assert "3 passed" in said
    assert (project / "results" / "scores.csv").is_file()
