import copy

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

from glu_prune.errors import PlanError, UnsupportedModelError
from glu_prune.pruning.plan import BlockPlan, PruningPlan, rank
from glu_prune.pruning.surgery import apply, prune
from tests.strategies import llama


def unchanged(model, before):
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_model_without_glu_blocks_is_refused_by_name():
    model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=8, n_layer=1, n_head=2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UnsupportedModelError, match=r"GPT2LMHeadModel has no GLU block.*GPT2MLP\(c_fc, c_proj"):
        prune(model, 0.5)
    assert unchanged(model, before)


def test_a_plan_for_another_model_is_refused():
    model = llama(width=12)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(PlanError, match=r"another model: model\.layers\.0\.mlp has width 12 here and 16 in the plan"):
        apply(model, rank(llama(width=16)).plan(0.5))
    assert unchanged(model, before)


def test_a_plan_that_leaves_unequal_widths_is_refused():
    model = llama(width=12)
    before = copy.deepcopy(model.state_dict())
    blocks = rank(model).plan(0.5).blocks
    uneven = PruningPlan("ppm", "0.5", 0, (BlockPlan(blocks[0].name, 12, (0, 1)), blocks[1]))
    with pytest.raises(PlanError, match="different widths"):
        apply(model, uneven)
    assert unchanged(model, before)


def test_weights_that_are_not_finite_are_refused():
    model = llama()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 2] = float("nan")
    with pytest.raises(PlanError, match=r"model\.layers\.1\.mlp: ppm gives scores that are not finite"):
        prune(model, 0.5)
    assert model.config.intermediate_size == 12


def test_a_block_that_contradicts_itself_stops_everything():
    model = llama()
    mlp = model.model.layers[1].mlp
    mlp.up_proj = torch.nn.Linear(8, 11, bias=False)
    with pytest.raises(UnsupportedModelError, match=r"layers\.1\.mlp: gate \(12, 8\), up \(11, 8\)"):
        prune(model, 0.5)
    assert model.model.layers[0].mlp.gate_proj.weight.shape == (12, 8)


def test_frozen_parameters_stay_frozen():
    model = llama()
    model.model.layers[0].mlp.gate_proj.weight.requires_grad_(False)
    prune(model, 0.25)
    assert not model.model.layers[0].mlp.gate_proj.weight.requires_grad
    assert model.model.layers[1].mlp.gate_proj.weight.requires_grad


def test_a_pruned_model_can_be_trained():
    model = llama()
    prune(model, 0.5)
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    assert model.model.layers[0].mlp.down_proj.weight.grad.shape == (8, 6)


def test_random_prunes_each_block_differently():
    plan = rank(llama(width=40), "random", seed=1).plan(0.5)
    assert plan.blocks[0].kept != plan.blocks[1].kept
    assert plan == rank(llama(width=40), "random", seed=1).plan(0.5)
    assert plan != rank(llama(width=40), "random", seed=2).plan(0.5)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"criterion": "ppm", "ratio": "2", "seed": 0, "blocks": []}'])
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(PlanError):
        PruningPlan.from_json(text)


@pytest.mark.parametrize("kept", [(), (1, 0), (0, 0), (0, 12), (-1, 2)])
def test_kept_neurons_are_checked(kept):
    with pytest.raises(PlanError, match="ascending, unique, within"):
        BlockPlan("mlp", 12, kept)
