"""Jobs: cells that are worth running in one place, one after the other, as JSON."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from glu_prune.efficiency.effort import Effort
from glu_prune.efficiency.workload import Workload
from glu_prune.evaluation.subset import Subset
from glu_prune.experiment.cell import DENSE, AnyCell, Arm, Cell, DistanceCell, FloorCell, SeriesCell
from glu_prune.models.source import ModelSource
from glu_prune.pruning.ratio import Ratio
from glu_prune.pruning.target import Target


@dataclass(frozen=True)
class Job:
    """Cells of one model, settings and task, the arms in an order in which each is cut from the one before."""

    cells: tuple[Cell, ...] = ()
    floors: FloorCell | None = None
    series: SeriesCell | None = None
    distance: DistanceCell | None = None

    @property
    def answers(self) -> tuple[AnyCell, ...]:
        """All cells whose records it gives: its own, and those that are answered together with them."""
        together = (each for cell in self.cells for each in cell.together)
        return (*together, *(each for each in (self.floors, self.series, self.distance) if each))

    @property
    def key(self) -> str:
        """One of the keys of what is answered together: that under which all of it is locked, and drafted."""
        return min(each.key for each in self.answers)

    def to_json(self) -> str:
        """With all that an executor elsewhere has to know, but for weights and data, which keys identify."""
        return _JOB.dump_json(self).decode()

    @classmethod
    def from_json(cls, text: str) -> "Job":
        """The inverse.

        Raises:
            ValueError: it is none.
        """
        return _JOB.validate_json(text)


_JOB = TypeAdapter(Job)
_JOB.rebuild(  # `cell` imports these for type checkers only, as whatever it imports is code that scores depend on
    _types_namespace={each.__name__: each for each in (Effort, Workload, Subset, ModelSource, Target)}
)


def job(cell: AnyCell) -> Job:
    """Of a cell alone."""
    if isinstance(cell, Cell):
        return Job(cells=(cell,))
    if isinstance(cell, DistanceCell):
        return Job(distance=cell)
    return Job(floors=cell) if isinstance(cell, FloorCell) else Job(series=cell)


def jobs(cells: Iterable[AnyCell]) -> Iterator[Job]:
    """As few jobs as cells fall into, without those that are answered together with another."""
    alike: dict[object, dict[object, Cell]] = {}
    for cell in cells:
        if isinstance(cell, Cell):
            alike.setdefault((cell.tasks, replace(cell, arm=DENSE, task="")), {}).setdefault(cell.arm, cell)
        else:
            yield job(cell)
    for arms in alike.values():
        yield Job(cells=tuple(sorted(arms.values(), key=lambda each: _nested(each.arm))))


def _nested(arm: Arm) -> tuple[str, int, Ratio]:
    """Dense first; of each criterion, ratios as they grow, so that no copy of the model is made twice."""
    return arm.criterion or "", arm.seed, arm.ratio
