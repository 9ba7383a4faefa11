"""Claims about a made-up skill, records of known items, and the verdict on them."""

from collections.abc import Sequence
from decimal import Decimal

from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import DENSE, Arm
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord
from glu_prune.judgement.expectation import DirectionCase
from glu_prune.judgement.experiment import Experiment
from glu_prune.judgement.kinds.direction import CapabilityClaim, judge
from glu_prune.judgement.scores import PairedScores
from glu_prune.judgement.verdict import Verdict
from tests.helpers.records import record

HALF = Decimal("0.5")
AT_HALF = {"ratio": HALF}
"""What results say of the arm."""


RATIOS = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")


def case(
    direction: str, *, ratios: int = 1, higher: bool = True, metric: str = "acc", draws: int = 1, **claim: object
) -> DirectionCase:
    """The claim that a skill moves in a direction, at 0.5, made at so many ratios in all, beside so many controls."""
    made = CapabilityClaim(capability="skill", direction=direction, why="because", **claim)
    chosen = RATIOS[-1 - ratios : -1]
    experiment = Experiment(model="m", ratios=chosen, controls=("random",), control_seeds=draws, expect=(made,))
    capability = Capability("skill", "tiny_recall", metric, "a skill", higher_is_better=higher)
    return DirectionCase("f.yaml", 1, "m-ratio_0.5-skill", experiment, made, HALF, capability)


def scored(values: list[float]) -> ScoreRecord:
    return ScoreRecord(score=sum(values) / len(values), values=tuple(values), weights=(1.0,) * len(values))


def recorded(values: list[float], metric: str = "acc", sources: Sequence[str] = ()) -> Record:
    items = tuple(map(str, range(len(values))))
    return record(items=items, outputs=items, sources=tuple(sources), metrics={metric: scored(values)})


def share(right: int, of: int = 100) -> list[float]:
    """The first `right` items are right."""
    return [1.0] * right + [0.0] * (of - right)


def last(right: int, of: int = 100) -> list[float]:
    """The last `right` items are right."""
    return share(right, of)[::-1]


def found(
    claim: DirectionCase,
    dense: list[float],
    pruned: list[float],
    *,
    nulls: dict[str, list[float]] | None = None,
    random: Sequence[list[float]] = (),
    sources: Sequence[str] = (),
) -> Verdict:
    records = {DENSE: recorded(dense, sources=sources), claim.arm: recorded(pruned, sources=sources)}
    records |= {Arm("random", HALF, seed): recorded(each) for seed, each in enumerate(random)}
    floors = FloorRecord(
        key="k", task="t", versions={}, created="now", items=records[DENSE].items,
        nulls={name: {"acc": scored(values)} for name, values in (nulls or {}).items()},
    )  # fmt: skip
    return judge(claim, PairedScores(claim.capability, records, floors))
