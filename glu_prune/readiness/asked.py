"""What expectation files ask for: models, and tasks to score them on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from glu_prune.evaluation import local_data
from glu_prune.evaluation.capability import scored_together
from glu_prune.experiment.cell import Arm
from glu_prune.judgement.expectation import Case, EfficiencyCase, read
from glu_prune.judgement.experiment import ANY

_SERIES = 3
"""Copies of a model that are in memory while costs are measured: dense, pruned, and dense again."""


@dataclass(frozen=True)
class Model:
    """A model that files are about."""

    name: str
    revision: str | None
    arms: tuple[Arm, ...]
    """It pruned in these ways, each once."""
    measured: bool
    """Whether its costs are measured."""

    @property
    def copies(self) -> int:
        """Of its weights, in memory at once: the dense model, and one that is cut further for each criterion."""
        return max(1 + len({arm.criterion for arm in self.arms}), _SERIES if self.measured else 1)


@dataclass(frozen=True)
class Asked:
    """All that is asked for, each once, in the order of the files."""

    models: tuple[Model, ...]
    tasks: tuple[str, ...]


def asked(files: Sequence[Path]) -> Asked:
    """What a run of `files` asks for.

    Raises:
        ExpectationError: a file is missing, no YAML, or says something that is not allowed.
    """
    return asked_by([case for file in files for case in read(file) if case.experiment.model != ANY])


def asked_by(cases: Sequence[Case]) -> Asked:
    """What a run of `cases` asks for."""
    by_model: dict[tuple[str, str | None], list[Case]] = {}
    for case in cases:
        by_model.setdefault((case.experiment.model, case.experiment.revision), []).append(case)
    models = (_model(name, revision, mine) for (name, revision), mine in by_model.items())
    return Asked(tuple(models), tuple(dict.fromkeys(task for case in cases for task in _tasks(case))))


def _model(name: str, revision: str | None, cases: Sequence[Case]) -> Model:
    measured = [case for case in cases if isinstance(case, EfficiencyCase)]
    scored = (arm for case in cases for needed in case.requirements() for arm in needed.arms)
    pruned = (arm for arm in (*scored, *(case.arm for case in measured)) if arm.criterion is not None)
    return Model(name, revision, tuple(dict.fromkeys(pruned)), bool(measured))


def _tasks(case: Case) -> Iterator[str]:
    """The tasks that `case` needs, what is scored in one call with them, and benchmarks that give prompts."""
    for capability in (needed.capability for needed in case.requirements()):
        if capability.folder is None:  # else the file says where its task is, and reading it has looked
            yield from scored_together(capability.task)
    if isinstance(case, EfficiencyCase) and local_data.is_configured():
        yield from (each.benchmark for each in case.workloads if each.benchmark is not None)
