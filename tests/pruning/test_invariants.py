"""What must hold for every pruning of every model, on drawn Llamas; families are in `tests/survey`."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glu_prune.contract.properties import PROPERTIES
from glu_prune.contract.subject import STATIC, Subject, cases
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.importance import ppm
from glu_prune.pruning.plan import Neurons, PruningPlan, rank
from glu_prune.pruning.surgery import prune
from tests.strategies import TOKENS, llama, llamas, ratios

criteria = st.sampled_from(STATIC)


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_contract_holds_for_every_llama(name):
    @settings(max_examples=8 if name == "reloading_gives_the_same" else 25)
    @given(llamas(), st.data())
    def holds(model, data):
        subject = Subject(model, {"input_ids": TOKENS})
        PROPERTIES[name](subject, data.draw(cases(subject.anatomy)))

    holds()


@given(llamas(), ratios, criteria)
def test_kept_is_sorted_unique_and_of_the_right_size(model, ratio, criterion):
    for block in rank(model, criterion).plan(ratio).blocks:
        assert list(block.kept) == sorted(set(block.kept))
        assert len(block.kept) == block.width - math.floor(ratio * block.width)
        assert set(block.kept) <= set(range(block.width))


@given(llamas(), ratios)
def test_what_stays_is_at_least_as_important_as_what_goes(model, ratio):
    for block, cut in zip(find_blocks(model), rank(model).plan(ratio).blocks, strict=True):
        scores = ppm(Neurons(block.weights))
        removed = sorted(set(range(cut.width)) - set(cut.kept))
        if removed:
            assert scores[list(cut.kept)].min() >= scores[removed].max()


def test_equals_go_from_the_end():
    model = llama(width=6, layers=1)
    for name in ("gate_proj", "up_proj"):
        torch.nn.init.ones_(model.model.layers[0].mlp.get_submodule(name).weight)
    assert rank(model).plan("0.5").blocks[0].kept == (0, 1, 2)


@given(llamas(), ratios)
def test_the_reverse_keeps_the_least_important(model, ratio):
    ranking, reverse = rank(model, "ppm"), rank(model, "reversed")
    for name, order in ranking.orders.items():
        scores = ppm(Neurons(next(b for b in find_blocks(model) if b.name == name).weights))
        assert torch.equal(scores[order], scores[reverse.orders[name]].flip(0))


@given(llamas(), ratios, criteria)
def test_sizes_follow_everywhere(model, ratio, criterion):
    plan = prune(model, ratio, criterion)
    width = len(plan.blocks[0].kept)
    assert model.config.intermediate_size == width
    for layer in model.model.layers:
        assert layer.mlp.intermediate_size == width
        assert layer.mlp.gate_proj.out_features == layer.mlp.up_proj.out_features == width
        assert layer.mlp.down_proj.in_features == width


@given(llamas(), ratios, criteria)
def test_plans_survive_json(model, ratio, criterion):
    plan = rank(model, criterion, seed=3).plan(ratio)
    assert PruningPlan.from_json(plan.to_json()) == plan
