import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import glu_prune
from glu_prune.cli import main
from glu_prune.pruning.checkpoint import PLAN_FILE
from glu_prune.pruning.plan import PruningPlan
from glu_prune.zoo.source import embedded_models, load, locate


def test_pruning_writes_a_stock_checkpoint(tmp_path: Path, capsys):
    out = tmp_path / "pruned"
    assert main(["prune", "tiny-base", "--ratio", "0.5", "--out", str(out)]) == 0
    assert "keeps 320 of 640 neurons in each of 5 GLU blocks" in capsys.readouterr().out
    assert json.loads((out / "config.json").read_text())["intermediate_size"] == 320
    model = AutoModelForCausalLM.from_pretrained(out)
    expected, _ = load(locate("tiny-base"), "auto", "cpu")
    plan = glu_prune.prune(expected, ratio=0.5, criterion="ppm")
    assert plan == PruningPlan.from_json((out / PLAN_FILE).read_text())
    assert model.dtype == expected.dtype == torch.bfloat16
    pairs = zip(model.state_dict().items(), expected.state_dict().items(), strict=True)
    assert all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
    text = "Question: Where?"
    assert (
        AutoTokenizer.from_pretrained(out)(text).input_ids
        == AutoTokenizer.from_pretrained(locate("tiny-base").folder)(text).input_ids
    )


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["absent-model", "--ratio", "0.5"], "model 'absent-model' is not on this machine"),
        (["tiny-base", "--ratio", "1.2"], "ratio '1.2' is not allowed; it is the fraction of neurons removed"),
        (["tiny-base", "--ratio", "0.5", "--criterion", "magic"], "unknown criterion 'magic'; allowed: ppm, random"),
    ],
)
def test_mistakes_give_one_line_and_no_output(tmp_path, capsys, arguments, complaint):
    out = tmp_path / "pruned"
    assert main(["prune", *arguments, "--out", str(out)]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("glu-prune: ")
    assert complaint in error
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path, capsys):
    assert main(["prune", "tiny-base", "--ratio", "0.5", "--out", str(tmp_path)]) == 1
    assert "exists; choose another folder or remove it" in capsys.readouterr().err


def test_a_failed_save_leaves_nothing(tmp_path, monkeypatch, capsys):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", full)
    assert main(["prune", "tiny-base", "--ratio", "0.5", "--out", str(tmp_path / "pruned")]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_checkpoint_is_refused(tmp_path, capsys):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(locate("tiny-base").folder, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert main(["prune", str(broken), "--ratio", "0.5", "--out", str(tmp_path / "out")]) == 1
    assert f"{broken} cannot be loaded" in capsys.readouterr().err.splitlines()[-1]


def test_the_embedded_models_are_listed(capsys):
    assert main(["models"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert tuple(listed) == embedded_models() == ("tiny-base", "tiny-instruct")
