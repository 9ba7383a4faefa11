"""Records of parts of a task, put together; and what arms and null models score on some of their items."""

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TypeVar

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.metrics import aggregate
from glu_prune.experiment.record import FloorRecord, Record, ScoreRecord

Each = TypeVar("Each")


def join(records: Sequence[Record]) -> Record:
    """One record of the items of all, part by part; a single one is given back as it is.

    Its key names no cell: it is made anew whenever it is needed, and never stored.
    """
    if len(records) == 1:
        return records[0]
    first = records[0]
    return Record(
        key="+".join(record.key for record in records),
        model=first.model,
        weights=first.weights,
        arm=first.arm,
        task=first.task,
        settings={**first.settings, "part": ", ".join(str(record.settings["part"]) for record in records)},
        versions=first.versions,
        machine=first.machine,
        created=records[-1].created,
        code=first.code,
        items=_chain(record.items for record in records),
        fields={name: _chain(record.fields[name] for record in records) for name in first.fields},
        outputs=_chain(record.outputs for record in records),
        margins=_column([record.margins for record in records]),
        lengths=_column([record.lengths for record in records]),
        flaws=_column([record.flaws for record in records]),
        near_ties=_column([record.near_ties for record in records]),
        answers=_column([record.answers for record in records]),
        sources=_column([record.sources for record in records]),
        truncated=_sum([record.truncated for record in records]),
        metrics={
            name: _scores(name, [record.metrics[name] for record in records])
            for name in first.metrics
            if all(name in record.metrics for record in records)
        },
        positions=_sum([record.positions for record in records]),
        scored_positions=_sum([record.scored_positions for record in records]),
        size=first.size,
    )


def refuse_other_accelerators(records: Iterable[Record]) -> None:
    """Raises `EvaluationError` unless all `records` were computed on one kind of accelerator, or on none."""
    kinds = {str(record.settings.get("accelerator", "")) or "no accelerator": record for record in records}
    if len(kinds) > 1:
        (one, first), (other, second), *_ = kinds.items()
        msg = (
            f"{first.task}: {first.model} {first.arm} was computed on {one}, {second.arm} on {other}; cannot pair: run "
            "both on one kind"
        )
        raise EvaluationError(msg)


def select(record: Record, items: Sequence[str]) -> Record:
    """What the same arm answered to some of the items, in the order of `items`; nothing says what only these took.

    Raises:
        EvaluationError: an item is not among those of the record.
    """
    places = _places(record, items)
    columns = ("outputs", "margins", "lengths", "flaws", "near_ties", "answers", "sources")
    return record.model_copy(
        update={
            "items": tuple(items),
            **{name: _at(getattr(record, name), places) for name in columns},
            "fields": {name: _at(labels, places) for name, labels in record.fields.items()},
            "metrics": {name: _some(name, each, places) for name, each in record.metrics.items()},
            **dict.fromkeys(("truncated", "positions", "scored_positions")),
        }
    )


def restrict(floors: FloorRecord, items: Sequence[str]) -> FloorRecord:
    """What the same null models score on some of the items, in the order of `items`.

    Raises:
        EvaluationError: an item is not among those of the floors.
    """
    places = _places(floors, items)
    nulls = {
        null: {name: _some(name, each, places) for name, each in found.items()} for null, found in floors.nulls.items()
    }
    kept = {"questions": _at(floors.questions, places), "targets": _at(floors.targets, places)}
    return floors.model_copy(update={"items": tuple(items), "nulls": nulls, **kept})


def _places(of: Record | FloorRecord, items: Sequence[str]) -> list[int]:
    place = {item: index for index, item in enumerate(of.items)}
    if missing := [item for item in items if item not in place]:
        whose = "its floors" if isinstance(of, FloorRecord) else of.arm
        msg = f"{of.task}: {len(missing)} items are not among those of {whose}; cannot pair"
        raise EvaluationError(msg)
    return [place[item] for item in items]


def _at(column: Sequence[Each], places: Sequence[int]) -> tuple[Each, ...]:
    """Of an optional column."""
    return tuple(column[place] for place in places) if column else ()


def _chain(columns: Iterable[Iterable[Each]]) -> tuple[Each, ...]:
    return tuple(chain.from_iterable(columns))


def _column(columns: Sequence[tuple[Each, ...]]) -> tuple[Each, ...]:
    """An optional column: empty where some record has none."""
    return _chain(columns) if all(columns) else ()


def _scores(metric: str, found: Sequence[ScoreRecord]) -> ScoreRecord:
    values, weights = _chain(each.values for each in found), _chain(each.weights for each in found)
    parts = _column([each.parts for each in found])
    # Where one part has no answer to give to all, each item of it keeps its own.
    constant = _chain(each.constant or each.values for each in found) if any(each.constant for each in found) else ()
    score = aggregate(metric, values, weights)
    return ScoreRecord(score=score, values=values, weights=weights, parts=parts, constant=constant)


def _some(metric: str, found: ScoreRecord, places: Sequence[int]) -> ScoreRecord:
    values, weights = _at(found.values, places), _at(found.weights, places)
    parts, constant = _at(found.parts, places), _at(found.constant, places)
    score = aggregate(metric, values, weights)
    return ScoreRecord(score=score, values=values, weights=weights, parts=parts, constant=constant)


def _sum(counts: Sequence[int | None]) -> int | None:
    """None if some part was not counted."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
