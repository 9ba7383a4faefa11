"""The arms of a model in memory: loaded, ranked and cut as seldom as possible, and never one for another."""

from decimal import Decimal

import pytest
import torch

from glu_prune.efficiency.series import REPLICATE
from glu_prune.experiment.cell import DENSE, Arm, Settings
from glu_prune.experiment.executors.arms import Arms
from glu_prune.experiment.executors.measuring import side_by_side
from glu_prune.experiment.executors.scoring import lm_of
from glu_prune.models.source import locate
from glu_prune.pruning import ranking


def arm(ratio: str, criterion: str = "ppm") -> Arm:
    return Arm(criterion, Decimal(ratio))


@pytest.fixture
def arms() -> Arms:
    return Arms(locate("tiny-base"), Settings())


def bits(model) -> dict[str, torch.Tensor]:
    return {name: each.clone() for name, each in model.state_dict().items()}


def same(one, other) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_growing_ratios_cut_one_copy_further(arms):
    dense = bits(arms.prepared(DENSE).model)
    first = arms.prepared(arm("0.2"))
    for ratio in ("0.2", "0.3", "0.5"):
        found = arms.prepared(arm(ratio))
        assert found is first
        assert same(bits(found.model), bits(arms.copy(arm(ratio))))
    assert same(bits(arms.prepared(DENSE).model), dense)


def test_a_smaller_ratio_takes_a_new_copy(arms):
    arms.prepared(arm("0.5"))
    again = arms.prepared(arm("0.2"))
    assert same(bits(again.model), bits(arms.copy(arm("0.2"))))
    assert lm_of(arms, arm("0.2"))[1].width == arms.copy(arm("0.2")).config.intermediate_size


def test_criteria_do_not_meet(arms):
    ppm, control = arms.prepared(arm("0.3")), arms.prepared(arm("0.3", "random"))
    arms.prepared(arm("0.5", "random"))
    assert ppm.model is not control.model
    assert same(bits(arms.prepared(arm("0.3")).model), bits(arms.copy(arm("0.3"))))
    assert arms.prepared(arm("0.3")) is ppm


def test_a_criterion_ranks_once(arms, monkeypatch):
    ranked = []
    rank = ranking.rank
    monkeypatch.setattr(ranking, "rank", lambda model, *key: ranked.append(key) or rank(model, *key))
    for ratio in ("0.1", "0.4", "0.2"):
        arms.prepared(arm(ratio))
        arms.prepared(arm(ratio, "random"))
    side_by_side(arms, (DENSE, arm("0.5")))
    assert ranked == [("ppm", 0, None), ("random", 0, None)]


def test_arms_answer_in_the_way_that_was_found_for_the_dense_model(arms):
    (dense, _), (pruned, _) = lm_of(arms, DENSE), lm_of(arms, arm("0.5"))
    assert pruned._plans is dense._plans
    assert "scoring" in vars(pruned)
    assert pruned.scoring == dense.scoring == "shared prefixes"


def test_side_by_side_every_arm_is_a_model_of_its_own(arms):
    arms.prepared(arm("0.2"))
    models = side_by_side(arms, (DENSE, arm("0.2"), arm("0.5")))
    assert list(models) == ["dense", "ppm-0.2", "ppm-0.5", REPLICATE]
    assert len({id(model) for model in models.values()}) == 4
    assert same(bits(models[REPLICATE]), bits(models["dense"]))
    assert same(bits(models["ppm-0.2"]), bits(arms.prepared(arm("0.2")).model))
    assert list(side_by_side(arms, (DENSE,))) == ["dense"]
