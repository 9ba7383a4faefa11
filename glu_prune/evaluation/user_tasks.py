"""Tasks of users: a folder of lm-eval YAML files, beside them the code and the data that these refer to."""

import hashlib
import logging
import os
from collections.abc import Iterator
from glob import glob
from pathlib import Path
from typing import Any

import yaml

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.data_digest import files_digest
from glu_prune.files import files_below

_LEFT_OUT = ("__pycache__", ".ipynb_checkpoints")
"""Folders that lm-eval does not read and Python writes to."""
_NAMES = ("task", "group")
"""Keys whose text is the name of what a YAML file declares."""
_READERS = ("arrow", "csv", "json", "pandas", "parquet", "text", "xml")
"""Values of `dataset_path` with which `datasets` reads the files that `data_files` names, where they are."""


def user_tasks_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of all files in `folder`, and of those elsewhere that its tasks read."""
    own = files_digest(folder, _files(folder))
    others = [files_digest(Path(path.anchor), [path]) for place in data_places(folder) for path in read_at(place)]
    return hashlib.sha256("".join([own, *others]).encode()).hexdigest() if others else own


def data_places(folder: Path) -> tuple[str, ...]:
    """Where tasks of `folder` say that their data is on this machine: files, patterns of them, and folders.

    They are relative to where the process runs, as `datasets` takes them.

    Raises:
        EvaluationError: a file in the folder is no YAML.
    """
    said = (_said(path) for path in _files(folder) if path.suffix == ".yaml")
    return tuple(dict.fromkeys(place for each in said for place in _places(each)))


def read_at(place: str) -> list[Path]:
    """The files at one of `data_places`; none if nothing is there."""
    if os.path.isdir(place):  # noqa: PTH112 - as the user wrote it
        return sorted(files_below(Path(place)))
    return [Path(each) for each in sorted(glob(place, recursive=True)) if os.path.isfile(each)]  # noqa: PTH113, PTH207


def _places(said: object) -> Iterator[str]:
    """What one YAML file says of data on this machine."""
    if not isinstance(said, dict):
        return
    path, more = str(said.get("dataset_path") or ""), said.get("dataset_kwargs")
    if path not in _READERS:
        if path and os.path.isdir(path):  # noqa: PTH112
            yield path
        return
    files, base = (more.get(key) for key in ("data_files", "data_dir")) if isinstance(more, dict) else (None, None)
    names = list(_texts(files)) or ([base] if isinstance(base, str) else [])
    for name in names:
        if "://" not in name:
            yield os.path.join(base, name) if isinstance(base, str) and name != base else name  # noqa: PTH118


def _texts(said: object) -> Iterator[str]:
    """All texts in lists and dictionaries in each other."""
    if isinstance(said, str):
        yield said
    for each in said.values() if isinstance(said, dict) else said if isinstance(said, list) else ():
        yield from _texts(each)


def _plain(node: yaml.Node | None) -> object:
    """A node without what its tags, such as `!function`, would make of it."""
    if isinstance(node, yaml.MappingNode):
        return {key.value: _plain(value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(each) for each in node.value]
    return node.value if isinstance(node, yaml.ScalarNode) else None


def names(folder: Path) -> tuple[str, ...]:
    """The tasks and groups of tasks that the YAML files in `folder` declare.

    Raises:
        EvaluationError: the folder does not exist, or a file in it is no YAML.
    """
    if not folder.is_dir():
        msg = f"{folder} is no folder; name one with lm-eval's YAML files, relative to this file"
        raise EvaluationError(msg)
    found = (name for path in _files(folder) if path.suffix == ".yaml" for name in _declared(path))
    return tuple(dict.fromkeys(found))


def load(task: str, folder: Path) -> dict[str, Any]:
    """lm-eval's task dictionary for `task`, which `folder` declares; a group in it may list lm-eval's own tasks.

    Raises:
        EvaluationError: its settings, or the code that these refer to, cannot be used.
    """
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    try:
        # Indexing all of lm-eval's tasks takes seconds, so it is done only for a group that names one of them.
        if set(_members(manager.task_index, task)) - set(manager.task_index):
            manager = TaskManager(include_path=str(folder))
        loaded: dict[str, Any] = manager.load([task])
    except (KeyError, ValueError, TypeError, AttributeError, OSError, ImportError, SyntaxError) as error:
        what = (str(error) or repr(error)).splitlines()[0]
        msg = f"task {task!r} of {folder} cannot be loaded: {type(error).__name__}: {what}"
        raise EvaluationError(msg) from error
    return loaded


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not {*path.parts} & {*_LEFT_OUT})


def _declared(path: Path) -> Iterator[str]:
    """The names that a YAML file declares."""
    said = _said(path)
    if isinstance(said, dict):
        yield from (said[key] for key in _NAMES if isinstance(said.get(key), str))


def _said(path: Path) -> object:
    """What a YAML file says; its tags, such as `!function`, stay unread.

    Raises:
        EvaluationError: it is no YAML.
    """
    try:
        return _plain(yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader))
    except RecursionError as error:
        msg = f"{path}: it is in itself"
        raise EvaluationError(msg) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        msg = f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}"
        raise EvaluationError(msg) from error


def _members(index: Any, name: str) -> Iterator[str]:
    """The names that a group lists, and those of the groups among them."""
    listed = index[name].cfg.get("task") if name in index else None
    for each in listed if isinstance(listed, list) else ():
        member = each if isinstance(each, str) else str(each.get("task") or each.get("group"))
        yield member
        yield from _members(index, member)
