"""What cases require: models, in which ways, and tasks to score them on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

from glu_prune.efficiency.workload import Workload
from glu_prune.errors import ModelNotFoundError
from glu_prune.evaluation import local_data
from glu_prune.evaluation.capability import scored_together
from glu_prune.experiment.cell import Arm
from glu_prune.judgement.expectation import Case, EfficiencyCase, read
from glu_prune.judgement.experiment import ANY
from glu_prune.models.fetchable import FETCHABLE
from glu_prune.models.source import locate

_COPIES_WHILE_MEASURED = 3
"""Of a model, in memory while its costs are measured: dense, pruned, and dense again."""


@dataclass(frozen=True)
class RequiredModel:
    """A model that cases are about."""

    name: str
    revision: str | None
    arms: tuple[Arm, ...] = ()
    """The pruned models that are made of it, each once."""
    workloads: tuple[Workload, ...] = ()
    """What its costs are measured on; none where only scores are asked for."""
    chat_template: bool = False
    """Whether prompts are put into its chat template."""

    @property
    def copies(self) -> int:
        """Of its weights, in memory at once: the dense model, and one that is pruned further for each criterion."""
        return max(1 + len({arm.criterion for arm in self.arms}), _COPIES_WHILE_MEASURED if self.workloads else 1)


@dataclass(frozen=True)
class Requirements:
    """All that cases require, each once, in their order."""

    models: tuple[RequiredModel, ...]
    tasks: tuple[str, ...]
    folders: tuple[Path, ...] = ()
    """Of tasks of the user's own."""
    left_out: tuple[str, ...] = ()
    """Models that a run leaves out: nobody asked for them by name, and they are not here, or must be asked for."""


def requirements_of_files(files: Sequence[Path], *, named: bool = True) -> Requirements:
    """What a run of `files` requires; unless they are `named` one by one, those are left out of it that must be.

    Raises:
        ExpectationError: a file is missing, no YAML, or says something that is not allowed.
    """
    cases = [case for file in files for case in read(file) if case.experiment.model != ANY]
    here = [case for case in cases if named or is_run(case)]
    left_out = dict.fromkeys(case.experiment.model for case in cases if case not in here)
    return replace(requirements(here), left_out=tuple(left_out))


def is_run(case: Case) -> bool:
    """Whether a run that asks for no model by name has the case: its model is here, and need not be asked for.

    One that a file names by a variable, or not at all, must be, and so must one that was fetched: its files claim what
    takes hours to run.
    """
    experiment = case.experiment
    if "$" in experiment.model or experiment.model in (ANY, *FETCHABLE):
        return False
    return is_here(experiment.model, experiment.revision)


def is_here(model: str, revision: str | None = None) -> bool:
    """Whether it is on this machine."""
    try:
        locate(model, revision)
    except ModelNotFoundError:
        return False
    return True


def requirements(cases: Sequence[Case]) -> Requirements:
    """What a run of `cases` requires.

    Raises:
        ExpectationError: a suite has no such workload.
    """
    by_model: dict[tuple[str, str | None], list[Case]] = {}
    for case in cases:
        by_model.setdefault((case.experiment.model, case.experiment.revision), []).append(case)
    models = [_model(name, revision, mine) for (name, revision), mine in by_model.items()]
    others = dict.fromkeys(each for case in cases for each in _checkpoints(case))
    tasks = dict.fromkeys(task for case in cases for task in _tasks(case))
    folders = dict.fromkeys(needed.capability.folder for case in cases for needed in case.requirements())
    return Requirements((*models, *others), tuple(tasks), tuple(filter(None, folders)))


def requirements_of_contract(model: str) -> Requirements:
    """What checking the contract on `model` requires: that it can be pruned."""
    return Requirements((RequiredModel(model, None, arms=(Arm("ppm", Decimal("0.5")),)),), ())


def _model(name: str, revision: str | None, cases: Sequence[Case]) -> RequiredModel:
    measured = [case for case in cases if isinstance(case, EfficiencyCase)]
    pruned = (arm for case in cases for arm in _arms(case) if arm.criterion is not None)
    return RequiredModel(
        name,
        revision,
        arms=tuple(dict.fromkeys(pruned)),
        workloads=tuple(dict.fromkeys(each for case in measured for each in case.workloads)),
        chat_template=any(case.experiment.chat_template for case in cases),
    )


def _arms(case: Case) -> Iterator[Arm]:
    """All that are run for `case`."""
    yield from (case.taken(arm) for needed in case.requirements() for arm in needed.arms)
    if isinstance(case, EfficiencyCase):
        yield case.arm


def _checkpoints(case: Case) -> Iterator[RequiredModel]:
    """Models that take the place of pruned ones."""
    experiment = case.experiment
    for arm in _arms(case):
        if arm.checkpoint:
            revision = experiment.revision_of(arm.checkpoint)
            yield RequiredModel(arm.checkpoint, revision, chat_template=experiment.chat_template)


def _tasks(case: Case) -> Iterator[str]:
    """The tasks that `case` needs, what is scored in one call with them, and benchmarks that give prompts."""
    for capability in (needed.capability for needed in case.requirements()):
        if capability.folder is None:  # else the file says where its task is, and reading it has looked
            yield from scored_together(capability.task)
    if isinstance(case, EfficiencyCase) and local_data.is_configured():
        yield from (each.benchmark for each in case.workloads if each.benchmark is not None)
