"""All that is checked before a run: the one list that `doctor` shows and that a run refuses by."""

from collections.abc import Callable, Iterator

from glu_prune.readiness import data, host, memory, models
from glu_prune.readiness.check import Check, CheckResult, Run
from glu_prune.readiness.requirements import RequiredModel


def _each_model(look: Callable[[RequiredModel, Run], Iterator[CheckResult]]) -> Callable[[Run], Iterator[CheckResult]]:
    return lambda run: (result for model in run.requirements.models for result in look(model, run))


CHECKS = (
    Check("model", models.models),
    Check("chat template", _each_model(models.chat_template)),
    Check("context", _each_model(models.positions)),
    Check("attention", _each_model(models.attention)),
    Check("pruning", _each_model(models.pruning)),
    Check("backend", host.backend),
    Check("device", host.device),
    Check("memory", _each_model(memory.memory)),
    Check("arithmetic", host.arithmetic, advice=True),
    Check("data", data.data),
    Check("checkers", data.checkers),
    Check("energy", host.energy),
    Check("disk", host.disk),
    Check("libraries", host.libraries),
)
