"""What a run needs of the machine and of what is installed on it."""

import os
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from glu_prune.efficiency.meter import MEASURED
from glu_prune.efficiency.tracking import CodeCarbonMeter
from glu_prune.errors import CheckpointError, EvaluationError, MeterError, ModelNotFoundError, StoreError, first_line
from glu_prune.evaluation.backend import Backend
from glu_prune.experiment.machine import machine
from glu_prune.experiment.marker import refuse_others
from glu_prune.experiment.open_dtype import refuse_elsewhere
from glu_prune.models.dtypes import AUTO, EXACT, HALF
from glu_prune.models.source import locate
from glu_prune.readiness.check import CheckResult, Run
from glu_prune.readiness.memory import weights_in
from glu_prune.readiness.requirements import RequiredModel
from glu_prune.units import size_of

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_RECORDS = 100_000_000
"""Bytes that the records of a run take, at the most."""
_SLOW = 2.0
"""How many times as long as in float32 is worth a note."""
_SHOWN = ("torch", "transformers", "datasets", "lm-eval", "codecarbon")


def backend(run: Run) -> Iterator[CheckResult]:
    """Whether the backend of lm-eval that is to answer is installed, and can answer for a pruned model."""
    if not run.settings.backend:
        return
    what = f"backend {run.settings.backend.partition(',')[0]}"
    try:
        chosen = Backend.parse(run.settings.backend)
        chosen.check()
    except EvaluationError as error:
        yield CheckResult(what, "missing", str(error))
    else:
        yield CheckResult(what, "ready", ", ".join(f"{name} {found}" for name, found in chosen.versions.items()))


def dtype(run: Run) -> Iterator[CheckResult]:
    """Whether the data type can be left open on the device, if it is."""
    try:
        refuse_elsewhere(run.settings)
    except EvaluationError as error:
        yield CheckResult(f"dtype {AUTO}", "missing", str(error))


def device(run: Run) -> Iterator[CheckResult]:
    """Whether torch can use the device; that it is a processor is worth a note where there is a GPU."""
    import torch

    if run.settings.backend or run.settings.device_map:
        return
    name = run.settings.device
    try:
        one = torch.ones(1, device=name)
        one.item()  # on some devices, such as meta, nothing is ever computed
        kind = one.device.type
    except (RuntimeError, AssertionError) as error:
        remedy = "take the device cpu, or install a torch that was built for it"
        yield CheckResult(f"device {name}", "missing", first_line(error), remedy)
        return
    if kind == "cpu" and torch.cuda.is_available():
        yield CheckResult("device cpu", "note", machine(), "--glu-device cuda uses the GPU")
        return
    found = machine() if kind == "cpu" else f"{machine()}; torch sees {torch.cuda.device_count()} CUDA devices"
    yield CheckResult(f"device {name}", "ready", found)


def arithmetic(run: Run) -> Iterator[CheckResult]:
    """How fast this processor computes in 16 bits, against float32: many lack the instructions for it."""
    from glu_prune.evaluation.half_precision import seconds_of_product

    dtype = run.settings.dtype
    if run.settings.device != "cpu" or dtype == EXACT:
        return
    for each in HALF if dtype == AUTO else (dtype,):
        what, slowdown = f"arithmetic in {each}", seconds_of_product(each) / seconds_of_product(EXACT)
        found = f"a matrix product takes {slowdown:.1f} times as long as in float32"
        if slowdown < _SLOW or dtype == AUTO:
            yield CheckResult(what, "ready", found)
        else:
            yield CheckResult(what, "note", found, "where memory suffices for it, --glu-dtype float32 is faster")


def compiler(run: Run) -> Iterator[CheckResult]:
    """Whether attention can be compiled for this processor; a run works without it, but writes texts more slowly."""
    from glu_prune.evaluation import few_tokens

    if run.settings.device != "cpu" or run.settings.dtype != EXACT or run.settings.backend:
        return
    if few_tokens.compiled() is None:
        found = "no gcc that compiles attention for this processor: texts are written with torch's, more slowly"
        yield CheckResult("compiler", "note", found, "install gcc with OpenMP, such as Debian's package gcc")
    else:
        yield CheckResult("compiler", "ready", "attention of texts is compiled for this processor")


def energy(run: Run) -> Iterator[CheckResult]:
    """Which channels of energy are read from a meter; a run works without any, but then confirms no claim on energy."""
    if not any(model.workloads for model in run.requirements.models):
        return
    try:
        methods = CodeCarbonMeter().methods()
    except MeterError as error:
        yield CheckResult("energy", "missing", str(error))
        return
    found = ", ".join(f"{channel}: {method}" for channel, method in methods.items())
    if MEASURED.intersection(methods.values()):
        yield CheckResult("energy", "ready", found)
    else:
        remedy = "a claim on energy needs an NVIDIA GPU, or RAPL counters that may be read; see docs/efficiency.md"
        yield CheckResult("energy", "note", f"{found}: assumed power times time", remedy)


def disk(run: Run) -> Iterator[CheckResult]:
    """That the store is one, with room: for records, and for a copy of the largest model whose memory is measured."""
    there = next(each for each in (run.store, *run.store.absolute().parents) if each.exists())
    measured = (model for model in run.requirements.models if model.workloads)
    wanted = _RECORDS + max((_saved(model, run.dtype) for model in measured), default=0)
    what, another = f"disk for {run.store}", "choose another: --glu-store=DIR"
    if not there.is_dir() or not os.access(there, os.W_OK):
        yield CheckResult(what, "missing", f"{there} is no folder that may be written to", another)
        return
    if there == run.store:
        try:
            refuse_others(there)
        except StoreError as error:
            yield CheckResult(what, "missing", str(error), another)
            return
    free = shutil.disk_usage(there).free
    found = f"{size_of(free)} free, {size_of(wanted)} wanted"
    if free < wanted:
        yield CheckResult(what, "missing", found, f"make room, or {another}")
    else:
        yield CheckResult(what, "ready", found)


def _saved(model: RequiredModel, dtype: str) -> int:
    try:
        return weights_in(locate(model.name, model.revision), dtype)
    except (ModelNotFoundError, CheckpointError):
        return 0  # another row says that it is not here


def libraries(_: Run) -> Iterator[CheckResult]:
    """Whether what is installed is what this package asks for."""
    from packaging.requirements import Requirement

    try:
        declared = [Requirement(line) for line in requires("glu-prune") or ()]
    except PackageNotFoundError:
        declared = []
    wrong = [str(each) for each in declared if each.marker is None and not _satisfied(each.name, each.specifier)]
    if wrong:
        remedy = f"pip install {' '.join(repr(each) for each in wrong)}"
        yield CheckResult("libraries", "missing", f"not installed, or too old: {', '.join(wrong)}", remedy)
    else:
        yield CheckResult("libraries", "ready", ", ".join(f"{name} {version(name)}" for name in _SHOWN))


def _satisfied(name: str, allowed: "SpecifierSet") -> bool:
    try:
        return allowed.contains(version(name), prereleases=True)
    except PackageNotFoundError:
        return False
