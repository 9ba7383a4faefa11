"""Neurons allocated to layers: the solver against all choices, curves against real cuts, and what files may say."""

import copy
import itertools
import json
from decimal import Decimal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glu_prune.errors import PlanError
from glu_prune.models.source import load, locate
from glu_prune.pruning.allocation import _choices, _damage, allocated
from glu_prune.pruning.ranking import rank
from glu_prune.pruning.sensitivity import Predictions, Sensitivity, curves_of
from glu_prune.pruning.surgery import apply
from glu_prune.pruning.target import Target

HALF = Decimal("0.5")


def curves(*slopes: float) -> tuple:
    return tuple((layer, ((HALF, slope / 4), (Decimal("0.9"), slope))) for layer, slope in enumerate(slopes))


@given(st.lists(st.floats(0.01, 10), min_size=2, max_size=3), st.integers(1, 3))
def test_no_choice_of_that_size_does_less_damage(slopes, removed):
    layers = range(len(slopes))
    widths, uniform = dict.fromkeys(layers, 16), dict.fromkeys(layers, 16 - 4 * removed)
    known = curves(*slopes)
    found = allocated(known, widths, uniform, dict.fromkeys(layers, 8), 4)
    assert sum(found.values()) <= sum(uniform.values())
    assert all(width % 4 == 0 for width in found.values())

    def damage(chosen) -> float:
        return sum(_damage(dict(known)[layer], 1 - width / 16) for layer, width in enumerate(chosen))

    every = itertools.product(_choices(16, 4), repeat=len(slopes))
    best = min(damage(each) for each in every if sum(each) <= sum(uniform.values()))
    assert damage([found[layer] for layer in layers]) == pytest.approx(best)


def test_a_layer_that_hurts_more_keeps_more():
    found = allocated(
        curves(10, 1, 1), {0: 64, 1: 64, 2: 64}, dict.fromkeys(range(3), 32), dict.fromkeys(range(3), 1), 8
    )
    assert found[0] > max(found[1], found[2])


def test_damage_grows_although_measurements_are_noisy():
    noisy = ((Decimal("0.1"), 0.2), (Decimal("0.3"), 0.1), (Decimal("0.6"), 0.5))
    values = [_damage(noisy, removed) for removed in np.linspace(0, 0.95, 40)]
    assert values == sorted(values)
    assert values[0] == 0


def test_a_layer_that_was_not_measured_is_named():
    with pytest.raises(PlanError, match="has layers 0 to 1, not 2; measure it of this model"):
        allocated(curves(1, 1), dict.fromkeys(range(3), 8), dict.fromkeys(range(3), 4), dict.fromkeys(range(3), 1), 1)


@pytest.fixture(scope="module")
def model():
    return load(locate("tiny-base"), "float32", "cpu")[0]


ROWS = [torch.arange(5, 45), torch.arange(60, 90)]


def test_curves_are_those_of_real_cuts_and_leave_the_model_as_it_was(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ranking = rank(model, "ppm")
    found = dict(curves_of(model, ranking, ROWS, [HALF]))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    layer = max(found, key=lambda each: found[each][0][1])
    cut = copy.deepcopy(model)
    others = {each: 0 for each in found if each != layer}
    apply(cut, ranking.plan(Target.of(HALF, layer_ratios=others)))
    tokens = [len(row) - 1 for row in ROWS]
    apart = Predictions(model, ROWS).divergences(cut)
    mean = sum(each * count for each, count in zip(apart, tokens, strict=True)) / sum(tokens)
    assert found[layer][0][1] == pytest.approx(mean, rel=1e-4)


def test_an_allocated_plan_costs_no_more_than_a_uniform_one_and_predicts_better(model):
    ranking = rank(model, "ppm")
    known = curves_of(model, ranking, ROWS, [Decimal("0.2"), HALF, Decimal("0.8")])
    uniform, by_layer = Target.of("0.4", multiple_of=16), Target(Decimal("0.4"), multiple_of=16, curves=known)
    predictions, lost = Predictions(model, ROWS), {}
    for name, target in (("uniform", uniform), ("by layer", by_layer)):
        cut, plan = copy.deepcopy(model), ranking.plan(target)
        apply(cut, plan)
        lost[name] = sum(plan.widths.values()), sum(predictions.divergences(cut))
    assert lost["by layer"][0] <= lost["uniform"][0]
    assert lost["by layer"][1] < lost["uniform"][1]
    assert "allocated by sensitivity" in str(by_layer)


def test_by_score_lets_neurons_of_all_layers_compete(model):
    ranking = rank(model, "l2")
    plan = ranking.plan(Target(Decimal("0.4"), by_score=True))
    uniform = ranking.plan("0.4")
    assert sum(plan.widths.values()) <= sum(uniform.widths.values())
    assert len(set(plan.widths.values())) > 1
    assert "allocated by score" in plan.target


def test_a_file_says_again_what_was_measured(tmp_path):
    found = Sensitivity("ppm", curves(1, 2), (("model", "m"),))
    file = tmp_path / "s.json"
    file.write_text(found.to_json())
    assert Sensitivity.read(file).curves == found.curves
    assert json.loads(file.read_text())["model"] == "m"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1, "criterion": "ppm", "layers": {}}', '{"version": 2, "criterion": "ppm", "layers": {"0": {"0.5": 1}}}', '{"version": 1, "criterion": "ppm", "layers": {"0": {"2": 1}}}', '{"version": 1, "criterion": "ppm", "layers": {"0": {"0.5": "x"}}}'])  # fmt: skip
def test_what_is_no_sensitivity_is_refused_in_one_line(tmp_path, text):
    file = tmp_path / "s.json"
    file.write_text(text)
    with pytest.raises(PlanError, match="is no sensitivity of layers; `glu-prune sensitivity"):
        Sensitivity.read(file)
    with pytest.raises(PlanError, match="cannot be read"):
        Sensitivity.read(tmp_path / "none.json")
