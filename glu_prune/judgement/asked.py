"""What people ask for by name without a file: a capability, a task of lm-eval, or a task and its metric."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from glu_prune.errors import EvaluationError, ExpectationError, did_you_mean, shown
from glu_prune.evaluation import lm_eval_tasks
from glu_prune.evaluation.capability import SUITES, Capability
from glu_prune.models.source import embedded_models

_NOT_IN_NAMES = re.compile(r"\W+")


def suite_of(model: str) -> Literal["embedded", "study"]:
    """The suite that suits a model."""
    return "embedded" if model in embedded_models() else "study"


def capabilities_asked(names: Iterable[str], suite: str) -> dict[str, Capability]:
    """What is asked for to the capability that it is.

    Raises:
        EvaluationError: there is no such capability or task.
        ExpectationError: two of them are the same.
    """
    known, every = SUITES[suite], tuple(names)
    found = {name: capability_of(name, known) for name in every}
    if len({each.name for each in found.values()}) < len(every):
        msg = f"{', '.join(every)} name one capability twice; leave one out"
        raise ExpectationError(msg)
    return found


def capability_of(asked: str, known: Mapping[str, Capability]) -> Capability:
    """One of the `known` capabilities, the one that a task measures, or another task of lm-eval.

    Raises:
        EvaluationError: lm-eval has no such task, or the task has no such metric.
    """
    task, _, metric = asked.partition(":")
    if not metric:
        for each in known.values():
            if asked in (each.name, each.task):
                return each
    every = (each for suite in SUITES.values() for each in suite.values() if each.task == task)
    measured = next((each for each in every if metric in ("", each.metric)), None)
    name = _NOT_IN_NAMES.sub("_", asked)
    if measured is not None:
        return replace(measured, name=name) if metric else measured
    try:
        found, higher = lm_eval_tasks.metric_of(task, metric)
    except EvaluationError as error:
        if metric or not (near := did_you_mean(asked, known)):
            raise
        msg = f"there is neither a capability nor a task of lm-eval called {shown(asked)}{near}"
        raise EvaluationError(msg) from error
    return Capability(name, task, found, "", higher_is_better=higher)
