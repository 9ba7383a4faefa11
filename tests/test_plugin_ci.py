"""What a session gives to CI, over published figures with hostile names: no model, seconds."""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.helpers import hostile
from tests.helpers.reports import fits

ARGUMENTS = ("--glu-evidence=published", "--glu-expectations=claims", "--junitxml=out.xml", "-p", "no:cacheprovider")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    here = {
        "GITHUB_ACTIONS": "true",
        "GITHUB_STEP_SUMMARY": str(folder / "page.md"),
        "GITHUB_WORKSPACE": str(folder.parent),
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", *ARGUMENTS, *arguments],
        cwd=folder, env={**os.environ, **here}, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("hostile") / "project"
    place.mkdir()
    hostile.make(place)
    return place


@pytest.fixture(scope="module")
def done(folder) -> subprocess.CompletedProcess[str]:
    return run(folder, "-v", "--glu-summary=out/mine.md")


@pytest.fixture(scope="module")
def cases(folder, done) -> list[dict]:
    return json.loads((folder / "results" / "report.json").read_text())["cases"]


def properties(folder: Path) -> list[dict[str, str]]:
    found = ET.parse(folder / "out.xml").findall(".//testcase/properties")
    return [{each.get("name"): each.get("value") for each in one} for one in found]


def test_every_kind_of_case_ran_and_some_failed(done, cases):
    assert done.returncode == 1
    assert {case["result"] for case in cases} == {"passed", "failed", "inconclusive"}
    said = re.search(r"(\d+) failed, (\d+) passed, (\d+) inconclusive in", done.stdout)
    counts = [sum(case["result"] == result for case in cases) for result in ("failed", "passed", "inconclusive")]
    assert [int(each) for each in said.groups()] == counts


def test_the_terminal_is_given_no_command_and_no_escape(done, cases):
    bad = [line for line in done.stdout.splitlines() if line.lstrip().startswith("::") or "##[" in line]
    expected = len({(case["result"], case["line"]) for case in cases if case["result"] in ("failed", "inconclusive")})
    assert len(bad) == expected > 10
    assert all(
        re.match(r"::(error|warning) file=project/claims/a%2Cb%25%3A c\.yaml,line=\d+,title=", line) for line in bad
    )
    for character in "\x1b\x07\u202e":
        assert character not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout


def test_annotations_stand_on_the_claims(folder, done, cases):
    lines = (folder / "claims" / "a,b%: c.yaml").read_text().splitlines()
    numbers = {int(each) for each in re.findall(r"^::\w+ .*?line=(\d+),", done.stdout, re.MULTILINE)}
    assert numbers == {case["line"] for case in cases if case["result"] in ("failed", "inconclusive")}
    assert all(lines[number - 1].startswith(("- ", "evidence:")) for number in numbers)


@pytest.mark.parametrize("name", ["page.md", "out/mine.md", "results/report.md"])
def test_markdown_shows_names_and_obeys_none(folder, done, name):
    text = (folder / name).read_text(encoding="utf-8")
    assert "script" in text
    for bad in ("\x1b", "\x07", "\u202e"):
        assert bad not in text
    assert not re.search(r"(?<!\\)<(script|b)>", text)
    assert not re.search(r"(?<!\\)\]\(", text)
    assert not re.search(r"(?<!\\)://", text)
    assert not re.search(r"^\s*::", text, re.MULTILINE)
    tables = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert tables
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_the_page_has_the_verdicts_the_table_what_to_look_at_and_findings(folder, done, cases):
    text = (folder / "page.md").read_text(encoding="utf-8")
    assert text == (folder / "out" / "mine.md").read_text(encoding="utf-8")
    assert re.search(rf"^\d+ passed, \d+ failed, \d+ inconclusive of {len(cases)} cases$", text, re.MULTILINE)
    headings = [line.rpartition(": ")[2] for line in text.splitlines() if line.startswith("## ")]
    assert headings == ["23 confirmed, 24 inconclusive, 6 artefact", "## To look at"]
    assert re.search(r"^\| claim +\| 0\.2 +\| 0\.4 +\| 0\.6 +\|$", text, re.MULTILINE)
    folded = re.findall(r"<details><summary>.*: (.*)</summary>", text)
    assert folded == ["capabilities", "evidence checks"]
    failed = [case for case in cases if case["result"] == "failed"]
    assert text.count("- **failed** claims/a,b%: c.yaml:") == len(failed)


def test_junit_has_figures_for_people_and_no_rows(folder, done, cases):
    found = properties(folder)
    assert len(found) == len(cases)
    assert not [name for each in found for name in each if name.startswith("glu_prune")]
    (row,) = (each for each in found if each.get("capability") == "arithmetic" and each.get("ratio") == "0.4")
    assert set(row) == {
        "model", "verdict", "declared", "capability", "ratio", "dense", "pruned", "delta", "low", "high", "p", "floor",
    }  # fmt: skip
    assert float(row["delta"]) == pytest.approx(float(row["pruned"]) - float(row["dense"]))
    assert (folder / "out.xml").stat().st_size < 200_000


@pytest.mark.slow("starts two more workers")
def test_side_by_side_the_same_is_told(folder, done, cases, tmp_path):
    serial = properties(folder)
    run(folder, "-n", "2", f"--glu-results={tmp_path}")
    again = json.loads((tmp_path / "report.json").read_text())["cases"]
    key = lambda case: json.dumps(case, sort_keys=True)  # noqa: E731
    assert again == cases
    assert sorted(map(key, properties(folder))) == sorted(map(key, serial))


def test_the_report_fits_its_schema(folder, done):
    report = fits((folder / "results" / "report.json").read_text())
    assert all((report.scores, report.trends, report.costs, report.findings, report.recomputed, report.cases))


def test_no_name_becomes_a_place(folder, done):
    assert {path.name for path in folder.parent.iterdir()} == {"project"}
    names = {path.name for path in (folder / "results").iterdir()}
    assert {name.rpartition(".")[2] for name in names} == {"csv", "md", "json"}
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+", name) for name in names - {".glu-prune-files.json"})
