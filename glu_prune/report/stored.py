"""What a store holds, in words: the commands of `glu-prune store`."""

import io
import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.errors import CorruptError, StoreError
from glu_prune.experiment.cost_record import CostRecord, SeriesRecord
from glu_prune.experiment.distance_record import DistanceRecord
from glu_prune.experiment.entry import Entry
from glu_prune.experiment.maintenance import Removal, check, entries, find, removals, remove
from glu_prune.experiment.marker import mark
from glu_prune.experiment.packing import pack
from glu_prune.experiment.parquet import tables
from glu_prune.experiment.record import FloorRecord, Record
from glu_prune.experiment.store import Store
from glu_prune.files import write_whole
from glu_prune.report.table import Column, render
from glu_prune.units import size_of

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = 12
"""Characters of a key that are shown."""
_COLUMNS = tuple(
    Column(name, itemgetter(name), key=name == "key")
    for name in ("key", "model", "arm", "task", "items", "scores", "created", "bytes")
)


def listed(folder: Path, model: str = "*", task: str = "*") -> str:
    """A table of all cells, or of those whose model and task match patterns."""
    rows = [_row(entry) for entry in entries(folder)]
    chosen = [row for row in rows if fnmatchcase(row["model"], model) and fnmatchcase(row["task"], task)]
    cells = sum(row["cell"] for row in chosen)
    return f"{render(_COLUMNS, chosen, 'simple')}\n{cells} cells, {size_of(sum(row['size'] for row in chosen))}"


def shown(folder: Path, prefix: str) -> str:
    """What one record says beside its items."""
    entry = find(folder, prefix)
    if entry.problem:
        msg = f"{entry.path}: {entry.problem}"
        raise CorruptError(msg)
    head = {name: value for name, value in entry.head.items() if name != "series"}
    return f"{entry.path}\n{json.dumps({**head, 'items': entry.items}, indent=1, ensure_ascii=False)}"


def verified(folder: Path) -> tuple[str, bool]:
    """Names every record that cannot be trusted; and whether there is none."""
    every = entries(folder)
    bad = [f"{entry.path}: {why}" for entry in every if (why := check(folder, entry))]
    return "\n".join([*bad, f"{len(every) - len(bad)} of {len(every)} records are sound"]), not bad


def collected(folder: Path, *, dry_run: bool) -> tuple[str, bool]:
    """Removes what is of no use, and names all of it; with `dry_run`, only names it; and whether nothing resisted.

    Raises:
        StoreError: there is no store, or it cannot be read.
    """
    try:
        found = list(removals(folder))
        if not dry_run:
            mark(folder)
    except OSError as error:
        msg = f"the store {folder} cannot be cleaned: {error}"
        raise StoreError(msg) from error
    gone, resisted = (found, []) if dry_run else _removed(found)
    left = [each for each in entries(folder) if _is_cell(each) and not (dry_run and each.useless)]
    unread = [f"stays, as it cannot be read: {each.path}: {each.problem}" for each in left if each.problem]
    done = "would be removed" if dry_run else "removed"
    total = f"{done}: {len(gone)} files, {size_of(sum(each.bytes for each in gone))}; {len(left)} cells stay"
    return "\n".join([*_by_reason(gone), *resisted, *unread, total]), not resisted


def _removed(found: Iterable[Removal]) -> tuple[list[Removal], list[str]]:
    """Removes all of `found` that can be removed; and a line for each that cannot."""
    gone, resisted = [], []
    for each in found:
        try:
            if remove(each):
                gone.append(each)
        except OSError as error:
            resisted.append(f"stays, as it cannot be removed: {each.path}: {error.strerror}")
    return gone, resisted


def exported(folder: Path, out: Path) -> tuple[str, bool]:
    """Writes all items of all cells to one file, Parquet or CSV; and whether no record had to be left out.

    Raises:
        StoreError: there is nothing to export, or `out` cannot be written.
    """
    if out.suffix not in (".parquet", ".csv"):
        msg = f"{out} ends neither in .parquet nor in .csv; name a file that does"
        raise StoreError(msg)
    if out.exists():
        msg = f"{out} is there already and is not overwritten; name another file, or remove it"
        raise StoreError(msg)
    found: list[pa.Table] = []
    left_out = []
    every = [entry for entry in entries(folder) if entry.problem or entry.kind in (Record, DistanceRecord, FloorRecord)]
    for entry in every:
        try:
            found += _tables(folder, entry)
        except StoreError as error:
            left_out.append(f"left out: {error}")
    if not found:
        msg = f"{folder} has no items that can be read; nothing was written"
        raise StoreError("\n".join([*left_out, msg]))
    rows = _write(found, out)
    return "\n".join([*left_out, f"{out}: {rows} rows of {len(every) - len(left_out)} cells"]), not left_out


def packed(folder: Path, out: Path, model: str) -> str:
    """Copies records of models whose names match a pattern into a pack; says what that holds then."""
    found = pack(folder, out, model)
    cells = sum(not isinstance(each, CostRecord) for each in found.records)
    return f"{out}: {cells} cells, {size_of(found.bytes)}"


def _tables(folder: Path, entry: Entry) -> Iterator["pa.Table"]:
    import pyarrow as pa

    if entry.problem:
        msg = f"{entry.path}: {entry.problem}"
        raise CorruptError(msg)
    kind: Any = entry.kind
    record = Store(folder).get(entry.key, kind)
    for whose, table in tables(record) if record else ():
        about = {name: pa.array([value] * len(table), pa.string()) for name, value in whose.items()}
        yield pa.table({**about, **dict(zip(table.column_names, table.columns, strict=True))})


def _write(found: "list[pa.Table]", out: Path) -> int:
    """Writes tables as one, whole or not at all; gives its rows."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    whole = pa.concat_tables(found, promote_options="default")
    stream = io.BytesIO()
    if out.suffix == ".csv":
        csv.write_csv(_flat(whole), stream)
    else:
        parquet.write_table(whole, stream, compression="zstd")
    try:
        write_whole(out, stream.getvalue())
    except OSError as error:
        msg = f"{out} cannot be written: {error}"
        raise StoreError(msg) from error
    return len(whole)


def _flat(table: "pa.Table") -> "pa.Table":
    """`table` with lists as JSON, which CSV has no other way for."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            texts = [None if each is None else json.dumps(each) for each in table.column(place).to_pylist()]
            table = table.set_column(place, field.name, pa.array(texts, pa.string()))
    return table


def _row(entry: Entry) -> dict[str, Any]:
    head = entry.head
    return {
        "key": entry.key[:_SHOWN],
        "model": str(head.get("model", "")),
        "arm": str(head.get("arm", "")) or ", ".join(head.get("series", {}).get("arms", ())),
        "task": str(head.get("task", "") or head.get("series", {}).get("workload", {}).get("name", "")),
        "items": "" if entry.items is None else entry.items,
        "scores": _scores(entry),
        "created": str(head.get("created", "")),
        "bytes": f"{entry.bytes:,}",
        "size": entry.bytes,
        "cell": _is_cell(entry),
    }


def _is_cell(entry: Entry) -> bool:
    """Whether it is what a cell gave, not what that cost."""
    return entry.kind is not CostRecord


def _scores(entry: Entry) -> str:
    if entry.problem:
        return f"cannot be read: {entry.problem}"
    if entry.kind is Record:
        return ", ".join(f"{name} {score:.3f}" for name, score in entry.head["metrics"].items())
    if entry.kind is DistanceRecord:
        return "divergence from the dense model"
    if entry.kind is FloorRecord:
        return f"floors of {len(entry.head['nulls'])} null models"
    if entry.kind is CostRecord:
        return f"cost of answering: {entry.head['cost']['seconds']:.1f} s"
    return "costs" if entry.kind is SeriesRecord else "of an earlier version"


def _by_reason(gone: Iterable[Removal]) -> Iterator[str]:
    """A line for each reason, and one below it for each of its files."""
    found: dict[str, list[Removal]] = {}
    for each in gone:
        found.setdefault(each.why, []).append(each)
    for why, some in found.items():
        yield f"{len(some)} {why}: {size_of(sum(each.bytes for each in some))}"
        yield from (f"  {each.path}  {each.about}".rstrip() for each in some)
