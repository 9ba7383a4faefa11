"""The arms of a model in memory: loaded, ranked and cut as seldom as possible, and never one for another."""

import json
import shutil
from collections.abc import Callable
from decimal import Decimal

import pytest
import torch

from glu_prune.efficiency.series import REPLICATE
from glu_prune.errors import EvaluationError
from glu_prune.experiment.cell import DENSE, Arm, Settings
from glu_prune.experiment.executors.arms import Arms
from glu_prune.experiment.executors.measuring import side_by_side
from glu_prune.experiment.executors.scoring import lm_of
from glu_prune.models.source import ModelSource, locate
from glu_prune.pruning import ranking
from glu_prune.pruning.target import Target


def arm(ratio: str, criterion: str = "ppm") -> Arm:
    return Arm(criterion, Decimal(ratio))


@pytest.fixture
def arms() -> Arms:
    return Arms(locate("tiny-base"), Settings())


@pytest.fixture
def saved(arms, tmp_path) -> Callable[[str, str], Arm]:
    """What is cut from the model at a ratio, as a folder that another tool could have written."""

    def save(name: str, ratio: str) -> Arm:
        arms.copy(arm(ratio)).save_pretrained(tmp_path / name)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(arms.source.folder / file, tmp_path / name)
        return Arm(checkpoint=name, source=ModelSource(name, tmp_path / name))

    return save


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


def test_the_replicate_is_whole_whatever_the_first_pruned_arm_is(arms, saved):
    """It went the way of the others, with all of its neurons: else costs would be compared with a pruned model's."""
    aligned = Arm("ppm", target=Target.of(0.5, multiple_of=16))
    for pruned in ((aligned,), (saved("cut", "0.5"),), (saved("cut", "0.5"), aligned)):
        models = side_by_side(arms, (DENSE, *pruned))
        assert same(bits(models[REPLICATE]), bits(models["dense"]))
        assert models[REPLICATE] is not models["dense"]


def test_a_checkpoint_beside_the_model_it_was_cut_from_is_that_cut(arms, saved):
    checkpoint = saved("cut", "0.5")
    assert checkpoint.label == f"checkpoint {checkpoint.source.fingerprint[:8]}"
    models = side_by_side(arms, (DENSE, arm("0.5"), checkpoint))
    assert same(bits(models[checkpoint.label]), bits(models["ppm-0.5"]))
    found = arms.prepared(checkpoint)
    assert same(bits(found.model), bits(arms.prepared(arm("0.5")).model))
    assert arms.prepared(checkpoint) is found
    assert (lm_of(arms, checkpoint)[0].tokenizer, lm_of(arms, checkpoint)[0]._elder) == (arms.tokenizer, None)


def test_a_checkpoint_of_other_tokens_is_refused_in_one_line(arms, saved):
    checkpoint = saved("other", "0.5")
    tokenizer = checkpoint.source.folder / "tokenizer.json"
    said = json.loads(tokenizer.read_text())
    last = len(said["model"]["vocab"]) - 1
    said["model"]["vocab"] = {token: last - place for token, place in said["model"]["vocab"].items()}
    tokenizer.write_text(json.dumps(said))
    for use in (arms.prepared, lambda each: side_by_side(arms, (DENSE, each))):
        with pytest.raises(EvaluationError, match="has another vocabulary than tiny-base") as caught:
            use(checkpoint)
        assert "\n" not in str(caught.value)
