"""lm-eval's own tasks as its YAML files describe them: their names and the datasets they need. Loads no data."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FOLDERS: Mapping[str, str] = {"leaderboard_musr": "leaderboard/musr"}
"""Task to its folder below lm-eval's tasks, if `local_benchmarks` lacks it: indexing all takes seconds."""


@dataclass(frozen=True)
class Dataset:
    """What a task gives to `datasets.load_dataset`."""

    path: str
    name: str | None
    """The configuration of the dataset; None for its only one."""
    settings: tuple[tuple[str, Any], ...] = ()
    """Further arguments."""


@cache
def manager(folder: str | Path) -> Any:
    """An index of one of lm-eval's task folders; of all of them if it is empty."""
    import lm_eval.tasks
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_path=str(Path(lm_eval.tasks.__file__).parent / folder), include_defaults=False)


def leaves(task: str, index: Any) -> list[str]:
    """The task itself, or the tasks of the group or tag, in alphabetical order."""
    found = set(_below(task, index))
    return [name for name in index.all_subtasks if name in found]


def _below(task: str, index: Any) -> Iterator[str]:
    entry = index.task_index[task]
    if task in index.all_tags:
        children = entry.tags
    elif task in index.all_groups:
        children = [
            child if isinstance(child, str) else child.get("task", child.get("group")) for child in entry.cfg["task"]
        ]
    else:
        yield task
        return
    for child in children:
        yield from _below(child, index)


def datasets_of(task: str, folder: str | Path | None = None) -> tuple[Dataset, ...]:
    """The datasets that `task`, or any task of the group, loads, each once; `folder` as for `manager`."""
    index = manager(_FOLDERS.get(task, "") if folder is None else folder)
    found = [_dataset(index.task_index[leaf].cfg) for leaf in leaves(task, index)]
    return tuple(each for number, each in enumerate(found) if each not in found[:number])


def _dataset(settings: Mapping[str, Any]) -> Dataset:
    """The arguments that lm-eval's `ConfigurableTask.download` passes; `datasets` no longer runs scripts."""
    more = dict(settings.get("dataset_kwargs") or {})
    more.pop("trust_remote_code", None)
    return Dataset(str(settings["dataset_path"]), settings.get("dataset_name"), tuple(sorted(more.items())))
