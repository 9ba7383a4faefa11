"""What no run can do is found before one, by the same checks, whether a folder, an option or a file is at fault."""

import json
import shutil
from contextlib import nullcontext
from pathlib import Path

import codecarbon  # noqa: F401  inner sessions forget what they import first, and these cannot be imported twice
import datasets  # noqa: F401
import lm_eval.evaluator
import lm_eval.models.huggingface
import lm_eval.tasks  # noqa: F401
import pandas  # noqa: F401
import pytest
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from glu_prune.cli import main
from glu_prune.errors import NotReadyError
from glu_prune.models.source import locate
from glu_prune.plugin import _session

CLAIM = """\
model: {model}
ratios: [0.5]
criterion: {criterion}
expect:
  - {{capability: reading, direction: down, why: of this test}}
"""
TESTS = "def test_direction(glu_case, glu_check):\n    glu_check(glu_case)\n"


def copied(folder: Path) -> Path:
    return Path(shutil.copytree(locate("tiny-base").folder, folder / "model"))


def broken_tokenizer(folder: Path) -> None:
    (copied(folder) / "tokenizer.json").write_text("{")


def tokens_beyond_the_embedding(folder: Path) -> None:
    path = copied(folder) / "tokenizer.json"
    words = json.loads(path.read_text())
    vocabulary = words["model"]["vocab"]
    last = max(vocabulary, key=vocabulary.get)
    vocabulary[last] = 5000
    path.write_text(json.dumps(words))


def another_width(folder: Path) -> None:
    path = copied(folder) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "intermediate_size": 320}))


def untied(folder: Path) -> None:
    path = copied(folder) / "model.safetensors"
    weights = load_file(path)
    save_file({**weights, "lm_head.weight": weights["lm_head.weight"] * 2}, path, {"format": "pt"})


def no_glu(folder: Path) -> None:
    copied(folder)
    for path in (folder / "model").glob("*model*"):
        path.unlink()
    config = GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=2048)
    GPT2LMHeadModel(config).save_pretrained(folder / "model")


def nothing(folder: Path) -> None:
    copied(folder)


OBSTACLES = {
    "tokenizer": (broken_tokenizer, {}, "the tokenizer in"),
    "tokens": (tokens_beyond_the_embedding, {}, "5000"),
    "width": (another_width, {}, "contradicts itself"),
    "ties": (
        untied,
        {},
        "config.json has tie_word_embeddings (true, or by default), and lm_head.weight is not model.embed_tokens.weight",
    ),
    "no GLU": (no_glu, {}, "has no GLU block"),
    "criterion": (nothing, {"criterion": "unwell:fails"}, "criterion unwell:fails fails"),
    "device": (nothing, {"device": "meta"}, "device meta"),
    "attention": (nothing, {"attention": "no_such"}, "attention no_such"),
    "kernel": (nothing, {"attention": "someone/no_such"}, "attention someone/no_such"),
}


@pytest.fixture(params=OBSTACLES)
def obstacle(request, tmp_path, monkeypatch) -> tuple[list[str], str]:
    spoil, options, says = OBSTACLES[request.param]
    spoil(tmp_path)
    (tmp_path / "unwell.py").write_text("def fails(neurons):\n    return {}['nothing']\n")
    (tmp_path / "test_it.py").write_text(TESTS)
    criterion = options.get("criterion", "ppm")
    (tmp_path / "claims.yaml").write_text(CLAIM.format(model=tmp_path / "model", criterion=criterion))
    monkeypatch.chdir(tmp_path)
    return [f"{name}={value}" for name, value in options.items() if name != "criterion"], says


def test_the_doctor_finds_it(obstacle, capsys):
    options, says = obstacle
    assert main(["doctor", "claims.yaml", *(f"--{each}" for each in options)]) == 1
    said = " ".join(" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert says.replace("\n", " ") in said or all(word in said for word in says.split())
    assert "missing: " in said


def test_a_run_is_refused_for_it(pytester, obstacle):
    options, says = obstacle
    ran = pytester.runpytest_inprocess("--glu-expectations=claims.yaml", *(f"--glu-{each}" for each in options))
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [each for each in ran.errlines if each.strip()]
    assert says in line


@pytest.mark.parametrize("spoil", [another_width, no_glu])
def test_a_contract_is_refused_at_once(tmp_path, pytester, spoil):
    spoil(tmp_path)
    ran = pytester.runpytest_inprocess(f"--glu-contract={tmp_path / 'model'}")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [each for each in ran.errlines if each.strip()]
    assert str(tmp_path / "model") in line or "no GLU block" in line


@pytest.mark.parametrize("option", ["attention=no_such", "device=meta"])
def test_a_contract_is_refused_for_what_a_run_is(pytester, option):
    ran = pytester.runpytest_inprocess("--glu-contract=tiny-base", f"--glu-{option}")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [each for each in ran.errlines if each.strip()]
    assert option.replace("=", " ") in line


def test_weights_and_tokenizers_that_fit_are_ready(tmp_path, capsys, monkeypatch):
    copied(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "claims.yaml").write_text(CLAIM.format(model="model", criterion="ppm"))
    assert main(["doctor", "claims.yaml"]) == 0


@pytest.mark.slow("starts two workers")
def test_a_run_of_workers_is_refused_for_it_once(pytester, tmp_path, monkeypatch):
    broken_tokenizer(tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS)
    claims = CLAIM.format(model=tmp_path / "model", criterion="ppm").replace("[0.5]", "[0.1, 0.3, 0.5]")
    (tmp_path / "claims.yaml").write_text(claims)
    monkeypatch.chdir(tmp_path)
    ran = pytester.runpytest_inprocess("--glu-expectations=claims.yaml", "-n", "2")
    assert ran.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [each for each in ran.errlines if each.strip()]
    assert "the tokenizer in" in line
    assert not any("FAILED" in each or "INTERNALERROR" in each for each in ran.outlines)


@pytest.mark.parametrize(
    ("ids", "refused"),
    [
        (["test_it.py::test_direction[m\\xf6del-ratio_0.5-reading]"], True),
        (["test_it.py::test_direction[m\u00f6del-ratio_0.5-reading]"], True),
        (["test_it.py::test_direction[2-m\\xf6del-ratio_0.5-reading]"], True),
        (["test_it.py::test_direction[m\\xf6del-ratio_0.3-reading]"], False),
        (["test_it.py::test_other", "test_it.py::test_other[x]"], False),
        ([], False),
    ],
)
def test_tests_of_workers_are_known_by_their_names(pytester, tmp_path, ids, refused):
    copied(tmp_path).rename(model := tmp_path / "m\u00f6del")
    (model / "tokenizer.json").write_text("{")
    (tmp_path / "claims.yaml").write_text(CLAIM.format(model=model, criterion="ppm"))
    session = pytester.parseconfigure(f"--glu-expectations={tmp_path / 'claims.yaml'}").stash[_session]
    with pytest.raises(NotReadyError, match="the tokenizer in") if refused else nullcontext():
        session.preflight_of_workers(ids)


def test_a_session_of_workers_that_has_nothing_of_ours_stays_silent(pytester):
    session = pytester.parseconfigure("--glu-expectations=nowhere").stash[_session]
    session.preflight_of_workers(["test_it.py::test_other[x]"])
