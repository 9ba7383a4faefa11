"""Packs: stores to be published, of records without what models wrote, which others can judge without a model."""

import csv
import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from glu_prune.errors import CorruptError, StoreError
from glu_prune.experiment.codec import AnyRecord
from glu_prune.experiment.cost_record import CostRecord, SeriesRecord
from glu_prune.experiment.maintenance import records
from glu_prune.experiment.record import ArmRecord, FloorRecord, Record
from glu_prune.experiment.store import Store
from glu_prune.files import write_whole

SCORES = "scores.csv"
"""What a pack says to people: a line for each score."""
_DIGITS = 16
"""Of the SHA-256 that stands for a text."""
_IS_DIGEST = re.compile(f"[0-9a-f]{{{_DIGITS}}}")

Question = tuple[object, ...]
_Kind = TypeVar("_Kind", bound=AnyRecord)


@dataclass(frozen=True)
class Packed:
    """What is in a pack."""

    records: tuple[AnyRecord, ...]
    bytes: int


def asked(settings: Mapping[str, Any]) -> Question:
    """What the settings of a record say of the question, beside model, arm and task; what is not set is None."""
    return tuple(map(settings.get, ("seed", "calibration", "num_fewshot", "chat_template", "part", "threads")))


def question(record: AnyRecord) -> Question:
    """What is the same for two records of one question to one model, whichever code and machine answered it."""
    if isinstance(record, ArmRecord):
        return type(record), record.weights, record.arm, record.task, *asked(record.settings)
    if isinstance(record, FloorRecord):
        return type(record), record.task, record.items
    if isinstance(record, SeriesRecord):
        return type(record), record.model, record.machine, tuple(record.series.arms), record.series.workload.name
    return type(record), record.cell


def pack(store: Path, out: Path, models: str) -> Packed:
    """Copies records of models whose names match `models` from `store` into the pack `out`, which it makes or mends.

    Prompts are left out, texts become their SHA-256, log-likelihoods of choices are left out; when claims were declared
    first is kept. Of several records of one question, the latest is kept; what the pack held stays, where nothing later
    takes its place.

    Raises:
        StoreError: there is no record of such a model, `out` is something else, or a folder cannot be used.
    """
    known = list(_read(out)) if _is_pack(out) else []
    found = {question(each): each for each in sorted([*known, *_read(store)], key=lambda each: each.created)}
    answered = [each for each in found.values() if isinstance(each, ArmRecord) and fnmatchcase(each.model, models)]
    if not answered:
        msg = (
            f"{store} has no record of a model called {models}; `glu-prune store ls --store {store}` shows what it has"
        )
        raise StoreError(msg)
    keys, items = {each.key for each in answered}, dict[str, set[str]]()
    for record in answered:
        items.setdefault(record.task, set()).update(record.items)
    chosen = [
        *map(_without_outputs, answered),
        *(_without_questions(each) for each in _of(FloorRecord, found) if items.get(each.task, set()) & {*each.items}),
        *(each for each in _of(CostRecord, found) if each.cell in keys),
        *(each for each in _of(SeriesRecord, found) if fnmatchcase(each.model, models)),
    ]
    kept, target = {each.key for each in chosen}, Store(out)
    held = {each.key: each for each in known}
    for each in chosen:
        if held.get(each.key) != each:  # a file that says the same may be of other bytes, which a repository would keep
            target.put(each)
    for each in known:
        if each.key not in kept:
            target.path(each.key, type(each)).unlink()
    target.declare_as(Store(store))
    write_whole(out / SCORES, _scores(each for each in chosen if isinstance(each, Record)).encode())
    return Packed(tuple(chosen), sum(path.stat().st_size for path in out.rglob("*") if path.is_file()))


def _is_pack(out: Path) -> bool:
    """Whether `out` is a pack, and not a new folder; raises `StoreError` if it is neither, such as a store of runs."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return False
    if not (out / SCORES).is_file():
        msg = f"{out} is no pack, as it has no {SCORES}, and is left as it is; name a new folder"
        raise StoreError(msg)
    return True


def _of(kind: type[_Kind], found: dict[Question, AnyRecord]) -> Iterator[_Kind]:
    return (each for each in found.values() if isinstance(each, kind))


def _read(store: Path) -> Iterator[AnyRecord]:
    try:
        yield from records(store)
    except CorruptError as error:
        msg = f"{error}; `glu-prune store verify` names all that is damaged"
        raise CorruptError(msg) from error


def _without_outputs(record: ArmRecord) -> Any:
    if not isinstance(record, Record):
        return record
    if all(map(_IS_DIGEST.fullmatch, record.outputs)):  # of a pack: its texts are gone already
        return record
    texts = (hashlib.sha256(text.encode()).hexdigest()[:_DIGITS] if record.lengths else "" for text in record.outputs)
    return record.model_copy(update={"outputs": tuple(texts)})


def _without_questions(record: FloorRecord) -> FloorRecord:
    return record.model_copy(update={"questions": (), "targets": ()})


def _scores(chosen: Iterable[Record]) -> str:
    """CSV, sorted."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("model", "chat", "arm", "seed", "task", "metric", "score", "items", "machine", "created"))
    writer.writerows(
        sorted(
            (
                each.model,
                int(each.settings.get("chat_template", False)),
                each.arm,
                each.settings.get("seed", 0),
                each.task,
                metric,
                repr(found.score),
                len(each.items),
                each.machine,
                each.created,
            )
            for each in chosen
            for metric, found in each.metrics.items()
        )
    )
    return stream.getvalue()
