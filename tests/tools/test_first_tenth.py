import copy
import json
from pathlib import Path

import pytest
import torch

from glu_prune.models.source import load, locate
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.sensitivity import Predictions, without
from glu_prune.pruning.surgery import apply
from tools import first_tenth
from tools.first_tenth import examine, tables


@pytest.fixture(scope="module")
def model():
    return load(locate("tiny-base"), "float32", "cpu")[0]


@pytest.fixture(scope="module")
def tokens():
    return torch.randint(5, 400, (2, 3, 24), generator=torch.Generator().manual_seed(0))


def test_zeros_do_what_pruning_does_and_are_undone(model, tokens):
    blocks = {block.name: block for block in find_blocks(model)}
    text, before = Predictions(model, list(tokens[0])), copy.deepcopy(model.state_dict())
    assert text.measured()["divergence"] == 0
    plan = rank(model, "l2").plan("0.3")
    pruned = copy.deepcopy(model)
    apply(pruned, plan)
    expected = [
        torch.nn.functional.kl_div(*(each(row[None]).logits[0, :-1].log_softmax(-1) for each in (pruned, model)), log_target=True, reduction="none").sum(-1)
        for row in tokens[0]
    ]  # fmt: skip
    with without(blocks, first_tenth._by_block(first_tenth._cut(model, ("l2", 0), "0.3", {}))):
        assert text.measured()["divergence"] == pytest.approx(float(torch.cat(expected).mean()), rel=1e-4)
        loss = text.measured()["loss"]
    assert loss == pytest.approx(Predictions(pruned, list(tokens[0])).measured()["loss"], rel=1e-5)
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_what_carries_the_damage_is_found(model, tokens, monkeypatch):
    """One neuron that ppm cuts is made to matter: its layer, and it, are the first that are named."""
    model = copy.deepcopy(model)
    name, place = min(first_tenth._cut(model, ("ppm", 0), "0.1", {}))
    block = next(block for block in find_blocks(model) if block.name == name)
    with torch.no_grad():
        block.weights.down[:, place] *= 300
    monkeypatch.setattr(first_tenth, "_KEPT", 2)
    found = examine(model, Predictions(model, list(tokens[0])), tokens[1], "0.1")
    assert max(found["layers"], key=found["layers"].get) == name
    first = found["neurons"][0]
    assert (first["block"], first["neuron"]) == (name, place)
    assert first["rank"].startswith("1 of ")
    assert "ppm" in first["cut by"]
    kept = [each["divergence"] for each in found["kept"]]
    assert kept[1] < kept[0] / 2
    assert found["criteria"]["wanda"]["divergence"] < found["criteria"]["ppm"]["divergence"]
    assert kept[0] == found["criteria"]["ppm"]["divergence"]
    assert len({found["criteria"][f"random, draw {draw}"]["divergence"] for draw in range(1, 6)}) == 5


def test_what_the_docs_say_was_found():
    docs = Path(__file__).parent.parent.parent / "docs"
    assert tables(json.loads((docs / "first-tenth.json").read_text())) in (docs / "first-tenth.md").read_text()
