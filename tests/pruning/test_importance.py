import pytest
import torch

from glu_prune.errors import PlanError
from glu_prune.judgement.expectation import CRITERIA as DECLARED
from glu_prune.pruning.blocks import GluWeights
from glu_prune.pruning.importance import CRITERIA, criterion, ppm, random

WEIGHTS = GluWeights(
    gate=torch.tensor([[1.0, -2.0, 0.5], [3.0, 1.0, 2.0]]),
    up=torch.tensor([[0.0, 0.25, -0.25], [-1.0, -4.0, -2.0]]),
    down=torch.zeros(3, 2),
)


def test_ppm_is_max_plus_absolute_min_over_gate_and_up():
    expected = [(1 + 2) + (0.25 + 0.25), (3 + 1) + (-1 + 4)]
    assert ppm(WEIGHTS, 0).tolist() == expected


def test_ppm_needs_no_seed():
    assert torch.equal(ppm(WEIGHTS, 0), ppm(WEIGHTS, 1))


def test_random_depends_on_its_seed_alone():
    other = GluWeights(WEIGHTS.gate * 2, WEIGHTS.up, WEIGHTS.down)
    assert torch.equal(random(WEIGHTS, 5), random(other, 5))
    assert not torch.equal(random(WEIGHTS, 5), random(WEIGHTS, 6))


def test_scores_are_float32_for_every_dtype():
    half = GluWeights(*(tensor.bfloat16() for tensor in (WEIGHTS.gate, WEIGHTS.up, WEIGHTS.down)))
    assert {score(half, 0).dtype for score in CRITERIA.values()} == {torch.float32}


def test_unknown_criteria_name_the_known_ones():
    with pytest.raises(PlanError, match="unknown criterion 'magic'; allowed: ppm, random"):
        criterion("magic")


def test_expectation_files_know_the_same_criteria():
    assert set(DECLARED) == set(CRITERIA)
