"""A real model judged against itself, and against itself at another batch size: nothing may be confirmed or refuted."""

from decimal import Decimal
from functools import cache

import pytest

from glu_prune.evaluation.capability import EMBEDDED, Capability
from glu_prune.evaluation.evaluate import Evaluator
from glu_prune.evaluation.floors import null_results
from glu_prune.evaluation.lm import CountingLM
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE
from glu_prune.experiment.merging import restrict
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord
from glu_prune.judgement.expectation import DirectionCase
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.kinds.direction import CapabilityClaim, judge
from glu_prune.judgement.scores import ROUNDING, PairedScores
from glu_prune.models.source import load, locate
from tests.helpers.records import record

HALF = Decimal("0.5")
TASKS = ("tiny_recall", "tiny_recall_mc", "tiny_truthfulness", "tiny_stories")
CAPABILITIES = [each for each in EMBEDDED if each.task in TASKS]
SLOW = pytest.mark.slow("answers a whole task at two batch sizes")
EACH = [pytest.param(each, id=each.name, marks=() if each.task == "tiny_stories" else SLOW) for each in CAPABILITIES]


@pytest.fixture(scope="module")
def answers():
    """Task to records of tiny-base at two batch sizes, and the floors."""
    evaluator = Evaluator()
    model, tokenizer = load(locate("tiny-base"), "float32", "cpu")

    @cache
    def of(task: str) -> tuple[list[Record], FloorRecord]:
        some = Subset(0, 160)
        results = [evaluator.evaluate(CountingLM(model, tokenizer, batch), task, subset=some) for batch in (64, 7)]
        return list(map(recorded, results)), restrict(floors(null_results(evaluator, task)), results[0].items)

    return of


def scores(result) -> dict[str, ScoreRecord]:
    return {name: ScoreRecord(**vars(each)) for name, each in result.metrics.items()}


def recorded(result) -> Record:
    return record(items=result.items, outputs=result.outputs, metrics=scores(result))


def floors(nulls) -> FloorRecord:
    (items,) = {result.items for result in nulls.values()}
    return FloorRecord(
        key="k", task="t", versions={}, created="now", items=items,
        nulls={name: scores(result) for name, result in nulls.items()},
    )  # fmt: skip


def outcome(capability: Capability, direction: str, dense: Record, other: Record, floor: FloorRecord) -> str:
    claim = CapabilityClaim(capability=capability.name, direction=direction, why="it is the same model")
    experiment = Experiment(model="m", ratios=("0.5",), expect=(claim,))
    case = DirectionCase("f.yaml", 1, "id", experiment, claim, HALF, capability)
    return judge(case, PairedScores(capability, {DENSE: dense, case.arm: other}, floor)).outcome


@pytest.mark.parametrize("capability", EACH)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_the_same_answers(answers, capability, direction):
    (dense, _), floor = answers(capability.task)
    assert outcome(capability, direction, dense, dense, floor) == "inconclusive"


@pytest.mark.parametrize("capability", EACH)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_another_batch_size(answers, capability, direction):
    (dense, other), floor = answers(capability.task)
    assert outcome(capability, direction, dense, other, floor) == "inconclusive"


def test_another_batch_size_does_change_likelihoods_and_by_less_than_counts(answers):
    """Else the test above tests nothing, or rounding is worse than it is taken for."""
    (dense, other), _ = answers("tiny_stories")
    pairs = zip(dense.metrics["bits_per_byte"].values, other.metrics["bits_per_byte"].values, strict=True)
    changes = [abs(a - b) for a, b in pairs]
    assert 0 < max(changes) < ROUNDING / 10


def test_rounding_that_always_goes_one_way_is_no_change(answers):
    (dense, _), floor = answers("tiny_stories")
    capability = next(each for each in CAPABILITIES if each.task == "tiny_stories")
    values = dense.metrics["bits_per_byte"].values
    shifted = dense.metrics["bits_per_byte"].model_copy(update={"values": tuple(value + 3e-6 for value in values)})
    other = dense.model_copy(update={"metrics": {**dense.metrics, "bits_per_byte": shifted}})
    for direction in ("up", "down"):
        assert outcome(capability, direction, dense, other, floor) == "inconclusive"
