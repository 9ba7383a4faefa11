"""Running cases in this process, and judging them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.judgement.case import Case
from glu_prune.judgement.conclusion import conclude
from glu_prune.judgement.kinds.choice import ChoiceCase
from glu_prune.results.report import Report

if TYPE_CHECKING:
    from glu_prune.experiment.cell import Settings
    from glu_prune.progress.work import Work

STORE = Path(".glu-prune")
"""Where records are kept unless another folder is named: beside those of sessions."""


@dataclass(frozen=True)
class Told:
    """Who is told how far it is; nobody unless said otherwise."""

    work: "Work | None" = None
    say: Callable[[str], None] = lambda _: None


NOBODY = Told()


def run(
    cases: Sequence[Case],
    settings: "Settings",
    store: Path = STORE,
    limit: int | None = None,
    told: Told = NOBODY,
) -> Report:
    """What `cases` come to; runs what the store lacks.

    Args:
        cases: About models that are here.
        settings: How these are run.
        store: The folder of records.
        limit: At most so many items of each task, drawn once.
        told: Who is told how far it is.

    Raises:
        GluPruneError: something is missing, or a case cannot be judged.
    """
    from glu_prune.efficiency.effort import Effort
    from glu_prune.efficiency.meter import Meter, NoMeter
    from glu_prune.efficiency.tracking import CodeCarbonMeter
    from glu_prune.experiment.executors.local import local_engine
    from glu_prune.experiment.store import Store
    from glu_prune.readiness.check import Run
    from glu_prune.readiness.preflight import refuse_obstacles
    from glu_prune.readiness.requirements import requirements
    from glu_prune.sources.judged import decided
    from glu_prune.sources.runs import Extent, RunSource

    effort = Effort()
    measures = any(case.measures for case in cases)
    meter: Meter = CodeCarbonMeter(effort.grid) if measures else NoMeter("not measured: `glu-prune measure` does")
    engine = local_engine(Store(store), meter, told.say, told.work)
    source = RunSource(engine, settings, effort, Extent(limit=limit))
    if to_run := source.preflight(cases):
        refuse_obstacles(Run(requirements(to_run), settings, store))
        source.run(case for case in to_run if not isinstance(case, ChoiceCase))
    tables, ended, _ = decided(source, cases)
    return conclude(tables, ended)
