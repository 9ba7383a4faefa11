"""Neurons that stay whatever a criterion says: `ppm keeping 0:97,767`."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from glu_prune.errors import PlanError
from glu_prune.models.source import load, locate
from glu_prune.pruning.criteria import criterion
from glu_prune.pruning.disk_model import open_disk_model
from glu_prune.pruning.disk_pruning import rank_on_disk
from glu_prune.pruning.ranking import rank
from tests.helpers.examples import examples

LAYERS, WIDTH = 5, 640
RATIOS = ("0.1", "0.4", "0.6")


@pytest.fixture(scope="module")
def model():
    return load(locate("tiny-base"), "float32", "cpu")[0]


def kept(plan) -> list[set[int]]:
    return [set(block.kept) for block in plan.blocks]


@examples(20)
@given(
    st.dictionaries(st.integers(0, LAYERS - 1), st.sets(st.integers(0, WIDTH - 1), min_size=1, max_size=40), min_size=1)
)
def test_they_stay_and_the_others_go_in_the_criterion_s_order(model, stay):
    name = "ppm keeping " + " ".join(f"{layer}:{','.join(map(str, neurons))}" for layer, neurons in stay.items())
    plain, ranked = rank(model, "ppm"), rank(model, name)
    for ratio in RATIOS:
        for layer, (without, found) in enumerate(zip(kept(plain.plan(ratio)), kept(ranked.plan(ratio)), strict=True)):
            wanted = stay.get(layer, set())
            assert wanted <= found
            assert len(found) == len(without)
            assert found - wanted <= without | wanted
    assert all(more > less for more, less in zip(kept(ranked.plan("0.1")), kept(ranked.plan("0.6")), strict=True))


def test_on_disk_as_in_memory(model):
    name = "l2 keeping 0:5,3 4:639"
    on_disk = rank_on_disk(open_disk_model(locate("tiny-base").folder), name).plan("0.5")
    in_memory = rank(load(locate("tiny-base"), "auto", "cpu")[0], name).plan("0.5")
    assert on_disk == in_memory
    assert on_disk.criterion == "l2 keeping 0:3,5 4:639"


def test_one_name_for_one_list():
    assert (
        criterion("maw keeping 1:3,2,2  0:7").name == criterion("ppm keeping 0:7 1:2,3").name == "ppm keeping 0:7 1:2,3"
    )
    assert criterion("reversed-l2 keeping 0:7").name == "reversed-l2 keeping 0:7"
    assert criterion("ppm keeping 0:7").source_digest == criterion("ppm").source_digest


def test_ties_are_counted_among_those_that_could_go():
    """Eight neurons of equal weights: two stay in any case, and of the other six, any four may."""
    alone = LlamaForCausalLM(
        LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, vocab_size=16)
    )
    with torch.no_grad():
        for parameter in alone.model.layers[0].mlp.parameters():
            parameter.fill_(0.5)
    (block,) = rank(alone, "ppm keeping 0:6,7").plan("0.25").blocks
    assert (block.kept, block.tied) == ((0, 1, 2, 3, 6, 7), (4, 2))
    (block,) = rank(alone, "ppm keeping 0:6,7").plan("0.75").blocks
    assert (block.kept, block.tied) == ((6, 7), (0, 0))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ppm keeping ", "criterion 'ppm' keeping '': write LAYER:NEURON,NEURON for each layer, as 0:97,767 5:3"),
        ("ppm keeping 0", "keeping '0': write LAYER:NEURON"),
        ("ppm keeping 0:1 0:2", "keeping '0:2': write LAYER:NEURON,NEURON for each layer"),
        ("ppm keeping 0:-1", "keeping '0:-1': write"),
        ("magic keeping 0:1", "unknown criterion 'magic'"),
        ("ppm keeping 9:1", "criterion ppm keeping 9:1: layer 9 has no GLU block; neurons that stay are those of"),
        ("ppm keeping 0:640", "criterion ppm keeping 0:640: model.layers.0.mlp has 640 neurons; neurons that stay"),
    ],
)
def test_what_cannot_stay_is_refused(model, name, says):
    with pytest.raises(PlanError, match=says.replace("(", r"\(")):
        rank(model, name)


def test_more_than_the_target_leaves_is_refused(model):
    ranked = rank(model, f"ppm keeping 2:{','.join(map(str, range(400)))}")
    assert len(ranked.plan("0.3").blocks[2].kept) == 448
    with pytest.raises(PlanError, match=r"model.layers.2.mlp: 400 neurons are to stay, and the target leaves 320"):
        ranked.plan("0.5")
