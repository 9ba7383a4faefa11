"""What is said twice, or excludes what is said elsewhere, is refused: never does one of two win without a word."""

import json
from pathlib import Path

import pytest

from glu_prune.cli import main
from glu_prune.errors import ExpectationError, PlanError
from glu_prune.judgement.expectation import read
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.surgery import prune
from tests.helpers.models import llama

FILE = """\
model: tiny-base
ratios: [0.5, 0.4]
expect:
  - capability: reading
    direction: down
    verdict: VERDICT
    why: of this test
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models")
    model = llama(layers=3)
    model.save_pretrained(path / "model")
    (path / "plan.json").write_text(prune(model, 0.5).to_json())
    (path / "text.txt").write_text("a\n")
    return path


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--plan=PLAN", "--ratio=0.9"], "--ratio"),
        (["--plan=PLAN", "--criterion=l2"], "--criterion"),
        (["--plan=PLAN", "--ratio=0.9", "--criterion=l2"], "--ratio"),
        (["--plan=PLAN", "--criterion=ppm"], "--criterion"),
        (["--plan=PLAN", "--seed=0"], "--seed"),
        (["--plan=PLAN", "--width=3"], "--width"),
        (["--plan=PLAN", "--expansion-ratio=2"], "--expansion-ratio"),
        (["--plan=PLAN", "--multiple-of=1"], "--multiple-of"),
        (["--plan=PLAN", "--skip=0"], "--skip"),
        (["--plan=PLAN", "--layer-ratio=0=0.1"], "--layer-ratio"),
        (["--plan=PLAN", "--calibration=TEXT"], "--calibration"),
        (["--calibration=TEXT", "--ratio=0.5"], "--calibration"),
        (["--calibration=TEXT", "--ratio=0.5", "--criterion=l2"], "--calibration"),
        (["--ratio=0.5", "--ratio=0.4"], "--ratio"),
        (["--ratio=0.5", "--criterion=l2", "--criterion=ppm"], "--criterion"),
        (["--ratio=0.5", "--layer-ratio=0=0.1", "--layer-ratio=0=0.2"], "layer 0"),
        (["--ratio=0.5", "--layer-ratio=2=0.1", "--layer-ratio=-1=0.2"], "layer"),
        (["--ratio=0.5", "--layer-ratio=2=0.1", "--skip=2"], "layer"),
        (["--ratio=0.5", "--layer-ratio=-1=0.1", "--skip=model.layers.2.*"], "layer"),
        (["--ratio=0.5", "--out=elsewhere"], "--out"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_prune(folder, tmp_path, capsys, monkeypatch, options, says):
    monkeypatch.chdir(tmp_path)
    places = {"PLAN": str(folder / "plan.json"), "TEXT": str(folder / "text.txt")}
    given = [each.replace(*place) for each in options for place in places.items() if place[0] in each]
    given = [each.replace("PLAN", places["PLAN"]).replace("TEXT", places["TEXT"]) for each in options]
    assert main(["prune", str(folder / "model"), "--out", str(tmp_path / "out"), *given]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["plan", "MODEL", "--ratio=0.5", "--ratio=0.5"],
        ["plan", "MODEL", "--ratio=0.5", "--width=3"],
        ["shape", "mini", "--out=a", "--seed=1", "--seed=2"],
        ["measure", "MODEL", "--device=cpu", "--device=cuda"],
        ["measure", "MODEL", "--suite=embedded", "--batch-size=1"],
        ["doctor", "--store=a", "--store=b"],
        ["store", "ls", "--store=a", "--store=b"],
        ["store", "ls", "--model=a", "--model=b"],
        ["compare", "a", "b", "--margin=1", "--margin=2"],
        ["init", "--model=a", "--model=b"],
        ["power", "--limit=1", "--limit=2"],
    ],
    ids=" ".join,
)
def test_commands(folder, tmp_path, capsys, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    assert main([str(folder / "model") if each == "MODEL" else each for each in arguments]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert arguments[-1].partition("=")[0].removeprefix("--") in line.replace("_", "-")
    assert list(tmp_path.iterdir()) == []


def test_what_may_be_repeated_still_may(folder, tmp_path, capsys):
    options = ["--ratio=0.5", "--skip=0", "--skip=1", "--layer-ratio=2=0.25"]
    assert main(["plan", str(folder / "model"), *options]) == 0
    assert main(["prune", str(folder / "model"), "--out", str(tmp_path / "out"), "--plan", str(folder / "plan.json"), "--pad-to-uniform"]) == 0  # fmt: skip


@pytest.mark.parametrize(
    "verdict",
    [
        "{0.5: refuted, 0.50: artefact}",
        "{0.5: refuted, '0.5': artefact}",
        "{0.5: refuted, 5e-1: refuted}",
        "{'0.50': refuted, '.5': artefact}",
    ],
)
def test_verdicts_at_one_ratio(tmp_path, verdict):
    path = tmp_path / "claims.yaml"
    path.write_text(FILE.replace("VERDICT", verdict))
    with pytest.raises(ExpectationError, match=r"claims\.yaml:[67]: .*0\.5"):
        read(path)


def test_verdicts_at_several_ratios(tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text(FILE.replace("VERDICT", "{0.50: refuted, '0.40': artefact}"))
    assert {case.declared for case in read(path)} == {"refuted", "artefact"}


@pytest.mark.parametrize(
    "text", ["1: a\n1.0: b\n", "yes: a\ntrue: b\n", "0x10: a\n16: b\n", "~: a\nnull: b\n", "a: 1\n'a': 2\n"]
)
def test_keys_that_are_one_value(tmp_path, text):
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(ExpectationError, match=r"claims\.yaml:2: key .* a second time"):
        read(path)


@pytest.mark.parametrize("name", ["criterion", "blocks", "kept", "format"])
def test_plans_that_say_something_twice(folder, name):
    text = (folder / "plan.json").read_text()
    value = json.dumps(json.loads(text).get(name, [0]))
    twice = text.replace(f'"{name}": ', f'"{name}": {value}, "{name}": ', 1)
    with pytest.raises(PlanError, match=f"{name}.* twice"):
        PruningPlan.from_json(twice)
