"""Which machine this is: figures of cost belong to one."""

import functools
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glu_prune.experiment.cell import Settings


_VISIBLE = "CUDA_VISIBLE_DEVICES"
"""The variable that says which GPUs a process sees."""


@functools.cache
def machine() -> str:
    """The machine, in words: system, processor, cores it may use, whether their energy can be read, and GPUs."""
    known = (f"{platform.system()} {platform.machine()}", _processor(), f"{cores()} cores", _rapl(), *_gpus())
    return ", ".join(filter(None, known))


def accelerator(settings: "Settings") -> str:
    """The kind of GPU that models run on by `settings`; empty where there is none, or the processor is asked for.

    Where kinds differ within the machine, those that this process may see are among its name.
    """
    if settings.device == "cpu" and not (settings.device_map or settings.backend):
        return ""
    kinds = set(_gpus())
    seen = f" ({_VISIBLE}={os.environ.get(_VISIBLE)})" if len(kinds) > 1 else ""
    return gpus() + seen


def gpus() -> str:
    """The kinds of NVIDIA GPUs of this machine."""
    return " + ".join(dict.fromkeys(_gpus()))


def see_one_gpu(number: int) -> str:
    """Has this process, the worker of that number, see one of several GPUs; gives its name among them, or nothing.

    Before CUDA is used: afterwards it changes nothing. Workers beyond the number of GPUs share them.
    """
    named = os.environ.get(_VISIBLE)
    there = [each.strip() for each in named.split(",")] if named else [str(each) for each in range(len(_gpus()))]
    if len(there) < 2:
        return ""
    os.environ[_VISIBLE] = there[number % len(there)]
    return os.environ[_VISIBLE]


def _processor() -> str:
    """The processor's name, which Linux tells only here."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    fields = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    models = [value for name, value in fields if name == "model name"]
    parts = dict.fromkeys(f"{name} {value}" for name, value in fields if name in ("CPU implementer", "CPU part"))  # ARM
    return next(iter(models), ", ".join(parts) or platform.processor())


def cores() -> int:
    """How many cores this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


def _rapl() -> str:
    """The processor's energy counters under Linux, if this process may read them."""
    counters = Path("/sys/class/powercap").glob("intel-rapl*/energy_uj")
    return "RAPL" if any(os.access(counter, os.R_OK) for counter in counters) else ""


def _gpus() -> list[str]:
    """Names of NVIDIA GPUs, from their driver: torch is not needed for it."""
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        fields = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
        found.append(fields.get("Model", "GPU").strip())
    return found
