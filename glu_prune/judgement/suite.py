"""The capabilities that the claims of a file can be about: those of its suite, and those that it declares itself."""

from collections.abc import Mapping
from dataclasses import replace

from glu_prune.errors import EvaluationError
from glu_prune.evaluation import user_tasks
from glu_prune.evaluation.capability import SUITES, Capability
from glu_prune.judgement.document import Document
from glu_prune.judgement.experiment import Experiment


def capabilities(document: Document, experiment: Experiment) -> Mapping[str, Capability]:
    """By name; a task that the file's folder of tasks declares is taken from there.

    Raises:
        ExpectationError: the folder cannot be used, or something is declared that no claim is about.
    """
    declared = {name: each.named(name) for name, each in experiment.capabilities.items()}
    for name in declared:
        if not any(name in claim.capability_names for claim in experiment.expect):
            complaint = f"no claim is about capability {name!r}, which is declared here; make one, or remove it"
            raise document.error(("capabilities", name), complaint)
    return {**SUITES[experiment.suite], **_found(document, experiment, declared)}


def _found(document: Document, experiment: Experiment, declared: dict[str, Capability]) -> dict[str, Capability]:
    """`declared`, with the folder of those whose tasks are in it."""
    if experiment.tasks is None:
        return declared
    folder = document.path.absolute().parent / experiment.tasks
    try:
        there = user_tasks.names(folder)
    except EvaluationError as error:
        raise document.error(("tasks",), str(error)) from error
    if not any(each.task in there for each in declared.values()):
        tasks = ", ".join(there) or "none"
        complaint = f"no capability that is declared here is measured by a task of {folder}; its tasks: {tasks}"
        raise document.error(("tasks",), complaint)
    return {name: replace(each, folder=folder) if each.task in there else each for name, each in declared.items()}
