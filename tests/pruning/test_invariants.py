"""What must hold for every pruning of every model, on drawn Llamas; families are in `tests/tools`."""

import copy
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.contract.properties import PROPERTIES
from glu_prune.contract.subject import STATIC, Subject, cases
from glu_prune.errors import PlanError
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.criteria import Neurons, ppm
from glu_prune.pruning.plan import PruningPlan
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.surgery import apply, prune
from tests.helpers.examples import examples
from tests.helpers.models import TOKENS, llama, llamas, ratios

criteria = st.sampled_from(STATIC)


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_contract_holds_for_every_llama(name):
    @examples(8 if name == "reloading_gives_the_same" else 25)
    @given(llamas(), st.data())
    def holds(model, data):
        subject = Subject(model, {"input_ids": TOKENS})
        PROPERTIES[name](subject, data.draw(cases(subject.width_map)))

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


@given(llamas(), st.lists(ratios, min_size=2, max_size=4), criteria)
def test_cutting_further_leaves_the_same_bits_as_cutting_at_once(model, steps, criterion):
    ranking = rank(model, criterion)
    plans = [ranking.plan(ratio) for ratio in sorted(steps)]
    at_once = copy.deepcopy(model)
    apply(at_once, plans[-1])
    apply(model, plans[0])
    for earlier, later in pairwise(plans):
        apply(model, later.after(earlier))
    found, expected = model.state_dict(), at_once.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert model.config.to_dict() == at_once.config.to_dict()


def test_what_is_gone_cannot_stay():
    ranking = rank(llama())
    less, more = ranking.plan("0.25"), ranking.plan("0.5")
    with pytest.raises(PlanError, match=r"mlp cannot be cut further: what was cut before lacks neurons"):
        less.after(more)
    with pytest.raises(PlanError, match="the earlier plan has 1 blocks, this one 2"):
        less.after(rank(llama(layers=1)).plan("0.25"))
    with pytest.raises(PlanError, match="cannot be cut further"):
        less.after(rank(llama(width=16)).plan("0.125"))
