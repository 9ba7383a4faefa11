"""Allocations as users meet them: measured, applied, and refused."""

import json

import pytest

from glu_prune.cli import main
from glu_prune.errors import ExpectationError
from glu_prune.judgement.expectation import read

FILE = """\
model: tiny-base
arms:
  by-layer: {ratio: 0.4, multiple_of: 16, allocation: s.json}
  by-score: {ratio: 0.4, multiple_of: 16, allocation: by_score}
expect:
  - {capability: reading, direction: kept, margin: 0.1, why: w}
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("layers")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        asked = ["--ratios", "0.25,0.75", "--calibration-tokens", "400", "--out", "s.json"]
        assert main(["sensitivity", "tiny-base", *asked]) == 0
    return folder


def widths(folder) -> list[int]:
    config = json.loads((folder / "config.json").read_text())
    return [config["intermediate_size"]] if "glu_widths" not in config else sorted(config["glu_widths"].values())


def test_what_was_measured_is_applied(measured, monkeypatch, capsys):
    monkeypatch.chdir(measured)
    said = json.loads((measured / "s.json").read_text())
    assert (said["criterion"], said["tokens"], sorted(said["layers"])) == ("ppm", "400", ["0", "1", "2", "3", "4"])
    cut = ["prune", "tiny-base", "--ratio", "0.4", "--multiple-of", "16"]
    assert main([*cut, "--out", "alike"]) == 0
    assert main([*cut, "--allocation", "s.json", "--out", "by-layer"]) == 0
    assert main([*cut, "--allocation", "by_score", "--criterion", "l2", "--out", "by-score"]) == 0
    (alike,) = widths(measured / "alike")
    for name in ("by-layer", "by-score"):
        found = widths(measured / name)
        assert len(set(found)) > 1
        assert sum(found) <= 5 * alike
        assert all(width % 16 == 0 for width in found)
    assert "allocated by sensitivity" in (measured / "by-layer" / "README.md").read_text()


def test_arms_of_a_file_are_allocated(measured, monkeypatch):
    monkeypatch.chdir(measured)
    (measured / "claims.yaml").write_text(FILE)
    by_layer, by_score = (case.arm for case in read(measured / "claims.yaml"))
    assert by_layer.target.curves
    assert by_score.target.by_score
    assert by_layer.label.startswith("ppm, ratio 0.4, multiple of 16, allocated by sensitivity ")


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("s.json", "none.json", r":3: .*none.json cannot be read"),
        ("s.json", "by_sensitivity", r":3: a sensitivity is measured first: `glu-prune sensitivity MODEL --out FILE`"),
        ("s.json", "claims.yaml", r":3: .*is no sensitivity of layers"),
        ("{ratio: 0.4, multiple_of: 16, allocation: s.json}", "{criterion: l2, ratio: 0.4, allocation: s.json}", r":3: .*is about criterion ppm, and the arm is cut by l2"),
        ("{ratio: 0.4, multiple_of: 16, allocation: s.json}", "{layers: {0: 0.4}, allocation: s.json}", r":3: .*leave one of the two out"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_file_is_one_line(measured, old, new, complaint):
    text = FILE.replace(old, new, 1)
    assert text != FILE
    (measured / "claims.yaml").write_text(text)
    with pytest.raises(ExpectationError, match=complaint):
        read(measured / "claims.yaml")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["prune", "tiny-base", "--ratio", "0.4", "--allocation", "none.json", "--out", "x"], "none.json cannot be read"),
        (["prune", "tiny-base", "--ratio", "0.4", "--criterion", "l2", "--allocation", "s.json", "--out", "x"], "s.json is about criterion ppm, and --criterion is l2"),
        (["prune", "tiny-base", "--ratio", "0.4", "--layer-ratio", "0=0.1", "--allocation", "by_score", "--out", "x"], "give one"),
        (["sensitivity", "tiny-base", "--out", "no/where.json"], "there is no folder no"),
        (["sensitivity", "tiny-base", "--out", "x.json", "--ratios", "0"], "names none above 0"),
        (["sensitivity", "tiny-base", "--out", "x.json", "--ratios", "1.5"], "ratio '1.5' is not allowed"),
        (["sensitivity", "tiny-base", "--out", "x.json", "--criterion", "pmp"], "pmp"),
        (["sensitivity", "tiny-base", "--out", "x.json", "--calibration", "none.txt"], "none.txt is no file"),
        (["sensitivity", "tiny-base", "--out", "x.json", "--calibration-tokens", "3000000"], "3,000,000 were asked for"),
        (["sensitivity", "nonesuch", "--out", "x.json"], "model 'nonesuch' is not on this machine"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(measured, monkeypatch, capsys, arguments, complaint):
    monkeypatch.chdir(measured)
    assert main(arguments) != 0
    said = capsys.readouterr()
    assert complaint in said.err
    assert said.err.count("\n") == 1
    assert not (measured / "x").exists()
    assert not (measured / "x.json").exists()
