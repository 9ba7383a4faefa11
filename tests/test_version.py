"""The version stands in pyproject.toml; where files must repeat it, they say the same."""

import re
import tomllib
from importlib.metadata import version

import yaml

from tests.helpers import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


def test_the_citation_and_the_changelog_are_of_this_version():
    assert CITATION["version"] == PROJECT["version"] == version("glu-prune")
    released = re.findall(r"^## \[(\d\S*)\] - (\S+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == (PROJECT["version"], CITATION["date-released"])


def test_there_is_one_address():
    home = PROJECT["urls"]["Repository"]
    assert CITATION["repository-code"] == home
    files = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / ".github").rglob("*.*ml"),
        ROOT / "pyproject.toml",
    ]
    named = {
        found for path in files for found in re.findall(r"https://github\.com/[\w-]+/glu-prune\b", path.read_text())
    }
    assert named == {home}


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "glu_prune" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]
