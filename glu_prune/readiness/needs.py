"""All that a run of expectation files needs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from glu_prune.experiment.cell import Settings
from glu_prune.readiness.asked import asked
from glu_prune.readiness.data import data
from glu_prune.readiness.host import host
from glu_prune.readiness.models import memory, model
from glu_prune.readiness.need import Need, table
from glu_prune.readiness.network import offline


@dataclass(frozen=True)
class Run:
    """A run that is meant to be."""

    files: Sequence[Path]
    settings: Settings = field(default_factory=Settings)
    store: Path = Path(".glu-prune")


def needs(run: Run) -> Iterator[Need]:
    """Everything that `run` needs, found without loading weights and without a connection.

    Raises:
        ExpectationError: a file is missing, no YAML, or says something that is not allowed.
    """
    wanted = asked(run.files)
    for each in wanted.models:
        yield model(each, answers=bool(wanted.tasks))
        if (room := memory(each, run.settings)) is not None:
            yield room
    yield from data(wanted.tasks)
    yield from host(wanted.models, run.settings, run.store)


def doctor(run: Run) -> tuple[str, bool]:
    """A table of what `run` needs, with a last line that sums it up, and whether all of it is ready.

    Raises:
        ExpectationError: as `needs`.
    """
    with offline():
        found = list(needs(run))
    lacking = [each.what for each in found if each.missing]
    said = f"missing: {', '.join(lacking)}" if lacking else "all that is needed is ready"
    return f"{table(found)}\n\n{said}", not lacking
