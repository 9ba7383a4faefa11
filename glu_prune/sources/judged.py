"""What records that are there, or published figures, say of the claims of expectation files: no run, no model."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glu_prune.clean import one_line
from glu_prune.errors import ExpectationError, NotMeasuredError, ReportError, StoreError
from glu_prune.experiment.marker import MARKER
from glu_prune.experiment.shared import folder_of, is_address
from glu_prune.judgement.case import Case
from glu_prune.judgement.conclusion import conclude
from glu_prune.judgement.expectation import files, read, told_apart
from glu_prune.results.baselines import BaselineResult
from glu_prune.results.changes import ItemChanges
from glu_prune.results.report import CaseHead, CaseOutcome, CaseResult, CaseTables, Report
from glu_prune.sources.changes import changes
from glu_prune.sources.provenance import provenance
from glu_prune.sources.written import is_written, read_report

if TYPE_CHECKING:
    from glu_prune.judgement.sources import Source

RUNS, PUBLISHED = "runs", "published"
"""What is judged, where it is neither a store nor a pack."""


@dataclass(frozen=True)
class Judged:
    """What claims come to."""

    report: Report
    source: "Source | None" = None
    """What they were judged by; None of a report that was only read."""
    cases: Sequence[Case] = ()
    """Those that were judged."""
    folder: Path | None = None
    """The records; None of published figures."""

    @property
    def changes(self) -> list[ItemChanges]:
        """What changed item by item; nothing where that is not known."""
        return changes(self.source, self.cases) if self.source else []

    @property
    def facts(self) -> list[tuple[str, str]]:
        """(what, which) of where records come from; nothing of published figures."""
        return provenance(self.folder, (case.experiment.model for case in self.cases)) if self.folder else []


def named_store(name: str, expectations: Path, here: Path) -> Path:
    """The folder of records of that name: a pack beside the files in `expectations`, or a folder seen from `here`.

    Raises:
        StoreError: there is none.
    """
    if is_address(name):
        return folder_of(name)
    beside = (expectations if expectations.is_dir() else expectations.parent) / "evidence"
    for folder in (beside / name, here / name):
        if (folder / MARKER).is_file():
            return folder
    known = ", ".join(sorted(each.parent.name for each in beside.glob(f"*/{MARKER}")))
    msg = f"{name!r} is neither {PUBLISHED}, a pack in {beside} (there: {known or 'none'}), nor a folder of records"
    raise StoreError(msg)


def published_cases(place: Path, cases: Sequence[Case]) -> list[Case]:
    """Cases about which figures have been published.

    Raises:
        ExpectationError: there are none.
    """
    found = [case for case in cases if case.experiment.evidence is not None]
    if not found:
        models = ", ".join(dict.fromkeys(case.experiment.model for case in cases))
        msg = f"no expectation file in {place} about {models} names published figures; give it `evidence: FOLDER`"
        raise ExpectationError(msg)
    return found


def packed_cases(place: Path, cases: Sequence[Case], models: Collection[str]) -> list[Case]:
    """Cases that records of `models` can judge.

    Raises:
        ExpectationError: there are none.
    """
    found = [case for case in cases if case.ABOUT_RUNS and case.experiment.model in models]
    if not found:
        msg = f"no expectation file in {place} is about {', '.join(sorted(models))}, of which the evidence is"
        raise ExpectationError(msg)
    return found


def opened(name: str, expectations: Path, here: Path, against: Path | None = None) -> Judged:
    """What `name` says: a report that was written, or what `judged` finds; and what changed since `against`.

    Raises:
        GluPruneError: there is no such thing, it cannot be read, or it has nothing that can be compared.
    """
    from glu_prune.baseline.file import is_baseline

    place = Path(name)
    if is_baseline(place):
        if against is None:
            msg = (
                f"{name} is a baseline, which has scores and no claims; with --against BEFORE a page shows what changed"
            )
            raise ReportError(msg)
        return Judged(Report(baseline=_changes(against, place)))
    found = Judged(read_report(place)) if is_written(place) else judged(name, expectations, here)
    if against is None:
        return found
    if found.folder is None:
        msg = f"{name} has no records that could be held against {against}; name the store that they are in"
        raise ReportError(msg)
    report = found.report.model_copy(update={"baseline": _changes(against, found.folder)})
    return replace(found, report=report)


def _changes(before: Path, after: Path) -> tuple[BaselineResult, ...]:
    from glu_prune.baseline.sources import compared

    return tuple(each.result(each.about.subject, str(before)) for each in compared(before, after))


def judged(name: str, expectations: Path, here: Path) -> Judged:
    """What a session finds that judges `name`: published figures, a pack, or a store.

    Raises:
        GluPruneError: there is no such evidence, or no claim is about it.
    """
    cases = told_apart([case for file in files(expectations) for case in read(_seen(file, here))])
    folder = None if name == PUBLISHED else named_store(name, expectations, here)
    source, mine = _source(folder, expectations, cases)
    tables, ended, found = decided(source, mine)
    return Judged(conclude(tables, ended), source, found, folder)


def decided(source: "Source", cases: Iterable[Case]) -> tuple[list[CaseTables], list[CaseOutcome], list[Case]]:
    """What each of `cases` came to, how it ended, and which of them were judged: all but what was not measured.

    Raises:
        GluPruneError: one cannot be judged.
    """
    tables, ended, judged = [], [], []
    for case in cases:
        try:
            found = case.judge(source)
        except NotMeasuredError as error:
            ended.append(_ended(case, "skipped", f"{case.where}: {error}"))
        else:
            tables.append(found.tables)
            judged.append(case)
            ended.append(_ended(case, *_result(case, found)))
    return tables, ended, judged


def _seen(file: Path, here: Path) -> Path:
    return file.relative_to(here) if here == Path.cwd() and file.is_relative_to(here) else file


def _source(folder: Path | None, expectations: Path, cases: Sequence[Case]) -> "tuple[Source, list[Case]]":
    """What judges, and which of `cases`: records in a folder, or published figures."""
    if folder is None:
        from glu_prune.sources.published import PublishedSource

        published, mine = PublishedSource(), published_cases(expectations, cases)
        published.preflight(mine)
        return published, mine
    from glu_prune.sources.packed import PackedSource

    pack = PackedSource(folder)
    return pack, packed_cases(expectations, cases, pack.models)


def _result(case: Case, found: CaseResult) -> tuple[str, str]:
    if found.outcome == case.declared:
        return "passed", ""
    message = f"{case.where}: declared {case.declared}, found {found.sentence}"
    return ("inconclusive" if found.outcome == "inconclusive" else "failed"), message


def _ended(case: Case, result: str, message: str) -> CaseOutcome:
    head = head_of(case)
    return CaseOutcome.model_validate({**dict(head), "result": result, "message": one_line(message)})


def head_of(case: Case) -> CaseHead:
    """What is known of a case before it is judged."""
    return CaseHead(case=case.id, model=case.subject, file=case.file, line=case.line, declared=case.declared)


def merged(reports: Iterable[tuple[str, Report]]) -> Report:
    """Reports by their names as one; what two of them say of one model is told apart by the names."""
    every = list(reports)
    if len(every) == 1:
        return every[0][1]
    whose = [{row.model for row in _rows(report)} for _, report in every]
    tables: dict[str, list[Any]] = {}
    for (name, report), mine in zip(every, whose, strict=True):
        shared = {model for model in mine if sum(model in others for others in whose) > 1}
        for field in Report.model_fields:
            rows = getattr(report, field)
            if isinstance(rows, tuple):
                tables.setdefault(field, []).extend(_renamed(rows, shared, name))
    return Report().model_copy(update={field: tuple(rows) for field, rows in tables.items()})


def _rows(report: Report) -> Iterator[Any]:
    for field in Report.model_fields:
        rows = getattr(report, field)
        if isinstance(rows, tuple):
            yield from rows


def _renamed(rows: Iterable[Any], shared: Collection[str], name: str) -> Iterator[Any]:
    for row in rows:
        yield row.model_copy(update={"model": f"{row.model} ({name})"}) if row.model in shared else row
