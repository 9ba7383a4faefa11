"""Tasks of users: a folder of lm-eval YAML files, beside them the code and the data that these refer to."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from glu_prune.errors import EvaluationError
from glu_prune.evaluation.data_digest import files_digest

_LEFT_OUT = ("__pycache__", ".ipynb_checkpoints")
"""Folders that lm-eval does not read and Python writes to."""
_NAMES = ("task", "group")
"""Keys whose text is the name of what a YAML file declares."""


def user_tasks_digest(folder: Path) -> str:
    """SHA-256 over the names and contents of all files in `folder`: settings, code and data."""
    return files_digest(folder, _files(folder))


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
    """The names that a YAML file declares; its tags, such as `!function`, stay unread.

    Raises:
        EvaluationError: it is no YAML.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        msg = f"{path}{line}: not YAML: {getattr(error, 'problem', None) or error}"
        raise EvaluationError(msg) from error
    for key, value in root.value if isinstance(root, yaml.MappingNode) else ():
        if key.value in _NAMES and isinstance(value, yaml.ScalarNode):
            yield value.value


def _members(index: Any, name: str) -> Iterator[str]:
    """The names that a group lists, and those of the groups among them."""
    listed = index[name].cfg.get("task") if name in index else None
    for each in listed if isinstance(listed, list) else ():
        member = each if isinstance(each, str) else str(each.get("task") or each.get("group"))
        yield member
        yield from _members(index, member)
