"""Measuring what models cost, dense and pruned in turns."""

import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.api.running import NOBODY, Told
from glu_prune.errors import PlanError
from glu_prune.notebook import Results
from glu_prune.results.report import Report

if TYPE_CHECKING:
    from glu_prune.efficiency.effort import Effort
    from glu_prune.efficiency.series import Series
    from glu_prune.efficiency.workload import Workload
    from glu_prune.experiment.cell import Arm, Settings
    from glu_prune.models.source import ModelSource


def measure(
    model: str,
    ratios: Sequence[float | str] = (),
    *,
    criterion: str = "ppm",
    seed: int = 0,
    prompt_tokens: int = 64,
    new_tokens: int = 32,
    batch_sizes: Sequence[int] = (1, 8),
    rounds: int = 8,
    window: float | None = None,
    processes: int = 4,
    grid: str = "USA",
    store: str | Path | None = None,
    settings: "Settings | None" = None,
) -> Results:
    """Time, energy and memory of `model`, dense and at each ratio in turns: the tables `efficiency` and `energy`.

    Args:
        model: A name, a folder, a GGUF file or an id.
        ratios: Fractions of neurons that are removed.
        criterion: By which they are chosen; one that looks at weights alone.
        seed: Of a criterion that draws.
        prompt_tokens: Of each prompt.
        new_tokens: Of each answer, which is of that length whatever the model would say.
        batch_sizes: Prompts at once; a workload for each.
        rounds: Turns of every arm.
        window: Least length of a measurement in seconds; what the energy counters here need unless said otherwise.
        processes: Fresh processes for each arm and workload, for peak memory; 0 for none.
        grid: ISO 3166 alpha-3 code of the country whose CO2 per kWh is assumed.
        store: A folder, or the address of a store elsewhere, that keeps finished workloads; none are kept unless it is
            named.
        settings: How models are run; on this CPU in float32 unless said otherwise.

    Raises:
        GluPruneError: something is missing, not allowed, or cannot be measured.
    """
    from glu_prune.efficiency.effort import Effort
    from glu_prune.efficiency.workload import drawn
    from glu_prune.experiment.cell import Settings
    from glu_prune.experiment.shared import placed
    from glu_prune.models.source import locate

    source = locate(model)
    arms = arms_of(criterion, seed, [str(ratio) for ratio in ratios])
    workloads = [drawn(prompt_tokens, new_tokens, size) for size in dict.fromkeys(batch_sizes)]
    effort = Effort(rounds, window, processes, grid)
    kept = None if store is None else placed(store)
    return Results(measured(source, arms, workloads, settings or Settings(), effort, kept).report)


@dataclass(frozen=True)
class Measured:
    """A series for each workload, and how models were run for them."""

    source: "ModelSource"
    arms: "tuple[Arm, ...]"
    series: "list[Series]"
    settings: "Settings"

    @property
    def report(self) -> Report:
        """The tables of all arms."""
        from glu_prune.judgement.conclusion import conclude
        from glu_prune.judgement.cost_runs import findings
        from glu_prune.judgement.cost_tables import cost_tables

        name = self.source.name
        about = [(name, arm.ratio, self.series, arm.label) for arm in self.arms[1:] or self.arms]
        return conclude([cost_tables(*each, findings(*each)) for each in about])


def arms_of(name: str, seed: int, ratios: Sequence[str]) -> "tuple[Arm, ...]":
    """The dense model, and it pruned at each of `ratios`.

    Raises:
        PlanError: there is no such criterion or ratio, or the criterion looks at activations.
    """
    from glu_prune.experiment.cell import DENSE, Arm
    from glu_prune.pruning.criteria import criterion
    from glu_prune.pruning.ratio import parse_ratio

    how = criterion(name)
    if how.looks_at == "activations":
        msg = f"criterion {how.name} needs calibration text; cost does not depend on which neurons go, so take another"
        raise PlanError(msg)
    pruned = [Arm(how.name, parse_ratio(text), seed) for text in ratios]
    return tuple(dict.fromkeys((DENSE, *(arm for arm in pruned if arm.ratio))))


def measured(
    source: "ModelSource",
    arms: "tuple[Arm, ...]",
    workloads: "Sequence[Workload]",
    settings: "Settings",
    effort: "Effort",
    store: Path | None,
    told: Told = NOBODY,
) -> Measured:
    """A series for each of `workloads`, all checked before the first is measured.

    Raises:
        GluPruneError: one is not allowed, or cannot be measured.
    """
    from glu_prune.efficiency.benchmark import refuse_too_long
    from glu_prune.efficiency.tracking import CodeCarbonMeter
    from glu_prune.experiment.cell import SeriesCell
    from glu_prune.experiment.executors.local import local_engine
    from glu_prune.experiment.scratch import scratch
    from glu_prune.experiment.store import Store

    with scratch(Path(tempfile.gettempdir())) if store is None else nullcontext(store) as folder:
        engine = local_engine(Store(folder), CodeCarbonMeter(effort.grid), told.say, told.work)
        settings = engine.settled(settings, source)
        cells = [SeriesCell(source, arms, each, settings, effort) for each in workloads]
        for cell in filter(engine.check, cells):
            refuse_too_long(source.name, source.format.read_config(source.folder), cell.workload)
        return Measured(source, arms, [engine.series(cell).series for cell in cells], settings)
