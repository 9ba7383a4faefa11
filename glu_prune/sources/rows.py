"""Rows about records: what a cell cost and scored, and what scores its task without content."""

from collections.abc import Iterator

from glu_prune.evaluation.capability import Capability
from glu_prune.evaluation.metrics import scale_of
from glu_prune.experiment.cell import Arm
from glu_prune.experiment.cost_record import CostRecord
from glu_prune.experiment.record import DEQUANTIZED, FloorRecord, Record, ScoreRecord
from glu_prune.judgement.case import Case
from glu_prune.results.costs import CellResult, EvaluationReadings, FloorScore, MetricSummary, ModelSize
from glu_prune.statistics.means import spread, standard_error


def cell_result(case: Case, each: Arm, record: Record, limit: int | None, cost: EvaluationReadings) -> CellResult:
    """What a cell cost and scored, without its items."""
    return CellResult(
        model=case.subject,
        source=case.experiment.model,
        arm=record.arm,
        control=case.experiment.is_control(each),
        ratio=None if each.name else each.ratio,
        named=each.name,
        task=record.task,
        subset=str(record.settings.get("part", "")),
        prompts=len(record.items),
        truncated=record.truncated,
        near_ties=sum(record.near_ties),
        new_tokens=sum(record.lengths),
        limit=limit,
        dtype=str(record.settings["dtype"]),
        dtype_why=str(record.settings.get("dtype_why", "")),
        weights=_weights(each, record),
        scores={name: _summary(name, score) for name, score in record.metrics.items()},
        dequantized=str(record.settings.get(DEQUANTIZED, "")),
        size=ModelSize(**record.size.model_dump(), expansion_ratio=record.size.expansion_ratio),
        cost=cost,
    )


def _weights(arm: Arm, record: Record) -> str:
    """Fingerprint of the files; nothing if an adapter was merged, or a cut was made of which the record has no plan."""
    told = arm.adapter is None and (arm.criterion is None or record.size.plan)
    return record.weights if told else ""


def readings(record: Record, cost: CostRecord | None) -> EvaluationReadings:
    """What answering a cell took, and how much work that was; without `cost`, it is not known here."""
    if cost is None:
        note = "not measured: answered on another machine, or by other code"
        return EvaluationReadings(
            seconds=0.0, positions=None, scored_positions=None, energy={}, note=note, other_load=None
        )
    work = {"positions": record.positions, "scored_positions": record.scored_positions}
    return EvaluationReadings.model_validate({**cost.cost.model_dump(), **work})


def _summary(metric: str, scores: ScoreRecord) -> MetricSummary:
    """The standard error of a perplexity is by the rule for logarithms."""
    error = standard_error(scores.values, scores.weights)
    scored = sum(map(len, scores.parts)) or len(scores.values)
    return MetricSummary(scores.score, error * scores.score if scale_of(metric) == "nats" else error, scored)


def floor_scores(capability: Capability, floors: FloorRecord) -> Iterator[FloorScore]:
    """What the null models score, as the checks of evidence take it."""
    for name, scores in floors.nulls.items():
        if capability.metric in scores:
            found = scores[capability.metric]
            yield FloorScore(
                task=floors.task,
                metric=capability.metric,
                null=name,
                score=found.score,
                sd=spread(found.values, found.weights),
                items=len(floors.items),
            )
