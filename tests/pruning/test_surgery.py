import copy
from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from glu_prune.errors import PlanError, UnsupportedModelError
from glu_prune.pruning import surgery
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.plan import BlockPlan, PruningPlan
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.surgery import apply, prune, pruned
from tests.helpers.models import llama
from tools.survey import tiny


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


def test_a_plan_for_other_weights_is_refused():
    model = llama(seed=1)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(PlanError, match=r"the plan is for other weights: those of model\.layers\.0\.mlp differ"):
        apply(model, rank(llama(seed=2)).plan(0.5))
    assert unchanged(model, before)


def test_experts_of_one_layer_share_a_width():
    model = tiny.build("mixtral")
    plan = rank(model).plan(0.5)
    first = replace(plan.blocks[0], kept=plan.blocks[0].kept[1:])
    with pytest.raises(PlanError, match=r"different widths in model\.layers\.0\.mlp\.experts: \[23, 24\]"):
        apply(model, replace(plan, blocks=(first, *plan.blocks[1:])))


def test_widths_that_the_configuration_cannot_say_are_written_beside_it():
    model = llama(width=12)
    prune(model, 0.5, layer_ratios={1: 0.25})
    assert model.config.intermediate_size == 12
    assert model.config.glu_widths == {"model.layers.0.mlp": 6, "model.layers.1.mlp": 9}
    prune(model, width=5)
    assert model.config.intermediate_size == 5
    assert not hasattr(model.config, "glu_widths")


def test_lists_of_widths_say_unequal_ones():
    model = tiny.build("gemma3n_text")
    prune(model, 0.5, layer_ratios={1: 0.25})
    assert model.config.intermediate_size == [22, 33, 22, 22]
    assert not hasattr(model.config, "glu_widths")


@pytest.mark.parametrize("step", range(14))
def test_a_failure_half_way_leaves_the_model_as_it_was(monkeypatch, step):
    """Each parameter is cut in two selections; the failure comes at any of them, or when attributes are set."""
    model = llama(width=12, bias=True, layers=2)
    before, attributes, config = copy.deepcopy(model.state_dict()), state(model), model.config.to_dict()
    calls = iter(range(1000))

    def fail(whole, *arguments, **keywords):
        if next(calls) == step:
            raise MemoryError
        return select(whole, *arguments, **keywords)

    select = surgery._select
    monkeypatch.setattr(surgery, "_select", fail)
    with pytest.raises(MemoryError):
        prune(model, 0.5)
    assert unchanged(model, before)
    assert state(model) == attributes
    assert model.config.to_dict() == config


def test_a_failure_in_the_configuration_is_taken_back_too(monkeypatch):
    model = llama(width=12)
    before, attributes = copy.deepcopy(model.state_dict()), state(model)

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(surgery, "configure", fail)
    with pytest.raises(KeyboardInterrupt):
        prune(model, 0.5)
    assert unchanged(model, before)
    assert state(model) == attributes


def state(model):
    modules = (m for layer in model.model.layers for m in layer.mlp.modules())
    return [(name, value) for module in modules for name, value in vars(module).items() if isinstance(value, int)]


def test_hooks_and_identity_stay():
    model = llama()
    mlp = model.model.layers[0].mlp
    parameter, seen = mlp.gate_proj.weight, []
    mlp.register_forward_hook(lambda *_: seen.append("module"))
    parameter.register_hook(lambda grad: seen.append(tuple(grad.shape)))
    prune(model, 0.5)
    assert mlp.gate_proj.weight is parameter
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    assert seen == ["module", (6, 8)]


def test_gradients_of_the_old_width_do_not_stay():
    model = llama()
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    prune(model, 0.5)
    assert model.model.layers[0].mlp.gate_proj.weight.grad is None
    assert model.model.embed_tokens.weight.grad is not None


def test_a_model_without_weights_can_be_planned_and_cut():
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(num_hidden_layers=2))
    with pytest.raises(PlanError, match="criterion ppm needs weights"):
        prune(model, 0.5)
    plan = prune(model, 0.5, "random")
    assert model.model.layers[1].mlp.down_proj.weight.shape == (4096, 5504)
    assert model.model.layers[1].mlp.down_proj.weight.is_meta
    assert plan.blocks[0].checksum == ""


def test_a_plain_module_can_be_cut():
    class Block(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.gate_proj, self.up_proj = torch.nn.Linear(4, 10), torch.nn.Linear(4, 10)
            self.down_proj = torch.nn.Linear(10, 4)

    model = torch.nn.Sequential(Block(), Block())
    prune(model, 0.5, layer_ratios={0: 0.2})
    assert [block.up_proj.out_features for block in model] == [8, 5]


def test_what_depends_on_the_width_unknown_to_any_layout_is_refused():
    class Scaled(LlamaForCausalLM):
        def __init__(self, config):
            super().__init__(config)
            self.model.layers[0].mlp.scale = torch.nn.Parameter(torch.ones(config.intermediate_size))

    model = Scaled(llama().config)
    with pytest.raises(
        UnsupportedModelError, match=r"layers\.0\.mlp\.scale \(12,\) depends on the width of GLU blocks"
    ):
        prune(model, 0.5)
    assert model.model.layers[0].mlp.gate_proj.out_features == 12


def test_a_model_that_is_not_what_its_configuration_says_is_refused():
    model = llama()
    model.config.intermediate_size = 16
    with pytest.raises(
        UnsupportedModelError, match=r"mlp has width 12, which is not what a LlamaForCausalLM built from its c"
    ):
        prune(model, 0.5)


def test_quantised_weights_are_refused():
    model = llama()
    linear = model.model.layers[1].mlp.up_proj
    linear.weight = torch.nn.Parameter(linear.weight.to(torch.int8), requires_grad=False)
    with pytest.raises(UnsupportedModelError, match=r"layers\.1\.mlp: weight is torch\.int8; prune the weights before"):
        prune(model, 0.5)


def test_tied_blocks_are_cut_once():
    """Zamba's shared transformer is one set of weights in several layers."""
    model = tiny.build("zamba")
    names = {block.name for block in find_blocks(model)}
    prune(model, 0.5)
    shared = [m.feed_forward for n, m in model.named_modules() if n.endswith("shared_transf")]
    assert len(shared) > len(names) == 1
    assert {id(mlp.gate_proj.weight) for mlp in shared} == {id(shared[0].gate_proj.weight)}
    assert {mlp.gate_proj.out_features for mlp in shared} == {22}


def test_vision_towers_are_left_alone():
    model = tiny.build("gemma3")
    before = copy.deepcopy(model.model.vision_tower.state_dict())
    prune(model, 0.5)
    assert model.config.text_config.intermediate_size == 22
    assert all(torch.equal(v, before[k]) for k, v in model.model.vision_tower.state_dict().items())


def test_weights_that_are_not_finite_are_refused():
    model = llama()
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 2] = float("nan")
    for criterion in ("ppm", "random"):
        with pytest.raises(PlanError, match=r"layers\.1\.mlp: 1 weights of up are NaN or infinite; the checkpoint is"):
            prune(model, 0.5, criterion)
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


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "blocks": []}', '{"format": 2, "blocks": [{}]}'])
def test_what_is_no_plan_is_refused(text):
    with pytest.raises(PlanError):
        PruningPlan.from_json(text)


@pytest.mark.parametrize("kept", [(), (1, 0), (0, 0), (0, 12), (-1, 2)])
def test_kept_neurons_are_checked(kept):
    with pytest.raises(PlanError, match="ascending, unique, within"):
        BlockPlan("mlp", 12, kept)


def test_gradients_come_back_with_the_neurons():
    model = llama()
    model(torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    weight = model.model.layers[0].mlp.gate_proj.weight
    grad = weight.grad
    with pruned(model, rank(model).plan(0.5)):
        assert weight.grad is None
        assert weight.shape == (6, 8)
    assert weight.grad is grad
