"""Safetensors checkpoints read tensor by tensor and written tensor by tensor, so that memory holds one at a time."""

import json
import math
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from glu_prune.errors import CheckpointError, shown
from glu_prune.files import regular, write_whole

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_ALIGNMENT = 8
_FLOATING = re.compile("B?F\\d")
"""How safetensors names dtypes of floating-point numbers."""


@dataclass(frozen=True)
class Shards:
    """The weights in a folder: one file, or several with an index."""

    folder: Path
    weight_map: Mapping[str, str]
    """Tensor to file name."""
    index: Mapping[str, Any] | None
    """The index as it was read; None if there is one file."""

    @property
    def files(self) -> list[str]:
        """File names, in order."""
        return sorted(set(self.weight_map.values()))

    def read(self, key: str) -> torch.Tensor:
        """One tensor, in memory of its own.

        Raises:
            CheckpointError: the file cannot be read.
        """
        with _opened(self.folder / self.weight_map[key]) as file:
            # A copy, because the tensor is a view of the mapped file, which would stay mapped as long as the tensor.
            tensor: torch.Tensor = file.get_tensor(key).clone()
        return tensor

    @property
    def whole_numbers(self) -> list[str]:
        """The tensors that hold no floating-point numbers."""
        found = []
        for name in self.files:
            with _opened(self.folder / name) as file:
                found += [key for key in file.keys() if not _FLOATING.match(file.get_slice(key).get_dtype())]  # noqa: SIM118
        return found

    @property
    def nbytes(self) -> int:
        """The size of all files together."""
        return sum((self.folder / name).stat().st_size for name in self.files)


def open_shards(folder: Path) -> Shards:
    """The weights in `folder`, with every file and its header checked.

    Raises:
        CheckpointError: there are no safetensors weights, a file is missing or truncated, or the index contradicts it.
    """
    if (folder / INDEX).is_file():
        try:
            index = json.loads((folder / INDEX).read_text())
            weight_map = {str(key): str(name) for key, name in index["weight_map"].items()}
            index["metadata"] = dict(index.get("metadata", {}))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            msg = f"{folder / INDEX} cannot be read: {shown(error)}"
            raise CheckpointError(msg) from error
        if (folder / SINGLE).exists():
            msg = f"{folder} holds both {SINGLE} and {INDEX}, which may be of two models; remove one of them"
            raise CheckpointError(msg)
        # An index comes with a download: a name with a path in it could have any file read and copied.
        if outside := [name for name in weight_map.values() if name != Path(name).name or name == ".."]:
            msg = f"{folder / INDEX} names {shown(outside[0])}, which is no file of its folder; nothing else is read"
            raise CheckpointError(msg)
    else:
        index, weight_map = None, {}
        files = [path for path in [folder / SINGLE] if path.is_file()] or sorted(folder.glob("*.safetensors"))
        if len(files) != 1:
            msg = f"{folder} holds {len(files)} .safetensors files and no {INDEX}; pickled weights are not read"
            raise CheckpointError(msg)
        with _opened(files[0]) as file:
            weight_map = dict.fromkeys(file.keys(), files[0].name)
    found: dict[str, set[str]] = {}
    for name in set(weight_map.values()):
        with _opened(folder / name) as file:
            found[name] = set(file.keys())
    lost = next((key for key, name in weight_map.items() if key not in found[name]), None)
    if lost is not None:
        msg = f"{folder / INDEX} says that {lost} is in {weight_map[lost]}, but it is not"
        raise CheckpointError(msg)
    stray = next(((key, name) for name, keys in found.items() for key in keys if weight_map.get(key) != name), None)
    if stray is not None:
        msg = f"{folder / stray[1]} holds {stray[0]}, of which {INDEX} says nothing, or another file; fetch it again"
        raise CheckpointError(msg)
    return Shards(folder, weight_map, index)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        opened = safe_open(regular(path), framework="pt")
    except (OSError, SafetensorError) as error:
        msg = f"{path} cannot be read: {error}; it may be missing or truncated, fetch it again"
        raise CheckpointError(msg) from error
    with opened as file:
        yield file


@dataclass(frozen=True)
class Edit:
    """How tensors change while they are copied."""

    shape: Callable[[str, tuple[int, ...]], tuple[int, ...]]
    """(name, shape) -> the shape afterwards, which the header of a file states before any tensor is read."""
    tensor: Callable[[str, torch.Tensor], torch.Tensor]
    """(name, tensor) -> the changed tensor."""
    done: Callable[[int], None]
    """Called with the bytes read of each tensor."""


def rewrite(shards: Shards, out: Path, edit: Edit) -> None:
    """Writes every tensor of `shards`, changed, into files of the same names in the folder `out`.

    Memory holds the file being read, mapped, and one changed tensor. Files are flushed to the disk.

    Raises:
        CheckpointError: a file cannot be read.
        OSError: a file cannot be written.
    """
    total = 0
    for name in shards.files:
        with _opened(shards.folder / name) as file:
            total += _rewrite_file(file, out / name, edit)
    if shards.index is not None:
        metadata = {**shards.index["metadata"], "total_size": total}
        text = json.dumps({"metadata": metadata, "weight_map": dict(shards.weight_map)}, indent=2)
        write_whole(out / INDEX, f"{text}\n", sync=True)


def _rewrite_file(file: Any, out: Path, edit: Edit) -> int:
    """Writes one file in the safetensors format: length of the header, header, data. Returns the bytes of data."""
    # Not by safetensors' own `save_file`, which takes all tensors of a file in memory at once.
    header: dict[str, Any] = {"__metadata__": file.metadata() or {"format": "pt"}}
    end = 0
    for key in file.keys():  # noqa: SIM118 - not a mapping
        part = file.get_slice(key)
        old = tuple(part.get_shape())
        shape, size = edit.shape(key, old), _itemsize(file, key)
        begin, end = end, end + size * math.prod(shape)
        header[key] = {"dtype": part.get_dtype(), "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)  # so that readers can map the data at aligned addresses
    with out.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for key in file.keys():  # noqa: SIM118
            tensor = file.get_tensor(key)
            changed = edit.tensor(key, tensor).contiguous()
            if list(changed.shape) != header[key]["shape"]:
                msg = f"{key} became {tuple(changed.shape)}, not {tuple(header[key]['shape'])}"
                raise CheckpointError(msg)
            stream.write(changed.flatten().view(torch.uint8).numpy().data)
            edit.done(tensor.nbytes)
        stream.flush()
        os.fsync(stream.fileno())
    return end


def _itemsize(file: Any, key: str) -> int:
    part = file.get_slice(key)
    shape = part.get_shape()
    first = part[tuple(slice(0, 1) for _ in shape)] if shape else file.get_tensor(key)
    size: int = first.element_size()
    return size
