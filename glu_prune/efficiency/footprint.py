"""The memory that a model takes, measured in a process that holds nothing else.

In one process the figures of several models run into each other: the allocator keeps what one has freed, and mapped
files stay.
"""

import ctypes
import gc
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from glu_prune.efficiency.fresh import FreshProcesses
from glu_prune.efficiency.generation import Generator, padded
from glu_prune.efficiency.workload import Batch
from glu_prune.models.source import DeviceMap, ModelSource, load_model

_PAGE = 4096
"""Bytes; the smallest page of any platform."""
_RESET = "resident set; its high-water mark since loading"
_NOT_RESET = "resident set; its high-water mark since the process began, which loading may have set"


@dataclass(frozen=True)
class Footprint:
    """Memory of one process that loads a model and generates with it; all figures in bytes.

    Those of the processor are of its resident set. Python and its libraries are in all of them, about 300 MB, so the
    difference of two models is theirs, but not the quotient.
    """

    empty: int
    """Held before loading. Library code that is used first while loading or generating, some 40 MB, is not in it."""
    resident: int
    """Held after loading, with every page of the weights touched: weights are mapped files, which count from then."""
    peak: int
    """The highest while generating, with the model and the key-value cache; see `how`."""
    device_resident: int | None
    """Held by torch's allocator on the devices of the model after loading; None without CUDA."""
    device_peak: int | None
    """The highest that torch's allocator held while generating, added up over devices; None without CUDA."""
    device_used: int | None
    """Held by the process on the devices after generating, with the context, kernels and what the allocator reserves.

    From NVML's list of processes; None where that does not tell, as in containers with process ids of their own.
    """
    how: str
    """What `resident` and `peak` are."""


def fresh_processes() -> FreshProcesses:
    """Processes for `footprints`, to be shared by several models: what they import takes seconds, but only once."""
    return FreshProcesses(_prepare)


def _prepare() -> None:
    """Imports what loads and runs a Llama, and compiles transformers' patterns of old names of weights."""
    import torch  # noqa: F401
    import transformers.generation.utils
    import transformers.models.llama.modeling_llama  # noqa: F401
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    get_checkpoint_conversion_mapping("llama")


def footprints(
    source: ModelSource,
    dtype: str,
    device: str,
    batch: Batch,
    new_tokens: int,
    repeats: int,
    processes: FreshProcesses | None = None,
    attention: str = "",
    device_map: DeviceMap = "",
) -> Iterator[Footprint]:
    """Yields the footprint of a model `repeats` times, each from a process of its own with as many threads as here.

    The process loads the model as `load_model` does with `attention` and `device_map`, and generates `new_tokens`
    tokens, neither more nor fewer, for each prompt of `batch`. `processes` are from `fresh_processes`; without them,
    the iterator has its own.

    Raises:
        CheckpointError: the model cannot be loaded.
        EvaluationError: anything else went wrong, or the process died.
    """
    import torch

    arguments = (source, dtype, device, attention, device_map, batch, new_tokens, torch.get_num_threads())
    with nullcontext(processes) if processes else fresh_processes() as those:
        for _ in range(repeats):
            yield those.call(f"the memory of {source.name} cannot be measured", _measure, *arguments)


def _measure(
    source: ModelSource,
    dtype: str,
    device: str,
    attention: str,
    device_map: DeviceMap,
    batch: Batch,
    new_tokens: int,
    threads: int,
) -> Footprint:
    """The footprint of this process, which must be a fresh one."""
    import torch

    torch.set_num_threads(threads)
    empty = _resident()
    model = load_model(source, dtype, device, attention=attention, device_map=device_map)
    cuda = sorted({str(each.device) for each in model.parameters() if each.device.type == "cuda"})
    device_resident = _sum(map(torch.cuda.memory_allocated, cuda))
    _touch(model)
    _tidy()
    resident = _resident()
    how = _RESET if _reset_high_water() else _NOT_RESET
    for each in cuda:
        torch.cuda.reset_peak_memory_stats(each)
    Generator(model)(padded(batch, model.device), new_tokens)
    return Footprint(
        empty=empty,
        resident=resident,
        peak=max(_high_water(), resident),
        device_resident=device_resident,
        device_peak=_sum(map(torch.cuda.max_memory_allocated, cuda)),
        device_used=_sum(map(_used_on_device, cuda)),
        how=how,
    )


def _sum(devices: Iterable[int | None]) -> int | None:
    """Over all devices; None without one, or where one does not tell."""
    found = list(devices)
    told = [each for each in found if each is not None]
    return sum(told) if found and len(told) == len(found) else None


def _touch(model: Any) -> None:
    """Brings every page of the weights and, by a forward pass, the kernels into memory."""
    import torch

    with torch.inference_mode():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.flatten()[:: _PAGE // tensor.element_size()].sum()
        model(torch.zeros(1, 1, dtype=torch.long, device=model.device), use_cache=False)


def _tidy() -> None:
    """Gives back memory that is not in use; what the C library keeps, only where it can be told to."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)


def _resident() -> int:
    """Bytes that this process holds in memory."""
    found: int = psutil.Process().memory_info().rss
    return found


def _reset_high_water() -> bool:
    """Makes the high-water mark that of now, where the system can; whether it did."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _high_water() -> int:
    """The most bytes that this process held in memory."""
    status = Path("/proc/self/status")
    if status.exists():
        return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if "VmHWM" in line)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _used_on_device(device: str) -> int | None:
    """What NVML says that this process holds on the device, bytes; None if it does not say."""
    import pynvml
    import torch

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{torch.cuda.get_device_properties(device).uuid}")
        processes = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
    except pynvml.NVMLError:
        return None
    return next((each.usedGpuMemory for each in processes if each.pid == os.getpid()), None)
