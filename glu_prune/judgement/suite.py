"""The capabilities that the claims of a file can be about: those of its suite, and those that it declares itself."""

from collections.abc import Mapping
from dataclasses import replace

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import user_tasks
from glu_prune.evaluation.capability import SUITES, Capability
from glu_prune.judgement.claims import CapabilityClaim, Claim, EfficiencyClaim, Experiment
from glu_prune.judgement.source import Source


def capabilities(source: Source, experiment: Experiment) -> Mapping[str, Capability]:
    """By name; a task that the file's folder of tasks declares is taken from there.

    Raises:
        ExpectationError: the folder cannot be used, or something is declared that no claim is about.
    """
    declared = {name: each.named(name) for name, each in experiment.capabilities.items()}
    for name in declared:
        if not any(name in _names(claim) for claim in experiment.expect):
            complaint = f"no claim is about capability {name!r}, which is declared here; make one, or remove it"
            raise source.error(("capabilities", name), complaint)
    return {**SUITES[experiment.suite], **_found(source, experiment, declared)}


def _found(source: Source, experiment: Experiment, declared: dict[str, Capability]) -> dict[str, Capability]:
    """`declared`, with the folder of those whose tasks are in it."""
    if experiment.tasks is None:
        return declared
    folder = source.path.absolute().parent / experiment.tasks
    try:
        there = user_tasks.names(folder)
    except EvaluationError as error:
        raise source.error(("tasks",), str(error)) from error
    if not any(each.task in there for each in declared.values()):
        tasks = ", ".join(there) or "none"
        complaint = f"no capability that is declared here is measured by a task of {folder}; its tasks: {tasks}"
        raise source.error(("tasks",), complaint)
    return {name: replace(each, folder=folder) if each.task in there else each for name, each in declared.items()}


def _names(claim: Claim) -> tuple[str | None, ...]:
    """The capabilities that `claim` is about."""
    if isinstance(claim, CapabilityClaim):
        return (claim.capability,)
    return (claim.questions,) if isinstance(claim, EfficiencyClaim) else claim.trend
