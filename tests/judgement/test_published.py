"""Published aggregates, unpaired: what can be said of them, and what cannot."""

import math
from decimal import Decimal

import pytest

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.capability import Capability
from glu_prune.evidence.figures import Evidence, Floor, Run, Score
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.judgement.expectation import DirectionCase, EfficiencyCase
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.kinds.cost import EfficiencyClaim, judge_efficiency
from glu_prune.judgement.kinds.direction import CapabilityClaim, judge
from glu_prune.judgement.published import PublishedScores, published_pairs
from glu_prune.judgement.sources import CostEvidence
from glu_prune.results.findings import Finding

HALF = Decimal("0.5")
SKILL = Capability("skill", "t", "acc", "a skill", chance=0.25)


def score(ratio: Decimal, value: float, **fields) -> Score:
    given = {"model": "m", "ratio": ratio, "task": "t", "metric": "acc", "value": value, "stderr": None, "items": 400}
    return Score(**given | {"source": "s"} | fields)


def judged(direction: str, dense: Score, pruned: Score, *, floors=(), **claim):
    made = CapabilityClaim(capability="skill", direction=direction, why="w", **claim)
    experiment = Experiment(model="m", ratios=("0.5",), controls=("random",), evidence="e", expect=(made,))
    case = DirectionCase("f.yaml", 1, "id", experiment, made, HALF, SKILL)
    evidence = Evidence(scores=(dense, pruned), floors=tuple(floors))
    return judge(case, PublishedScores(SKILL, evidence, "m", "ppm"))


FLOOR = Floor("t", "acc", "word loop", 0.3, 0.45, 400)


@pytest.mark.parametrize(
    ("direction", "dense", "pruned", "expected"),
    [
        ("down", 0.8, 0.4, "confirmed"),
        ("up", 0.8, 0.4, "refuted"),
        ("up", 0.1, 0.28, "inconclusive"),
        ("up", 0.1, 0.2, "artefact"),
        ("up", 0.1, 0.32, "inconclusive"),
        ("up", 0.1, 0.5, "confirmed"),
        ("down", 0.3, 0.1, "inconclusive"),
        ("up", 0.4, 0.42, "inconclusive"),
    ],
)
def test_verdicts(direction, dense, pruned, expected):
    verdict = judged(direction, score(Decimal(0), dense), score(HALF, pruned), floors=[FLOOR])
    assert verdict.outcome == expected
    assert "unpaired" in verdict.sentence
    assert (verdict.gained, verdict.lost) == (None, None)


def test_the_test_is_the_usual_one_for_two_proportions():
    verdict = judged("down", score(Decimal(0), 0.5), score(HALF, 0.4))
    z = 0.1 / math.sqrt((0.5 * 0.5 + 0.4 * 0.6) / 400)
    assert verdict.p == pytest.approx(math.erfc(z / math.sqrt(2)))


def test_where_a_standard_error_is_not_published_the_sentence_says_where_it_comes_from():
    assert "standard error binomial" in judged("down", score(Decimal(0), 0.5), score(HALF, 0.4)).sentence
    given = judged("down", score(Decimal(0), 0.5, stderr=0.02), score(HALF, 0.4, stderr=0.02))
    assert "standard error" not in given.sentence


def test_no_control_was_published():
    verdict = judged("down", score(Decimal(0), 0.8), score(HALF, 0.4), floors=[FLOOR], specific=True)
    assert verdict.outcome == "inconclusive"
    assert "the control random was not measured" in verdict.sentence


def test_without_a_number_of_items_a_published_error_is_enough():
    known = {"items": None, "stderr": 0.01}
    assert judged("down", score(Decimal(0), 0.8, **known), score(HALF, 0.3, **known)).outcome == "confirmed"


def test_what_cannot_be_judged_says_why():
    with pytest.raises(EvaluationError, match=r"no standard error can be given; it cannot be judged"):
        judged("down", score(Decimal(0), 0.8, items=None), score(HALF, 0.4, items=None))
    with pytest.raises(EvaluationError, match=r"no t acc of m at ratio 0.5 was published; leave this ratio out"):
        judged("down", score(Decimal(0), 0.8), score(Decimal("0.4"), 0.4))


def test_only_the_arms_that_were_published_are_there():
    measured = PublishedScores(SKILL, Evidence(scores=(score(HALF, 0.5),)), "m", "ppm")
    assert measured.has(Arm("ppm", HALF))
    assert not measured.has(Arm("random", HALF))
    assert not measured.has(DENSE)


def run(ratio: Decimal, seed: int, joules: float, workload: str = "w") -> Run:
    return Run("m", ratio, seed, workload, {"joules_per_token": joules})


def cost(direction: str, pruned: float, *, findings=(), workload: str | None = None):
    made = EfficiencyClaim(efficiency="joules_per_token", direction=direction, workload=workload, why="w")
    experiment = Experiment(model="m", ratios=("0.5",), evidence="e", expect=(made,))
    runs = [
        run(ratio, seed, joules + seed / 100)
        for seed in range(8)
        for ratio, joules in ((Decimal(0), 1.0), (HALF, pruned))
    ]
    case = EfficiencyCase("f", 1, "id", experiment, made, HALF)
    return judge_efficiency(case, CostEvidence(*published_pairs(case, Evidence(runs=tuple(runs))), findings))


SPOILT = Finding(
    check="unequal_lengths",
    model="m",
    subject="w",
    says="says why",
    spoils=frozenset({"joules_per_token"}),
    ratios=(HALF,),
    workloads=("w",),
)


def test_costs_are_paired_by_workload_and_seed():
    verdict = cost("down", 0.8)
    assert (verdict.outcome, verdict.items) == ("confirmed", 8)
    assert "over 8 pairs of runs of 1 workloads" in verdict.sentence
    assert cost("up", 0.8).outcome == "refuted"


def test_a_spoilt_figure_confirms_and_refutes_nothing():
    verdict = cost("down", 0.8, findings=[SPOILT])
    assert (verdict.outcome, verdict.note) == ("artefact", "unequal_lengths")
    assert "unequal_lengths: says why" in verdict.sentence
    assert cost("up", 0.8, findings=[SPOILT]).outcome == "inconclusive"
    other = SPOILT.model_copy(update={"subject": "v", "workloads": ("v",)})
    assert cost("down", 0.8, findings=[other]).outcome == "confirmed"


def test_a_workload_that_is_not_there_is_named():
    with pytest.raises(EvaluationError, match=r"dense and at 0.5, in workload v have a figure 'joules_per_token'"):
        cost("down", 0.8, workload="v")
