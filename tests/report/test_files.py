"""A folder of tables is that of one report, whatever was in it before."""

import json
from pathlib import Path

import pytest

from glu_prune.report import files as module
from glu_prune.report.files import MANIFEST, write
from glu_prune.results.findings import Finding
from glu_prune.results.report import Report

FULL = Report.model_construct(findings=(Finding(model="m", check="c", subject="a", says="d"),))
ALWAYS = {"report.json", "report.md", MANIFEST}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_tables_of_an_earlier_run_go(tmp_path):
    assert write(FULL, tmp_path).names == ("findings.csv", "report.md", "report.json")
    assert names(tmp_path) == ALWAYS | {"findings.csv"}
    assert write(Report(), tmp_path).left == ()
    assert names(tmp_path) == ALWAYS
    assert write(FULL, tmp_path).left == ()
    assert names(tmp_path) == ALWAYS | {"findings.csv"}


def test_what_is_not_ours_stays_and_tables_among_it_are_named(tmp_path):
    for name in ("scores.csv", "notes.csv", "junit.xml", "findings.txt"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "groups.csv").mkdir()
    assert write(FULL, tmp_path).left == ("groups.csv", "scores.csv")
    (tmp_path / "findings.csv").write_text("edited")
    assert write(Report(), tmp_path).left == ("findings.csv", "groups.csv", "scores.csv")
    assert (tmp_path / "findings.csv").read_text() == "edited"
    assert (tmp_path / "scores.csv").read_text() == "mine"
    assert names(tmp_path) == ALWAYS | {
        "findings.csv",
        "scores.csv",
        "notes.csv",
        "junit.xml",
        "findings.txt",
        "groups.csv",
    }


@pytest.mark.parametrize("broken", ["", "[]", "{}", '{"files": 1}', '{"files": {"a": 1}}', "\xff", "[" * 10_000])
def test_a_broken_list_of_files_removes_nothing(tmp_path, broken):
    write(FULL, tmp_path)
    (tmp_path / MANIFEST).write_bytes(broken.encode("latin-1"))
    assert write(Report(), tmp_path).left == ("findings.csv",)


def test_a_list_of_files_names_none_elsewhere(tmp_path):
    folder = tmp_path / "results"
    write(FULL, folder)
    said = json.loads((folder / MANIFEST).read_text())
    digests = said["files"]["findings.csv"]
    (folder / "findings.csv").rename(tmp_path / "findings.csv")
    for name in ("../findings.csv", str(tmp_path / "findings.csv"), "", "."):
        said["files"][name] = digests
    (folder / MANIFEST).write_text(json.dumps(said))
    write(Report(), folder)
    assert (tmp_path / "findings.csv").exists()


@pytest.mark.parametrize(("first", "killed"), [(None, FULL), (FULL, Report())])
def test_what_a_run_left_that_was_killed_while_it_wrote_is_known_to_the_next(tmp_path, monkeypatch, first, killed):
    def dies(path: Path, text: str) -> None:
        if path.name == "report.md":
            raise KeyboardInterrupt
        whole(path, text)

    whole = module.write_whole
    if first:
        write(first, tmp_path)
    monkeypatch.setattr(module, "write_whole", dies)
    with pytest.raises(KeyboardInterrupt):
        write(killed, tmp_path)
    monkeypatch.undo()
    assert "findings.csv" in names(tmp_path)
    assert write(Report(), tmp_path).left == ()
    assert names(tmp_path) == ALWAYS


@pytest.mark.parametrize("name", ["findings.csv", "report.md", "report.json"])
def test_a_file_of_somebody_else_is_never_overwritten(tmp_path, name):
    (tmp_path / name).write_text("{}")
    with pytest.raises(FileExistsError, match=rf"^{name} in it was not written by glu-prune; move it, or name another"):
        write(FULL, tmp_path)
    assert names(tmp_path) == {name}
    assert (tmp_path / name).read_text() == "{}"


def test_a_folder_of_an_earlier_version_is_known_by_its_report(tmp_path):
    write(FULL, tmp_path)
    (tmp_path / MANIFEST).unlink()
    assert write(FULL, tmp_path).left == ()
    assert write(Report(), tmp_path).left == ()
    assert names(tmp_path) == ALWAYS
