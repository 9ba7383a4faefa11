"""Copying chosen rows and columns as fast as memory allows; nearly all of the time of pruning is spent here."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

_INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_ROW_THREADS_FROM = 1 << 20
"""Elements from which columns are taken by several threads."""


def gather(source: torch.Tensor, dim: int, indices: torch.Tensor, out: torch.Tensor) -> None:
    """`out` becomes `source.index_select(dim, indices)`; `indices` are on the CPU and within bounds."""
    if source.device.type == "cpu" and source.dim() == 2 and dim == 1 and source.is_contiguous():
        _columns(source, indices, out)
    elif out.is_contiguous():
        torch.index_select(source, dim, indices.to(source.device), out=out)
    else:
        out.copy_(source.index_select(dim, indices.to(source.device)))


def _columns(source: torch.Tensor, indices: torch.Tensor, out: torch.Tensor) -> None:
    """Columns on the CPU: numpy takes single elements faster than torch 2.13 does, and in several threads."""
    # As integers of the same size: only bits are moved, and numpy has no bfloat16.
    kind = _INTEGERS[source.element_size()]
    read, write, places = source.view(kind).numpy(), out.view(kind).numpy(), indices.numpy()

    def take(rows: slice) -> None:
        np.take(read[rows], places, axis=1, out=write[rows], mode="clip")  # clip: no copy for the sake of bounds

    count = torch.get_num_threads() if out.numel() >= _ROW_THREADS_FROM else 1
    step = -(-len(read) // count)
    parts = [slice(begin, begin + step) for begin in range(0, len(read), step)]
    if len(parts) == 1:
        take(parts[0])
        return
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(take, parts))
