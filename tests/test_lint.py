"""`glu-prune lint`: what a run would refuse, before there is one."""

import subprocess
import sys

import pytest

from glu_prune.cli import main
from tests.helpers import ROOT

GOOD = "model: tiny-base\nratios: [{}]\nexpect:\n  - {{capability: factual_recall, direction: down, why: w}}\n"


@pytest.fixture
def claims(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "expectations").mkdir()
    for name, ratio in {"a": 0.5, "b": 0.4}.items():
        (tmp_path / "expectations" / f"{name}.yaml").write_text(GOOD.format(ratio))
    return tmp_path / "expectations"


def test_files_that_can_be_used_are_counted(claims, capsys):
    assert main(["lint"]) == 0
    assert capsys.readouterr().out == "2 files: 2 cases, 0 errors\n"


def test_every_file_that_cannot_be_used_gives_one_line(claims, capsys):
    for name in ("c", "d"):
        (claims / f"{name}.yaml").write_text(GOOD.format(0.5).replace("recall", "recal"))
    (claims / "e.yaml").write_bytes(b"\xff: [")
    assert main(["lint", "expectations"]) == 1
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0] for line in lines] == [f"expectations/{name}" for name in ("c.yaml:4", "d.yaml:4", "e.yaml")]  # fmt: skip
    assert "did you mean 'factual_recall'" in lines[0]
    assert last == "5 files: 2 cases, 3 errors"


def test_a_claim_that_two_files_make_is_one_error(claims, capsys):
    (claims / "b.yaml").write_text(GOOD.format(0.5))
    assert main(["lint"]) == 1
    line, last = capsys.readouterr().out.splitlines()
    assert "claimed a second time; the first is in expectations/a.yaml:4" in line
    assert last == "2 files: 2 cases, 1 error"


def test_a_file_that_is_not_there_is_an_error(claims, capsys):
    assert main(["lint", "expectations/none.yaml"]) == 1
    assert "none.yaml" in capsys.readouterr().out


def test_it_imports_neither_torch_nor_what_runs_models():
    code = (
        "import sys; from glu_prune.cli import main; main(['lint', 'expectations']); "
        "sys.exit(' '.join({'torch', 'transformers', 'lm_eval', 'pandas', 'scipy', 'pyarrow'} & {*sys.modules}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == "", done.stderr
    assert ", 0 errors" in done.stdout
