"""What models cost on one machine: typed and versioned."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from glu_prune.efficiency.meter import Reading
from glu_prune.efficiency.series import Series
from glu_prune.experiment.record import Strict
from glu_prune.units import Joules

if TYPE_CHECKING:
    from glu_prune.efficiency.meter import Window
    from glu_prune.evaluation.result import TaskResult


class Cost(Strict):
    """What answering the questions of a cell cost: what the model did, and nothing else.

    Loading, pruning, building and planning requests, which are done once for all arms, would be charged to the first of
    them, and scoring answers is not the model's work: they are not part of it.

    Of tasks that are answered together, each has its share by requests, so that sums over cells are what was spent.
    """

    seconds: float
    """Wall time."""
    energy: Mapping[str, Reading]
    """Channel to reading; a channel that is absent was not measured."""
    note: str = ""
    """Why channels are absent, and with what the cell was answered together."""
    other_load: float | None = None
    """Share of the machine's processors that other processes used meanwhile; None if a backend answered."""


class CostRecord(Strict):
    """The cost of one cell on one machine."""

    kind: Literal["CostRecord"] = "CostRecord"
    schema_version: Literal[1] = 1
    key: str
    cell: str
    """The key of its cell, under which its scores are kept."""
    model: str
    arm: str
    task: str
    versions: Mapping[str, str]
    machine: str
    created: str
    """UTC, ISO 8601."""
    code: str = ""
    """Fingerprint of the code that scored and metered; empty if it is not of a cell."""
    cost: Cost


class SeriesRecord(Strict):
    """What measuring one workload on several arms gave."""

    kind: Literal["SeriesRecord"] = "SeriesRecord"
    schema_version: Literal[4] = 4
    key: str
    model: str
    settings: Mapping[str, str | int]
    versions: Mapping[str, str]
    machine: str
    created: str
    """UTC, ISO 8601."""
    code: str = ""
    """Fingerprint of the code that measured it; empty if it is not of a cell."""
    series: Series

    @model_validator(mode="after")
    def _counts_agree(self) -> "SeriesRecord":
        if len({len(arm.turns) for arm in self.series.arms.values()}) != 1:
            msg = "every arm must have had as many turns"
            raise ValueError(msg)
        return self


def shared_costs(window: "Window", results: Mapping[str, "TaskResult"]) -> dict[str, Cost]:
    """What each of the tasks that were answered in one `window` cost: its share by requests."""
    total = sum(result.requests for result in results.values())
    return {
        task: Cost(
            seconds=window.seconds * result.requests / total,
            energy={
                channel: Reading(Joules(reading.joules * result.requests / total), reading.method)
                for channel, reading in window.readings.items()
            },
            other_load=window.other_load,
            note="; ".join(filter(None, (window.note, _shared_with([other for other in results if other != task])))),
        )
        for task, result in results.items()
    }


def _shared_with(tasks: Sequence[str]) -> str:
    return f"scored together with {', '.join(tasks)}: its share by requests" if tasks else ""
