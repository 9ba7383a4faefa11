"""What a session does about baselines: it compares its cells with one, pins them as one, or both."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from glu_prune.baseline.compare import FAIL_ON, compare, of_many, refuse_unknown
from glu_prune.baseline.file import Baseline, Environment, load, path_of, save
from glu_prune.baseline.names import Names
from glu_prune.baseline.outcome import About, Outcome, band, keys_of, outcome
from glu_prune.errors import BaselineError
from glu_prune.evaluation.capability import Capability
from glu_prune.experiment.cell import Arm, Cell
from glu_prune.experiment.record import Record
from glu_prune.experiment.record_source import RecordSource
from glu_prune.experiment.store import Store
from glu_prune.judgement.case import Case
from glu_prune.judgement.scores import PairedScores
from glu_prune.results.baselines import BaselineResult, Pin, PinnedCapability
from glu_prune.results.report import CaseTables, Tables


@dataclass(frozen=True)
class Gate:
    """Names of baselines in a folder."""

    folder: Path
    against: str | None = None
    """The baseline that cells are compared with; None for none."""
    save_as: str | None = None
    """The name under which cells are pinned whatever there is; None for none."""
    allowed: tuple[str, ...] = ()
    """Models, arms, capabilities and tasks of which what is pinned may be missing."""

    def __post_init__(self) -> None:
        """Raises `BaselineError` for what is no name of a baseline."""
        for name in filter(None, (self.against, self.save_as)):
            path_of(self.folder, name)

    @cached_property
    def baseline(self) -> Baseline | None:
        """What cells are compared with; None if there is no such baseline yet.

        Raises:
            BaselineError: it is there, but cannot be trusted.
        """
        path = path_of(self.folder, self.against) if self.against else None
        return load(path) if path and path.exists() else None

    @property
    def pins(self) -> str | None:
        """The name under which cells are pinned: also that of a baseline to compare with, while there is none."""
        return self.save_as or (self.against if self.baseline is None else None)

    @property
    def replaces(self) -> bool:
        """Whether the baseline that cells are compared with is to be pinned anew."""
        return self.baseline is not None and self.save_as == self.against

    def compared(
        self,
        engine: RecordSource,
        case: Case,
        scores: PairedScores,
        cells: Mapping[Arm, Cell],
        records: Sequence[Record],
    ) -> CaseTables:
        """What is found about the cells of one capability of `case`, and what it takes to pin them.

        Of `cells`, the first is the one that others are compared with.
        """
        capability = scores.capability
        floor = scores.null
        against: tuple[BaselineResult, ...] = ()
        found: tuple[int, ...] = ()
        if self.against and self.baseline:
            model = self._names.one(case.experiment.model)
            now = [outcome(record, model, capability, floor) for record in records]
            pairs = [(self.baseline.find(each), each) for each in now]
            found = tuple(self.baseline.outcomes.index(old) for old, _ in pairs if old)
            margin = case.experiment.baseline_margins.get(capability.name, 0.0)
            family = of_many(sum(each.about.model == model for each in self.baseline.outcomes))
            compared = compare(pairs, margin, family)
            against = tuple(each.result(case.subject, self._title) for each in compared)
        pins = tuple(self._pins(engine, case.experiment.model, capability, floor, cells))
        return CaseTables(baseline=against, pinned=found, pins=pins)

    @property
    def _names(self) -> Names:
        return Names.beside(self.folder)

    @property
    def _title(self) -> str:
        return f"baseline {self.against}"

    def unselected(self, left_out: Iterable[Case], selected: Iterable[Case]) -> frozenset[int]:
        """The places in the baseline of what only cases that were left out of the session would find."""
        if self.baseline is None:
            return frozenset()
        every = [
            {key for case in cases for key in keys_of(case, self._names.one(case.experiment.model))}
            for cases in (left_out, selected)
        ]
        return self.baseline.places(every[0] - every[1])

    def missing(self, accounted: Collection[int]) -> tuple[BaselineResult, ...]:
        """What is pinned at none of the places `accounted`, unless it may be missing."""
        if self.baseline is None:
            return ()
        gone = (each for place, each in enumerate(self.baseline.outcomes) if place not in accounted)
        kept = (each for each in gone if not any(self._is_called(each.about, name) for name in self.allowed))
        return tuple(each.result(each.about.subject, self._title) for each in compare((each, None) for each in kept))

    def refuse_unknown(self) -> None:
        """Raises `BaselineError` for a name that may be missing, of which nothing is pinned."""
        if self.baseline is not None:
            refuse_unknown([each.about for each in self.baseline.outcomes], self.allowed, self._is_called)

    def _is_called(self, about: About, name: str) -> bool:
        return name in about.called or self._names.one(name) == about.model

    def _pins(
        self,
        engine: RecordSource,
        model: str,
        capability: Capability,
        floor: tuple[str, float] | None,
        cells: Mapping[Arm, Cell],
    ) -> Iterator[Pin]:
        """What it takes to pin `cells`: also a second answer of the first of them, for the noise band."""
        if not self.pins:
            return
        first = next(iter(cells.values()))
        second = replicate(first)
        engine.record(second)
        needed = PinnedCapability(**{name: getattr(capability, name) for name in PinnedCapability.model_fields})
        for arm, cell in cells.items():
            keys = {"key": cell.key, "dense": first.key, "replicate": second.key}
            called = arm.label if arm.checkpoint else ""
            yield Pin(model=self._names.write(model), **keys, arm=called, capability=needed, floor=floor)

    def refuse_missing(self) -> None:
        """Raises `BaselineError` if there is no baseline to compare with."""
        if self.against and self.baseline is None:
            msg = (
                f"there is no baseline {self.against!r} in {self.folder}; a run without --glu-strict pins it, in two "
                "files to commit"
            )
            raise BaselineError(msg)

    def pin(self, store: Store, pins: Sequence[Pin]) -> str:
        """Writes the baseline of the cells that `pins` are about, in place of what it held; a line about it.

        Raises:
            BaselineError: it cannot be written, or there is nothing to write.
            StoreError: a record cannot be trusted.
        """
        assert self.pins
        if not pins and not self.save_as:
            return f"baseline {self.pins}: there is none yet, and nothing was measured that could be pinned"
        get = lru_cache(maxsize=None)(lambda key: _record(store, key))
        every: dict[object, Outcome] = {}
        for pin in pins:
            each = _pinned(get, pin)
            first = every.setdefault((each.about.key, tuple(sorted(each.about.comparable.items()))), each)
            if (first.items, first.values) != (each.items, each.values):
                msg = (
                    f"{each.about.name} was measured twice, with other answers (records {str(first.about.record)[:12]} "
                    f"and {str(each.about.record)[:12]}, of two revisions?); pin one of them, selected by -k"
                )
                raise BaselineError(msg)
        machines = sorted({get(pin.key).machine for pin in pins})
        versions = {name: each for pin in pins for name, each in get(pin.key).versions.items()}
        path = path_of(self.folder, self.pins)
        count = save(path, Environment(machine="; ".join(machines), versions=versions), every.values())
        new = "" if self.save_as else "there was none yet, so nothing was compared; "
        return f"baseline {self.pins}: {new}{count} outcomes pinned in {path}"


def failures(tables: Tables, *, strict: bool) -> str:
    """What a case fails for: its regressions, and with `strict` what could not be compared; empty if there is none."""
    fatal = FAIL_ON["incomparable" if strict else "regressed"]
    found = [row for row in tables.baseline if row.outcome in fatal]
    return f"against {found[0].against}: {' | '.join(row.sentence for row in found)}" if found else ""


def replicate(cell: Cell) -> Cell:
    """The same questions, answered in batches of another size by another number of threads."""
    import torch

    size = cell.settings.batch_size
    other = size // 4 + 1 if size > 1 else 4
    threads = 1 if torch.get_num_threads() > 1 else 2
    return replace(cell, settings=replace(cell.settings, batch_size=other, threads=threads))


def _record(store: Store, key: str) -> Record:
    if (record := store.get(key, Record)) is None:
        msg = f"the record of {key[:12]} is gone from {store.folder}, so it cannot be pinned; run again"
        raise BaselineError(msg)
    return record


def _pinned(get: Callable[[str], Record], pin: Pin) -> Outcome:
    """The outcome that `pin` is about, with the noise band of its task."""
    capability = Capability(**dict(pin.capability), measures="")
    noise = band(get(pin.dense), get(pin.replicate), capability.metric)
    record = get(pin.key)
    named = record.model_copy(update={"arm": pin.arm}) if pin.arm else record
    return outcome(named, pin.model, capability, pin.floor, noise)
