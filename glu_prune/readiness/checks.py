"""All that is checked before a run: the one list that `doctor` shows and that a run refuses by."""

from collections.abc import Callable, Iterator

from glu_prune.readiness import data, host, memory, models
from glu_prune.readiness.check import Check, CheckResult, Run
from glu_prune.readiness.requirements import RequiredModel


def _each_model(look: Callable[[RequiredModel, Run], Iterator[CheckResult]]) -> Callable[[Run], Iterator[CheckResult]]:
    return lambda run: (result for model in run.requirements.models for result in look(model, run))


CHECKS = (
    Check("model", models.models),
    Check("left out", models.left_out),
    Check("chat template", _each_model(models.chat_template)),
    Check("context", _each_model(models.positions)),
    Check("attention", _each_model(models.attention)),
    Check("pruning", _each_model(models.pruning)),
    Check("backend", host.backend),
    Check("device", host.device),
    Check("dtype", host.dtype),
    Check("memory", _each_model(memory.memory)),
    Check("arithmetic", host.arithmetic, refuses=False),
    Check("compiler", host.compiler, refuses=False),
    Check("data", data.data),
    Check("checkers", data.checkers),
    # A full disk costs the records that do not fit, a store that cannot be written still serves what it has.
    Check("energy", host.energy, refuses=False),
    Check("disk", host.disk, refuses=False),
    Check("libraries", host.libraries, refuses=False),
)
