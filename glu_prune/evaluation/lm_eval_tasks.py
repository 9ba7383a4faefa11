"""lm-eval's own tasks as its YAML files describe them: their names and the datasets they need. Loads no data."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from glu_prune.errors import EvaluationError, did_you_mean, shown

_DEFINITION = re.compile(r"^(?:task|group)\s*:\s*[\"']?([^\s\"'#,\[\]]+)", re.MULTILINE)
"""Where a YAML file of lm-eval names what it defines, but for tags, which many files share."""


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


def manager_of(task: str) -> Any:
    """An index that has `task` and all tasks below it: of one folder if that is enough, as indexing all takes 20 s.

    Raises:
        EvaluationError: lm-eval has no task of this name; the message has the nearest names.
    """
    mentioned = mentioning(task)
    folders = _files()[0].get(task) or mentioned
    index = manager(*folders) if len(folders) == 1 and _whole(task, *folders) else manager("")
    if task not in index.task_index:
        raise _unknown(task)
    return index


def mentioning(task: str) -> list[str]:
    """The folders of lm-eval whose files mention `task`.

    Raises:
        EvaluationError: there is none; the message has the nearest names.
    """
    found = [folder for folder, text in _files()[1].items() if _mentions(text, task)]
    if not found:
        raise _unknown(task)
    return found


def _unknown(task: str) -> EvaluationError:
    return EvaluationError(f"lm-eval has no task {shown(task)}{did_you_mean(task, _files()[0], 3)}")


def _whole(task: str, folder: str) -> bool:
    """Whether all that is below `task` is in one folder, which has it."""
    index = manager(folder)
    if task not in index.task_index:
        return False
    if task in index.all_tags:  # which any file of any folder may have
        return not any(_mentions(text, task) for other, text in _files()[1].items() if other != folder)
    children = _children(index.task_index[task].cfg) if task in index.all_groups else ()
    return all(_whole(child, folder) for child in children)


def _mentions(text: str, name: str) -> bool:
    return name in text and re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


@cache
def _files() -> tuple[Mapping[str, set[str]], Mapping[str, str]]:
    """Name to the folders below lm-eval's tasks where a file defines it; folder to the text of all its files."""
    import lm_eval.tasks

    root = Path(lm_eval.tasks.__file__).parent
    names: dict[str, set[str]] = {}
    texts: dict[str, list[str]] = {}
    for path in root.glob("*/**/*"):
        if path.suffix not in ("", ".yaml") or path.is_dir():  # what others include may be called `_template_yaml`
            continue
        folder, text = path.relative_to(root).parts[0], path.read_text(encoding="utf-8", errors="replace")
        texts.setdefault(folder, []).append(text)
        for name in _DEFINITION.findall(text):
            names.setdefault(name, set()).add(folder)
    return names, {folder: "\n".join(each) for folder, each in texts.items()}


def leaves(task: str, index: Any) -> list[str]:
    """The task itself, or the tasks of the group or tag, in alphabetical order."""
    found = set(_below(task, index))
    return [name for name in index.all_subtasks if name in found]


def _below(task: str, index: Any) -> Iterator[str]:
    entry = index.task_index[task]
    if task in index.all_tags:
        children = entry.tags
    elif task in index.all_groups:
        children = _children(entry.cfg)
    else:
        yield task
        return
    for child in children:
        yield from _below(child, index)


def _children(group: Mapping[str, Any]) -> list[str]:
    """What a group lists: names, settings of a task with its name, or groups written out in place."""
    found: list[str] = []
    for child in group["task"]:
        if isinstance(child, str):
            found.append(child)
        elif isinstance(child.get("task"), list):
            found += _children(child)
        else:
            found.append(child.get("task", child.get("group")))
    return found


def datasets_of(task: str, folder: str | Path | None = None) -> tuple[Dataset, ...]:
    """The datasets that `task`, or any task of the group, loads, each once; `folder` as for `manager`."""
    index = manager_of(task) if folder is None else manager(folder)
    found = [_dataset(index.task_index[leaf].cfg) for leaf in leaves(task, index)]
    return tuple(each for number, each in enumerate(found) if each not in found[:number])


def _dataset(settings: Mapping[str, Any]) -> Dataset:
    """The arguments that lm-eval's `ConfigurableTask.download` passes; `datasets` no longer runs scripts."""
    more = dict(settings.get("dataset_kwargs") or {})
    more.pop("trust_remote_code", None)
    return Dataset(str(settings["dataset_path"]), settings.get("dataset_name"), tuple(sorted(more.items())))


def metric_of(task: str, wanted: str = "") -> tuple[str, bool]:
    """(metric, whether more of it is better) of a task or a group: the one that is `wanted`, else the first it names.

    Raises:
        EvaluationError: lm-eval has no such task, or the task has no such metric.
    """
    index = manager_of(task)
    settings = index.task_index[leaves(task, index)[0]].cfg
    listed = settings.get("metric_list") or [{"metric": "acc"}]
    found = {str(each["metric"]): bool(each.get("higher_is_better", True)) for each in listed}
    chosen = wanted or next(iter(found))
    if chosen not in found:
        msg = f"task {task} has no metric {shown(wanted)}; it has {', '.join(found)}"
        raise EvaluationError(msg)
    return chosen, found[chosen]
