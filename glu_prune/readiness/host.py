"""What a run needs of the machine and of what is installed on it."""

import os
import shutil
import timeit
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from glu_prune.efficiency.meter import MEASURED
from glu_prune.efficiency.tracking import CodeCarbonMeter
from glu_prune.errors import CheckpointError, MeterError, ModelNotFoundError, first_line
from glu_prune.experiment.cell import Settings
from glu_prune.experiment.machine import machine
from glu_prune.models.source import locate
from glu_prune.readiness.asked import Model
from glu_prune.readiness.models import weights_in
from glu_prune.readiness.need import Need, size_of

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

_RECORDS = 100_000_000
"""Bytes that the records of a run take, at the most."""
_SLOW = 2.0
"""How many times as long as in float32 is worth a note."""
_SHOWN = ("torch", "transformers", "datasets", "lm-eval", "codecarbon")


def host(models: Sequence[Model], settings: Settings, store: Path) -> Iterator[Need]:
    """The device, what reads its energy, the disk, and the libraries."""
    yield device(settings.device)
    if settings.device == "cpu" and settings.dtype != "float32":
        yield arithmetic(settings.dtype)
    yield energy()
    yield disk(models, settings, store)
    yield libraries()


def device(name: str) -> Need:
    """Whether torch can use the device; that it is a processor is worth a note where there is a GPU."""
    import torch

    try:
        kind = torch.empty(1, device=name).device.type
    except (RuntimeError, AssertionError) as error:
        return Need(
            f"device {name}",
            "missing",
            first_line(error),
            "take the device cpu, or install a torch that was built for it",
        )
    if kind == "cpu" and torch.cuda.is_available():
        return Need("device cpu", "note", machine(), "--glu-device cuda uses the GPU")
    found = machine() if kind == "cpu" else f"{machine()}; torch sees {torch.cuda.device_count()} CUDA devices"
    return Need(f"device {name}", "ready", found)


def arithmetic(dtype: str) -> Need:
    """How fast this processor computes in `dtype`, against float32: many lack the instructions for 16 bits."""
    slowdown = _product(dtype) / _product("float32")
    found = f"a matrix product takes {slowdown:.1f} times as long as in float32"
    if slowdown < _SLOW:
        return Need(f"arithmetic in {dtype}", "ready", found)
    return Need(f"arithmetic in {dtype}", "note", found, "where memory suffices for it, --glu-dtype float32 is faster")


def _product(dtype: str) -> float:
    """Seconds that `(128, 1024) x (1024, 1024)` takes, the shortest of several."""
    import torch

    one, other = (torch.ones(rows, 1024, dtype=getattr(torch, dtype)) for rows in (128, 1024))
    return min(timeit.repeat(lambda: torch.nn.functional.linear(one, other), number=1, repeat=8))


def energy() -> Need:
    """Which channels of energy are read from a meter; a run works without any, but then confirms no claim on energy."""
    try:
        methods = CodeCarbonMeter().methods()
    except MeterError as error:
        return Need("energy", "missing", str(error))
    found = ", ".join(f"{channel}: {method}" for channel, method in methods.items())
    if MEASURED.intersection(methods.values()):
        return Need("energy", "ready", found)
    remedy = "a claim on energy needs an NVIDIA GPU, or RAPL counters that may be read; see docs/efficiency.md"
    return Need("energy", "note", f"{found}: assumed power times time", remedy)


def disk(models: Sequence[Model], settings: Settings, store: Path) -> Need:
    """Room in the store: for records, and for the largest model whose memory is measured, which is saved there."""
    there = next(each for each in (store, *store.absolute().parents) if each.exists())
    wanted = _RECORDS + max((_saved(each, settings) for each in models if each.measured), default=0)
    what = f"disk for {store}"
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Need(what, "missing", f"{there} is no folder that may be written to", "choose another: --glu-store=DIR")
    free = shutil.disk_usage(there).free
    found = f"{size_of(free)} free, {size_of(wanted)} wanted"
    if free < wanted:
        return Need(what, "missing", found, "make room, or choose another: --glu-store=DIR")
    return Need(what, "ready", found)


def _saved(model: Model, settings: Settings) -> int:
    try:
        return weights_in(locate(model.name, model.revision), settings.dtype)
    except (ModelNotFoundError, CheckpointError):
        return 0  # another row says that it is not here


def libraries() -> Need:
    """Whether what is installed is what this package asks for."""
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in requires("glu-prune") or ()]
    except PackageNotFoundError:
        asked = []
    wrong = [str(each) for each in asked if each.marker is None and not _satisfied(each.name, each.specifier)]
    if wrong:
        wanted = " ".join(f"'{each}'" for each in wrong)
        return Need("libraries", "missing", f"not installed, or too old: {', '.join(wrong)}", f"pip install {wanted}")
    return Need("libraries", "ready", ", ".join(f"{name} {version(name)}" for name in _SHOWN))


def _satisfied(name: str, allowed: "SpecifierSet") -> bool:
    try:
        return allowed.contains(version(name), prereleases=True)
    except PackageNotFoundError:
        return False
