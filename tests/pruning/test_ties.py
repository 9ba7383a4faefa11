"""Among neurons of equal score the choice is arbitrary: it is counted, shown, and another seed draws others."""

import itertools
import json
from decimal import Decimal

import pytest
import torch

from glu_prune.cli import main
from glu_prune.errors import PlanError
from glu_prune.experiment.cell import Arm, Settings
from glu_prune.experiment.executors.arms import Arms
from glu_prune.experiment.executors.scoring import lm_of
from glu_prune.models.source import ModelSource, locate
from glu_prune.pruning.blocks import find_blocks
from glu_prune.pruning.checkpoint import PLAN_FILE
from glu_prune.pruning.plan import BlockPlan, PruningPlan
from glu_prune.pruning.ranking import rank
from tests.helpers.models import llama

WORTH = (5.0, 3.0, 3.0, 1.0, 3.0, 3.0, 9.0, 1.0, 1.0, 2.0)


@pytest.fixture
def tied():
    """Two layers: in the first, scores are `WORTH`; in the second, no two are equal."""
    model = llama(width=len(WORTH))
    block = find_blocks(model)[0]
    with torch.no_grad():
        for weights in (block.weights.gate, block.weights.up):
            weights.copy_(torch.tensor(WORTH)[:, None].expand_as(weights))
        block.weights.down.fill_(1.0)
    return model


@pytest.mark.parametrize(
    ("width", "kept", "counts"),
    [
        (1, [6], (0, 0)),
        (2, [0, 6], (0, 0)),
        (3, [0, 1, 6], (1, 3)),
        (5, [0, 1, 2, 4, 6], (3, 1)),
        (6, [0, 1, 2, 4, 5, 6], (0, 0)),
        (9, [0, 1, 2, 3, 4, 5, 6, 7, 9], (2, 1)),
        (10, [*range(10)], (0, 0)),
    ],
)
def test_ties_at_the_cut_are_counted_and_the_first_stay(tied, width, kept, counts):
    from glu_prune.pruning.target import Target

    plan = rank(tied, "l2").plan(Target.of(width=width))
    assert next(list(block.kept) for block in plan.blocks) == kept
    assert [block.tied for block in plan.blocks] == [counts, (0, 0)]
    assert plan.ties == counts[1]
    said = f"model.layers.0.mlp {counts[0]} of {sum(counts)}"
    assert plan.about_ties.endswith(said) == bool(counts[1])
    assert bool(plan.about_ties) == bool(counts[1])
    assert PruningPlan.from_json(plan.to_json()) == plan


def test_another_seed_draws_others_among_equals_and_nothing_else(tied):
    first = rank(tied, "l2").plan("0.6")
    draws = {seed: rank(tied, "l2", seed).plan("0.6") for seed in range(1, 30)}
    assert {frozenset(plan.blocks[0].kept) for plan in draws.values()} == {
        frozenset({0, 6, *pair}) for pair in ((1, 2), (1, 4), (1, 5), (2, 4), (2, 5), (4, 5))
    }
    for seed, plan in draws.items():
        assert plan.blocks[1] == first.blocks[1]
        assert plan.blocks[0].tied == first.blocks[0].tied == (2, 2)
        assert plan == rank(tied, "l2", seed).plan("0.6")
        assert "drawn by the seed" in plan.about_ties
    assert "the first; another seed draws others" in first.about_ties


def test_larger_cuts_keep_what_smaller_ones_do_whatever_the_seed(tied):
    ranking = rank(tied, "l2", 7)
    kept = [set(ranking.plan(f"0.{tenths}").blocks[0].kept) for tenths in range(10)]
    assert all(larger <= smaller for smaller, larger in itertools.pairwise(kept))


def test_plans_of_earlier_versions_know_of_no_ties(tied):
    said = json.loads(rank(tied, "l2").plan("0.6").to_json())
    for block in said["blocks"]:
        del block["tied"]
    plan = PruningPlan.from_json(json.dumps(said))
    assert (plan.ties, plan.about_ties) == (None, "")
    for wrong in ("x", [1], [1, 2, 3], {}, 3, ["a", "b"], [True, 1], [1.5, 1], [5, 1], [1, 7], [-1, 1], [1, 10**400]):
        said["blocks"][0]["tied"] = wrong
        with pytest.raises(PlanError, match=r"not a pruning plan|tied must be at most 4 that stay and 6 that go"):
            PruningPlan.from_json(json.dumps(said))
    assert PruningPlan("c", "t", 0, (BlockPlan("a", 2, (0,)),)).ties is None


def test_commands_card_and_record_say_so(tied, tmp_path, capsys):
    folder, out = tmp_path / "tied", tmp_path / "out"
    tied.save_pretrained(folder)
    line = "l2: neurons of equal score at the cut, of which some stay (the first; another seed draws others): model.layers.0.mlp 2 of 4"
    assert main(["plan", str(folder), "--ratio", "0.6", "--criterion", "l2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == line
    assert main(["plan", str(folder), "--ratio", "0.8", "--criterion", "l2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "l2: no ties at the cut"
    assert main(["prune", str(folder), "--ratio", "0.6", "--criterion", "l2", "--out", str(out)]) == 0
    assert f"note: {line.partition(': ')[2]}" in capsys.readouterr().out
    assert line.partition(": ")[2] in (out / "README.md").read_text()
    assert PruningPlan.read(out / PLAN_FILE).ties == 2


def test_the_size_that_records_keep_has_the_ties():
    source = locate("tiny-base")
    arms = Arms(ModelSource(source.name, source.folder), Settings(dtype="bfloat16"))
    arm = Arm("ppm", Decimal("0.5"))
    _, size = lm_of(arms, arm)
    plan = rank(arms.model, "ppm").plan("0.5")
    assert size.ties == plan.ties
    assert plan.ties > 0, "the embedded model has ties in bfloat16"
    assert lm_of(arms, Arm())[1].ties == 0
